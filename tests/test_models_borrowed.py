"""torchvision's nets by name: as student, as teacher, in a file, and refused where they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from amkd_viz import Recipe, build, distill, load_teacher
from amkd_viz.core.errors import InputError
from amkd_viz.models import architectures, is_architecture, save_classifier, wrap
from exercises import example_folder

NAME = "torchvision:squeezenet1_1"


def test_names() -> None:
    assert is_architecture("torchvision:resnet18")
    assert all(map(is_architecture, architectures()))
    assert not is_architecture("resnet9")
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        is_architecture("torchvision:resnet1")
    with pytest.raises(InputError, match="Unknown torchvision model"):
        Recipe(student="torchvision:inception_v3")  # two heads
    with pytest.raises(InputError, match="three channels"):
        build("torchvision:resnet18", shape=(1, 8, 8))
    with pytest.raises(InputError, match="torchvision:NAME"):
        Recipe(teacher="resnet9")


def test_weights_are_a_function_of_the_seed() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (build(NAME, num_classes=3, shape=(3, 64, 64), seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert not all(torch.equal(one[n], other[n]) for n in one)


def test_a_net_of_your_own_through_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torchvision.models.resnet18(num_classes=3).eval()
    net = wrap(module, shape=(3, 32, 32), mean=[0.4] * 3, std=[0.2] * 3, name="torchvision:resnet18")
    again = load_teacher(save_classifier(net, tmp_path / "mine.safetensors"))
    x = torch.rand(2, 3, 32, 32)
    assert again.architecture == "torchvision:resnet18"
    with torch.no_grad():
        assert torch.equal(again(x), net.eval()(x))
        assert torch.allclose(again(x), module((x - 0.4) / 0.2), atol=1e-5)


@pytest.mark.slow
def test_a_run_with_borrowed_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    folder = example_folder(tmp_path / "pictures", classes=(0, 1), most=10)
    recipe = Recipe(dataset=f"folder:{folder}", teacher=NAME, student="cnn-tiny", epochs=1, teacher_epochs=1)
    run = distill(recipe.replace(batch_size=8, attack_steps=2, magsim_samples=0), tmp_path / "run")
    assert run.finished
    assert run.teacher().architecture == NAME
    assert ":" not in next((tmp_path / "cache" / "teachers").glob("*.safetensors")).name
