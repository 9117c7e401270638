"""Your own nets and torchvision's by name: built, distilled, saved, and refused where they are not registered."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from amkd_viz import Recipe, build, distill, load, load_teacher
from amkd_viz.core.errors import InputError
from amkd_viz.models import (
    Classifier,
    architectures,
    inference_copy,
    is_architecture,
    load_weights,
    nets,
    register,
    save_classifier,
    wrap,
)
from exercises import example_folder


@pytest.fixture(autouse=True)
def forgotten_afterwards():
    before = set(nets)
    yield
    for name in set(nets) - before:
        nets.forget(name)


def mine(num_classes: int, shape: tuple[int, ...]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 6), nn.Tanh(), nn.Linear(6, num_classes))


def test_a_name_is_known_everywhere():
    assert not is_architecture("mine")
    register("mine", mine)
    assert is_architecture("mine")
    assert "mine" in architectures()
    assert "mine" in architectures((2,))
    digits = load("digits")
    net = build("mine", digits, seed=3)
    assert (net.architecture, net.shape, net.num_classes, net.training) == ("mine", (1, 8, 8), 10, True)
    assert isinstance(net.head, nn.Linear)
    assert net.normalise.mean.flatten().tolist() == pytest.approx(list(digits.mean))
    assert Recipe(teacher="mine", student="mine").student == "mine"
    with pytest.raises(InputError, match=r"did you mean 'mine'"):
        build("mnie")


@pytest.mark.parametrize("name", ["mine", "torchvision:resnet18"])
def test_a_net_trained_elsewhere_through_a_file(tmp_path, name):
    register("mine", mine)
    torch.manual_seed(0)
    module = mine(3, (3, 32, 32)) if name == "mine" else torchvision.models.resnet18(num_classes=3).eval()
    net = wrap(module, shape=(3, 32, 32), mean=[0.4] * 3, std=[0.2] * 3, name=name).eval()
    path, x = save_classifier(net, tmp_path / "w.safetensors"), torch.rand(2, 3, 32, 32)
    again = load_teacher(path)
    assert again.architecture == name
    assert torch.equal(again(x), net(x))
    assert torch.allclose(again(x), module((x - 0.4) / 0.2), atol=1e-5)
    if name == "mine":
        nets.forget("mine")
        with pytest.raises(
            InputError, match=r"architecture 'mine'.*register it first with amkd_viz\.models\.register\("
        ):
            load_teacher(path)


def test_both_nets_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    register("mine", mine)
    recipe = Recipe(dataset="digits", teacher="mine", student="mine", epochs=1, teacher_epochs=1, num_train=60)
    run = distill(recipe.replace(batch_size=20, attack_steps=2, magsim_samples=0), tmp_path / "run")
    assert run.finished
    assert (run.teacher().architecture, run.student().architecture) == ("mine", "mine")
    saved = save_classifier(run.student(), tmp_path / "student.safetensors")
    again = distill(recipe.replace(teacher=str(saved), method="kd", magsim_samples=0), tmp_path / "again")
    assert again.teacher().architecture == "mine"


def test_a_file_never_brings_code_along(tmp_path):
    """Another process, that has registered nothing."""
    register("antigravity", mine)
    path = save_classifier(build("antigravity", num_classes=3, shape=(2,)), tmp_path / "w.safetensors")
    code = (
        "import sys; from amkd_viz import load_teacher; from amkd_viz.core.errors import InputError\n"
        f"try: load_teacher({str(path)!r})\n"
        "except InputError as error: print('antigravity' in sys.modules, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert said.stdout.startswith("False "), said.stderr
    assert "register it first" in said.stdout


def test_a_classifier_keeps_its_normalisation():
    def whole(num_classes, shape):
        return wrap(mine(num_classes, shape), shape=shape, mean=[0.1] * shape[0], std=[0.9] * shape[0])

    register("mine", whole)
    net = build("mine", load("digits"))
    assert isinstance(net, Classifier)
    assert net.architecture == "mine"
    assert net.normalise.std.item() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("name", "builder", "sentence"),
    [
        *(
            (name, mine, "A model's name must be a letter, then letters")
            for name in ("", "a.b", "torchvision:mine", "a/b")
        ),
        *((name, mine, f"'{name}' is a model of amkd_viz; choose another") for name in ("resnet8", "mlp")),
        *((name, mine, f"'{name}' has a meaning of its own; choose another") for name in ("custom", "torchvision")),
        ("mine", lambda shape: None, r"must take builder\(num_classes=K, shape=\(C, H, W\)\)"),
        ("mine", lambda a, b: None, r"must take builder\(num_classes=K"),
        ("mine", "mine", r"must take builder\(num_classes=K"),
        ("mine", nn.Linear, r"must take builder\(num_classes=K"),
    ],
)
def test_a_name_or_a_builder_that_cannot_be(name, builder, sentence):
    before = set(nets)
    with pytest.raises(InputError, match=sentence):
        register(name, builder)
    assert set(nets) == before


def test_register_is_a_decorator_too_and_replaces():
    assert register("mine")(mine) is mine
    assert build("mine", shape=(2,), num_classes=2).architecture == "mine"
    register("mine", lambda num_classes, shape: nn.Linear(2, num_classes))
    assert isinstance(build("mine", shape=(2,), num_classes=2).head, nn.Identity)


@pytest.mark.parametrize(
    ("builder", "sentence"),
    [
        (lambda num_classes, shape: mine(num_classes + 1, shape), "must return 3 logits, got 4"),
        (lambda num_classes, shape: None, r"must return a torch\.nn\.Module, got a NoneType"),
        (lambda num_classes, shape: mine(num_classes, (3, 9, 9)), "does not take inputs of shape"),
    ],
)
def test_a_builder_that_makes_something_else(builder, sentence):
    register("mine", builder)
    with pytest.raises(InputError, match=sentence):
        build("mine", num_classes=3)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.two(self.one(x.flatten(1)).relu()).relu())


def test_tied_weights_through_a_file(tmp_path):
    register("tied", lambda num_classes, shape: Tied())
    net, x = build("tied", num_classes=3, shape=(1, 2, 2), seed=1).eval(), torch.rand(2, 1, 2, 2)
    again = load_teacher(save_classifier(net, tmp_path / "tied.safetensors"))
    assert torch.equal(again(x), net(x))
    assert again.body.one.weight is again.body.two.weight


def test_a_net_without_a_name_is_saved_with_a_warning(tmp_path):
    net = wrap(Tied(), shape=(1, 2, 2))
    with pytest.warns(UserWarning, match=r"Only load_weights.*'custom'.*register\(name, builder\)") as seen:
        path = save_classifier(net, tmp_path / "w.safetensors")
    assert [w.filename for w in seen] == [__file__]
    assert torch.equal(load_weights(wrap(Tied(), shape=(1, 2, 2)), path).head.weight, net.head.weight)


@pytest.mark.parametrize("name", ["resnet8", "cnn-tiny"])
def test_a_folded_copy_is_not_saved_under_the_name_of_its_net(tmp_path, name):
    net = build(name, num_classes=3, shape=(1, 8, 8)).eval()
    with pytest.warns(UserWarning, match="Only load_weights"):
        path = save_classifier(inference_copy(net), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="is not registered here"):
        load_teacher(path)
    assert net.architecture == name


# torchvision's nets

NAME = "torchvision:squeezenet1_1"


def test_names_of_torchvision() -> None:
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


@pytest.mark.parametrize("name", ["mine", "cnn", NAME])
def test_weights_are_a_function_of_the_seed(name) -> None:
    register("mine", mine)
    before = torch.random.get_rng_state()
    one, same, other = (build(name, num_classes=3, shape=(3, 64, 64), seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert not all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.slow
def test_a_run_with_borrowed_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    folder = example_folder(tmp_path / "pictures", classes=(0, 1), most=10)
    recipe = Recipe(dataset=f"folder:{folder}", teacher=NAME, student="cnn-tiny", epochs=1, teacher_epochs=1)
    run = distill(recipe.replace(batch_size=8, attack_steps=2, magsim_samples=0), tmp_path / "run")
    assert run.finished
    assert run.teacher().architecture == NAME
    assert ":" not in next((tmp_path / "cache" / "teachers").iterdir()).name
