"""Checkpoints of other code: the layouts that people have, what is taken from them, and what is refused."""

from __future__ import annotations

import os
import pickle
import re
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.models import build, import_net, load_teacher, wrap
from amkd_viz.models.checkpoint import read_checkpoint
from amkd_viz.models.classifier import Classifier
from amkd_viz.training import Recipe

pytest_plugins = ["shared_data"]
NORM: dict[str, Any] = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
EXAMPLES = 5000 if os.environ.get("AMKD_VIZ_FUZZ") else 60


def a_net(name: str, shortcut: str | None = None, shape: tuple[int, ...] = (3, 32, 32)) -> Classifier:
    net = build(name, num_classes=7, shape=shape, shortcut=shortcut, **NORM)
    for buffer_name, buffer in net.named_buffers():  # statistics that a fresh net has not
        if "running" in buffer_name:
            buffer.add_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(len(buffer_name))))
    return net.eval()


def body_and_head(net: Classifier, head: str) -> dict[str, Tensor]:
    """The tensors as the public implementations name them."""
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("normalise")}
    return {k.removeprefix("body.") if k.startswith("body.") else f"{head}.{k[5:]}": v for k, v in state.items()}


LAYOUTS = {
    "akamaster": ("resnet20", "pad-both", "linear", {}),
    "chenyaofo": ("resnet20", "conv", "fc", {}),
    "RepDistiller": ("resnet8x4", "conv", "fc", {}),
    "BSS": ("resnet14", "pad-end", "linear", {"shortcut": "pad-end"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", ["pth", "th", "pth.tar", "bin", "safetensors"])
def test_a_cifar_resnet_is_inferred(tmp_path: Path, layout: str, suffix: str) -> None:
    name, shortcut, head, _ = LAYOUTS[layout]
    net, path = a_net(name, shortcut), tmp_path / f"weights.{suffix}"
    tensors = body_and_head(net, head)
    if suffix == "safetensors":
        from safetensors.torch import save_file

        save_file({k: v.clone().contiguous() for k, v in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    found, _ = import_net(path, **NORM, shortcut=shortcut)
    x = torch.rand(4, 3, 32, 32)
    assert torch.allclose(found(x), net(x), atol=1e-5)
    assert found.architecture == name
    assert not found.training
    assert not any(p.requires_grad for p in found.parameters())
    assert torch.equal(load_teacher(path, **NORM, shortcut=shortcut)(x), found(x))


# Names of the public implementations, in the order of ours.
FOUR_STAGES = {
    "kuangliu": (r"layer(\d)\.(\d)\.downsample", r"layer\1.\2.shortcut", "linear"),
    "weiaicunzai": (r"layer(\d)\.(\d)\.(conv|bn)(\d)", r"conv\1_x.\2.residual_function.\3\4", "fc"),
    "huyvnphan": (r"^", "", "fc"),
}


@pytest.mark.parametrize("layout", FOUR_STAGES)
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_of_four_stages_is_inferred(tmp_path: Path, layout: str, name: str) -> None:
    name += "-pool" * (layout == "huyvnphan")
    pattern, new, head = FOUR_STAGES[layout]
    net = a_net(name)
    tensors = {re.sub(pattern, new, key): value for key, value in body_and_head(net, head).items()}
    torch.save({"net": {f"module.{key}": value for key, value in tensors.items()}}, tmp_path / "ckpt.pth")
    x = torch.rand(2, 3, 32, 32)
    found, taken = import_net(tmp_path / "ckpt.pth", name if "pool" in name else None, **NORM)
    assert torch.allclose(found(x), net(x), atol=1e-4)
    assert found.architecture == name
    assert ("would have the same weights" in taken) == ("pool" not in name)


def test_resnets_of_four_stages_have_their_published_sizes() -> None:
    """Parameters of kuangliu/pytorch-cifar's ResNet18, 34 and 50 for ten classes."""
    for name, count in (("resnet18", 11_173_962), ("resnet34", 21_282_122), ("resnet50", 23_520_842)):
        net = build(name, num_classes=10)
        assert sum(p.numel() for p in net.parameters()) == count
        pooled = build(f"{name}-pool", num_classes=10)
        assert [p.shape for p in pooled.parameters()] == [p.shape for p in net.parameters()]
        assert (net.layer_shape(-1)[1:], pooled.layer_shape(-1)[1:]) == ((4, 4), (2, 2))


@pytest.mark.parametrize("name", ["wrn16-2", "vgg8", "mobilenetv2-half", "convnext-tiny", "vit-tiny"])
def test_other_families_are_inferred_from_their_shapes(tmp_path: Path, name: str) -> None:
    net = a_net(name)
    torch.save(body_and_head(net, "classifier"), tmp_path / "weights.pt")
    found, _ = import_net(tmp_path / "weights.pt", **NORM)
    x = torch.rand(2, 3, 32, 32)
    assert found.architecture == name
    assert torch.allclose(found(x), net(x), atol=1e-5)


@pytest.mark.parametrize("name", ["wrn16-2", "vgg8", "mobilenetv2-half", "cnn-tiny"])
def test_other_architectures_are_matched_by_name_or_in_their_order(tmp_path: Path, name: str) -> None:
    net = a_net(name)
    tensors = body_and_head(net, "classifier")
    for number, names in enumerate((list(tensors), [f"part{n}.of.another.author{n}" for n in range(len(tensors))])):
        path = tmp_path / f"{number}.pt"
        torch.save(
            {n: t for n, t, o in zip(names, tensors.values(), tensors, strict=True) if "num_batches" not in o}, path
        )
        found, _ = import_net(path, name, **NORM)
        x = torch.rand(2, 3, 32, 32)
        assert torch.allclose(found(x), net(x), atol=1e-5)


def test_a_net_of_torchvision_keeps_its_names(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    module = models.get_model("squeezenet1_1", weights=None, num_classes=4).eval()
    torch.save(module.state_dict(), tmp_path / "net.pth")
    found, _ = import_net(tmp_path / "net.pth", "torchvision:squeezenet1_1", **NORM, size=64)
    x = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(NORM[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(found(x), module((x - mean) / std), atol=1e-4)
    assert found.shape == (3, 64, 64)


@pytest.mark.parametrize(
    ("wrapped", "taken"),
    [
        (lambda t: {"state_dict": t, "epoch": 3, "best_acc1": 92.1}, "'state_dict'"),
        (lambda t: {"net": t, "acc": 90.0}, "'net'"),
        (
            lambda t: {"model": {f"module.{k}": v for k, v in t.items()}, "opt": "sgd"},
            "'model', without the prefix 'module.'",
        ),
        (
            lambda t: OrderedDict((f"_orig_mod.module.{k}", v) for k, v in t.items()),
            "without the prefix '_orig_mod.module.'",
        ),
        (
            lambda t: {"state_dict": {f"student.{k}": v for k, v in t.items()}, "ema": {}},
            "without the prefix 'student.'",
        ),
        (lambda t: {"ema": t, "optimizer": {"state": {}, "param_groups": []}}, "'ema'"),
        (lambda t: {"checkpoint": {"model": t}}, "'checkpoint.model'"),
    ],
)
def test_containers_and_prefixes_are_taken_off_and_named(tmp_path: Path, wrapped: Any, taken: str) -> None:
    net = a_net("resnet8", "conv")
    torch.save(wrapped(body_and_head(net, "fc")), tmp_path / "c.ckpt")
    found, words = import_net(tmp_path / "c.ckpt", **NORM)
    assert taken in words
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(found(x), net(x), atol=1e-5)


class Opens:
    def __reduce__(self) -> Any:
        return (print, ("code has run",))


def test_a_pickle_that_needs_code_is_refused_with_a_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("net.pth", nn.Linear(2, 2)), ("bad.pth", {"state_dict": Opens()})):
        torch.save(content, tmp_path / name)
        with pytest.raises(
            InputError, match=r"is a pickle that needs code to be read .* weights_only=False\)"
        ) as error:
            import_net(tmp_path / name, **NORM)
        assert "\n" not in str(error.value)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Opens()))
    with pytest.raises(InputError):
        import_net(tmp_path / "plain.pkl", **NORM)
    assert "code has run" not in capsys.readouterr().out


def test_what_does_not_fit_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.pth"
    tensors = body_and_head(a_net("resnet8", "conv"), "fc")
    torch.save(tensors, path)
    for options, sentence in (
        ({}, "does not say how its inputs are normalised; give mean and std"),
        (
            {**NORM, "mean": [125.3, 123.0, 113.9]},
            r"must be in \[0, 1\] units, got mean .*; divide by 255: 0.4914, 0.4824, 0.4467",
        ),
        ({**NORM, "architecture": "resnet20"}, "holds a resnet8, not a resnet20"),
        ({**NORM, "architecture": "wrn16-2"}, "tensors, but wrn16-2 has"),
        ({**NORM, "architecture": "resnet999x"}, "resnet"),
        ({**NORM, "architecture": "vgg8", "shortcut": "conv"}, "shortcut must be left out for 'vgg8'"),
    ):
        with pytest.raises(InputError, match=sentence):
            import_net(path, **options)
    tensors["layer1.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(tensors, path)
    with pytest.raises(InputError, match=r"not finite in 'layer1.0.conv1.weight': its training has diverged"):
        import_net(path, **NORM)
    torch.save({"epoch": 3, "names": ["a"]}, path)
    with pytest.raises(
        InputError, match=r"holds no weights: expected tensors by name, or one of state_dict.*got epoch, names"
    ):
        import_net(path, **NORM)
    with pytest.raises(InputError, match="File not found"):
        import_net(tmp_path / "none.pth", **NORM)


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    net = a_net("resnet8", "conv")
    torch.save(
        {k: v.half() if v.is_floating_point() else v for k, v in body_and_head(net, "fc").items()}, tmp_path / "h.pth"
    )
    found, _ = import_net(tmp_path / "h.pth", **NORM)
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    assert torch.allclose(found(torch.ones(1, 3, 32, 32)), net(torch.ones(1, 3, 32, 32)), atol=0.05)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_damaged_checkpoint_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    torch.save({"state_dict": body_and_head(a_net("resnet8", "conv"), "fc")}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["byte", "cut", "repeat"])):
            case "byte":
                content[place] = data.draw(st.integers(0, 255))
            case "cut":
                del content[place : place + data.draw(st.integers(1, 2000))]
            case "repeat":
                content[place:place] = content[place : place + 50]
        content = content or bytearray(b"x")
    path.write_bytes(content)
    with suppress(InputError):
        import_net(path, **NORM)


def test_the_command_writes_a_teacher_and_measures_it(tmp_path: Path, call: Any) -> None:
    net = a_net("resnet8", "pad-both")
    torch.save({"state_dict": body_and_head(net, "linear")}, tmp_path / "r8.th")
    words = ("--mean", "0.4,0.5,0.6", "--std", "0.2,0.3,0.4", "--shortcut", "pad-both")
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"))
    status, out, _ = call("import", tmp_path / "r8.th", *words, "--classes", tmp_path / "names.txt")
    assert status == 0
    assert "Took the weights under 'state_dict': resnet8, " in out
    written = tmp_path / "r8.imported.safetensors"
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(load_teacher(written)(x), net(x), atol=1e-6)
    status, _, error = call("import", tmp_path / "r8.th", *words)
    assert status == 2
    assert "is never overwritten" in error
    (tmp_path / "names.txt").write_text("a\nb")
    status, _, error = call(
        "import", tmp_path / "r8.th", *words, "--classes", tmp_path / "names.txt", "--out", tmp_path / "o.safetensors"
    )
    assert "must name 7 classes, got 2" in error
    assert "--mean takes numbers separated by commas" in call("import", tmp_path / "r8.th", "--mean", "high")[2]
    with pytest.raises(InputError, match=r"import the checkpoint first: amkd-viz import resnet26.th --mean"):
        Recipe(teacher="resnet26.th")


def test_wrap_gives_a_teacher_whose_statistics_stay() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)).train()
    net = wrap(module, shape=(3, 8, 8))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for _ in range(20):
        net(torch.rand(8, 3, 8, 8) * 3)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert module.training


def test_wrap_refuses_a_softmax_and_a_normalisation_of_0_to_255() -> None:
    with pytest.raises(InputError, match="ends in a softmax"):
        wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(1)), shape=(3, 2, 2))
    with pytest.raises(InputError, match=r"must be in \[0, 1\] units, got mean=\[123.7"):
        wrap(
            nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
            shape=(3, 2, 2),
            mean=(123.7, 116.3, 103.5),
            std=(58.4, 57.1, 57.4),
        )


def test_read_checkpoint_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    torch.save({"b": torch.zeros(1), "a": torch.zeros(2)}, tmp_path / "x.pt")
    assert list(read_checkpoint(tmp_path / "x.pt").tensors) == ["b", "a"]
