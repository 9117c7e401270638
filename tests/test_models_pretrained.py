"""Pretrained nets of torchvision and timm: weights from the local cache, and a new last layer that alone learns.

No weights are fetched: files in the published form, with other numbers, stand in for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.data import load
from amkd_viz.models import build, load_teacher, save_classifier
from amkd_viz.models.libraries import is_pretrained, split_options
from amkd_viz.runs import Run, distill
from amkd_viz.training import Recipe
from amkd_viz.training.teachers import cached_teacher, teacher_recipe

models = pytest.importorskip("torchvision.models")
timm = pytest.importorskip("timm")

SQUEEZE, RESNET = "torchvision:squeezenet1_1,pretrained", "timm:test_resnet,pretrained"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, torch.Tensor]]:
    """Weights of 1,000 classes where the libraries would have put them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    squeeze = models.squeezenet1_1(num_classes=1000).state_dict()
    file = models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(squeeze, tmp_path / "torch" / "hub" / "checkpoints" / file)
    resnet = timm.create_model("test_resnet", num_classes=1000).state_dict()
    (tmp_path / "cache" / "pretrained").mkdir(parents=True)
    hub = timm.get_pretrained_cfg("test_resnet").hf_hub_id.replace("/", "--")
    save_file(resnet, tmp_path / "cache" / "pretrained" / f"{hub}.safetensors")
    return {SQUEEZE: squeeze, RESNET: resnet}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes that brightness tells apart."""
    for k, name in enumerate(("dark", "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            colour = (30 + 170 * k + i, 40 + 150 * k, 60 + 100 * k + 3 * i)
            Image.new("RGB", (40, 40), colour).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(("name", "last"), [(SQUEEZE, 2), (RESNET, 2)])
def test_all_but_the_last_layer_is_as_published_and_stays_so(published: Any, name: str, last: int) -> None:
    net = build(f"{name},size=64", num_classes=3)
    assert (net.shape, net.num_classes, net.architecture) == ((3, 64, 64), 3, name.partition(",")[0])
    learning = [n for n, p in net.named_parameters() if p.requires_grad]
    assert len(learning) == last
    same = {tuple(t.shape): t for t in published[name].values()}
    kept = {n: t for n, t in net.state_dict().items() if n not in learning and "normalise" not in n}
    assert len(kept) == len(published[name]) - last
    values = list(published[name].values())
    assert all(any(t.shape == own.shape and torch.equal(t, own) for own in values) for t in kept.values())
    assert same
    before = {n: t.clone() for n, t in net.state_dict().items()}
    net.train()
    assert not any(m.training for m in net.body.modules())
    optimiser = torch.optim.SGD(net.parameters(), 0.1, weight_decay=0.1)
    nn.functional.cross_entropy(net(torch.rand(4, 3, 64, 64)), torch.tensor([0, 1, 2, 0])).backward()
    optimiser.step()
    changed = [n for n, t in net.state_dict().items() if not torch.equal(t, before[n])]
    assert sorted(changed) == sorted(learning)


def test_the_size_is_that_of_the_weights_or_of_the_name(published: Any) -> None:
    assert build(SQUEEZE, num_classes=2).shape == (3, 224, 224)
    assert build(RESNET, num_classes=2).shape == (3, 160, 160)
    assert split_options(f"{SQUEEZE},size=96") == ("torchvision:squeezenet1_1", 96)
    assert not is_pretrained("torchvision:resnet18")
    for name, sentence in ((f"{SQUEEZE},side=9", "side=9"), (f"{SQUEEZE},size=x", "size of .* must be 8 to 1024")):
        with pytest.raises(InputError, match=sentence):
            build(name, num_classes=2)


def test_a_pretrained_teacher_is_finetuned_then_teaches(published: Any, photos: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        dataset=f"folder:{photos},size=32",
        teacher=f"{RESNET},size=32",
        student="cnn-tiny",
        method="kd",
        epochs=1,
        finetune_epochs=20,
        batch_size=8,
        teacher_batch_size=8,
        teacher_learning_rate=0.3,
        magsim_samples=0,
        device="cpu",
    )
    own = teacher_recipe(recipe)
    assert (own.student, own.epochs) == (recipe.teacher, 20)
    run = distill(recipe, tmp_path / "run")
    teacher = run.teacher()
    assert not teacher.training
    assert teacher.shape == (3, 32, 32)
    assert run.summary["teacher_test_accuracy"] == 1.0  # brightness passes through random filters
    cached = Run.open(cached_teacher(own))
    assert len(cached.metrics()) == 20
    # what is saved needs no published weights again
    save_classifier(teacher, tmp_path / "teacher.safetensors")
    for file in (tmp_path / "cache" / "pretrained").iterdir():
        file.unlink()
    again = load_teacher(tmp_path / "teacher.safetensors")
    x = load(recipe.dataset).test.floats()
    torch.testing.assert_close(again(x), teacher(x))


def test_a_plain_net_of_timm_is_built_trained_and_saved(tmp_path: Path) -> None:
    net = build("timm:test_vit", num_classes=3, shape=(3, 32, 32))
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 3)
    save_classifier(net, tmp_path / "vit.safetensors")
    again = load_teacher(tmp_path / "vit.safetensors")
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again(x), net.eval()(x))


def test_what_cannot_be_had_is_a_sentence(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    def offline(*_: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    file = models.MobileNet_V3_Small_Weights.DEFAULT.url.rpartition("/")[2]
    with pytest.raises(InputError, match=f"are not here and cannot be fetched .*not known.*put it at .*{file}") as told:
        build("torchvision:mobilenet_v3_small,pretrained", num_classes=2)
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match=r"fetch https://.*/timm/test_vit.*/model\.safetensors and put it at"):
        build("timm:test_vit,pretrained", num_classes=2)
    with pytest.raises(InputError, match="Unknown timm model 'resnet19'"):
        build("timm:resnet19,pretrained", num_classes=2)
    with pytest.raises(InputError, match="student must be a net that learns as a whole"):
        Recipe(student=SQUEEZE)
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "torch" / "hub" / "checkpoints" / file)
    with pytest.raises(InputError, match="does not fit torchvision:mobilenet_v3_small at 224 pixels"):
        build("torchvision:mobilenet_v3_small,pretrained", num_classes=2)
