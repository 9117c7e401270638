"""Classifiers on disk: what is written comes back bit by bit, what is not ours is recognised or refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier, build, inference_copy, load_teacher, load_weights, save_classifier
from amkd_viz.models.resnet import ResNetBody

TEACHER = Path(__file__).parents[2] / "shared" / "data" / "teachers" / "resnet26_cifar10.safetensors"
NORMALISATION = {"normalise_mean": "0.5,0.4,0.3", "normalise_std": "0.2, 0.25, 0.3"}
PADDED = NORMALISATION | {"shortcut": "pad-end"}


def trained(net: Classifier) -> Classifier:
    """Statistics that are not those of a fresh net."""
    net.train()(torch.rand(6, *net.shape, generator=torch.Generator().manual_seed(2)))
    return net.eval()


def foreign(net: Classifier, head: str = "linear", prefix: str = "", shortcut: str = "downsample") -> dict:
    """The tensors of one of our CIFAR ResNets under the names that other repositories give them."""
    named = {}
    for name, tensor in net.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "body":
            named[prefix + rest.replace(".downsample.", f".{shortcut}.")] = tensor.clone()
        elif part == "head":
            named[f"{prefix}{head}.{rest}"] = tensor.clone()
    return named


def resnet(depths=(1, 1, 1), widths=(16, 16, 32, 64), shortcut="pad-end", classes=5) -> Classifier:
    torch.manual_seed(0)
    return trained(
        Classifier(
            ResNetBody(depths, widths, 3, shortcut),
            torch.nn.Linear(widths[-1], classes),
            mean=[0.5, 0.4, 0.3],
            std=[0.2, 0.25, 0.3],
            num_classes=classes,
            shape=(3, 32, 32),
        )
    )


@pytest.mark.parametrize("name", ["resnet8", "cnn-tiny", "mlp-small", "wrn16-1"])
def test_round_trip_is_bit_equal(tmp_path, name):
    net = trained(build(name, num_classes=4, shape=(1, 8, 8), mean=[0.31], std=[0.37], seed=7))
    path = save_classifier(net, tmp_path / "deep" / "net.safetensors", val_accuracy=0.5)
    again = load_teacher(path)
    assert again.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in net.state_dict().items())
    assert (again.architecture, again.num_classes, again.shape) == (name, 4, (1, 8, 8))
    assert not any(m.training for m in again.modules())
    assert not any(p.requires_grad for p in again.parameters())
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again(x), net(x))
    assert [p.name for p in path.parent.iterdir()] == ["net.safetensors"]


def test_load_weights_fills_a_custom_net_and_refuses_another(tmp_path):
    net = resnet(widths=(8, 8, 12, 20))
    with pytest.warns(UserWarning, match="Only load_weights"):
        path = save_classifier(net, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"architecture 'custom'.*load_weights"):
        load_teacher(path)
    again = load_weights(resnet(widths=(8, 8, 12, 20)).apply(lambda m: None), path)
    assert torch.equal(again.head.weight, net.head.weight)
    other = resnet(widths=(8, 8, 12, 24))
    before = other.head.weight.clone()
    with pytest.raises(InputError, match=r"does not fit the net: \d+ tensors differ.*first 'body\."):
        load_weights(other, path)
    assert torch.equal(other.head.weight, before)


def test_a_compiled_net_is_saved_and_filled_as_the_net_it_was(tmp_path):
    net = build("cnn-tiny", num_classes=4, shape=(1, 8, 8), seed=1)
    path = save_classifier(torch.compile(net, backend="eager"), tmp_path / "net.safetensors")
    assert torch.equal(load_teacher(path).head.weight, net.head.weight)
    other = build("cnn-tiny", num_classes=4, shape=(1, 8, 8), seed=2)
    load_weights(nn.DataParallel(other), path)
    assert torch.equal(other.head.weight, net.head.weight)
    with pytest.raises(InputError, match=r"got a Linear; wrap\("):
        save_classifier(nn.Linear(2, 2), tmp_path / "linear.safetensors")


@pytest.mark.skipif(not TEACHER.is_file(), reason="needs the shared ResNet-26")
def test_shared_teacher():
    net = load_teacher(TEACHER, shortcut="pad-end")
    assert (net.architecture, net.num_classes, net.shape) == ("resnet26", 10, (3, 32, 32))
    assert net.normalise.mean.flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465])
    assert net.normalise.std.flatten().tolist() == pytest.approx([0.2023, 0.1994, 0.2010])
    stored = load_file(TEACHER)
    assert torch.equal(net.head.weight, stored["linear.weight"])
    assert torch.equal(net.body.layer3[3].bn2.running_var, stored["layer3.3.bn2.running_var"])
    assert len(net.body.layer1) == len(net.body.layer3) == 4


@pytest.mark.parametrize(
    ("made", "named", "architecture"),
    [
        ({}, {}, "resnet8"),
        ({}, {"head": "fc"}, "resnet8"),
        ({"depths": (2, 2, 2)}, {"prefix": "module."}, "resnet14"),
        ({"depths": (2, 2, 2)}, {"prefix": "module.", "head": "fc"}, "resnet14"),
        ({"depths": (1, 2, 1)}, {"head": "classifier"}, "custom"),
        ({"widths": (32, 64, 128, 256)}, {}, "resnet8x4"),
        ({"widths": (8, 8, 16, 24)}, {}, "custom"),
        ({"shortcut": "conv"}, {"shortcut": "shortcut"}, "resnet8"),
        ({"shortcut": "conv", "widths": (16, 32, 48, 64)}, {"head": "fc"}, "custom"),
    ],
)
def test_foreign_names_depths_widths_and_shortcuts(tmp_path, made, named, architecture):
    net = resnet(**made)
    tensors = foreign(net, **named)
    tensors = {k: v for k, v in tensors.items() if "num_batches" not in k}  # old files do not have it
    metadata = NORMALISATION if made.get("shortcut") == "conv" else PADDED
    save_file(tensors, tmp_path / "t.safetensors", metadata)
    torch.set_default_dtype(torch.float64)  # which is none of the file's business
    try:
        again = load_teacher(tmp_path / "t.safetensors")
    finally:
        torch.set_default_dtype(torch.float32)
    x = torch.rand(4, 3, 32, 32)
    assert torch.equal(again(x), net(x))
    assert (again.architecture, again.num_classes) == (architecture, 5)


class PaddedBothSides(nn.Module):
    """akamaster/pytorch_resnet_cifar10, option A, written anew: a block a stage, zeros on both sides of a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for stage, before, planes in ((1, 16, 16), (2, 16, 32), (3, 32, 64)):
            block = nn.Module()
            block.conv1 = nn.Conv2d(before, planes, 3, 1 if stage == 1 else 2, 1, bias=False)
            block.bn1, block.bn2 = nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)
            block.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.add_module(f"layer{stage}", nn.Sequential(block))
        self.linear = nn.Linear(64, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for block in (self.layer1[0], self.layer2[0], self.layer3[0]):
            y = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
            quarter = y.shape[1] // 4
            if y.shape != x.shape:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter), "constant", 0)
            x = F.relu(y + x)
        return self.linear(F.avg_pool2d(x, x.size()[3]).flatten(1))


def padded_both_sides(folder: Path, **metadata: str) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    net = PaddedBothSides()
    net(torch.rand(6, 3, 32, 32))
    save_file(net.state_dict(), folder / "a.safetensors", NORMALISATION | metadata)
    return net.eval(), folder / "a.safetensors"


def same_logits(found: nn.Module, net: nn.Module) -> bool:
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    with torch.no_grad():
        return torch.allclose(found(x), net((x - mean) / std), rtol=1e-3, atol=1e-4)


def test_padding_on_both_sides(tmp_path, recwarn):
    net, path = padded_both_sides(tmp_path, shortcut="pad-both")
    teacher = load_teacher(path)
    assert not recwarn
    assert (teacher.architecture, teacher.body.shortcut) == ("resnet8", "pad-both")
    assert same_logits(teacher, net)
    assert same_logits(inference_copy(teacher), net)
    assert not same_logits(load_teacher(path, shortcut="pad-end"), net)  # what is passed goes first
    again = load_teacher(save_classifier(teacher, tmp_path / "ours.safetensors"))
    assert again.body.shortcut == "pad-both"
    assert same_logits(again, net)


def test_a_file_that_does_not_say_how_it_pads_is_warned_of(tmp_path):
    net, path = padded_both_sides(tmp_path)
    with pytest.warns(UserWarning, match=r"a\.safetensors does not say how .*pass shortcut='pad-both'") as seen:
        assert not same_logits(load_teacher(path), net)
    assert [w.filename for w in seen] == [__file__]
    assert same_logits(load_teacher(path, shortcut="pad-both"), net)
    with pytest.raises(InputError, match="does not fit the net"):
        load_teacher(path, shortcut="conv")


def test_a_shortcut_of_no_kind(tmp_path):
    _, path = padded_both_sides(tmp_path, shortcut="pad")
    with pytest.raises(InputError, match=r"Unknown shortcut 'pad'.*pad-end, pad-both, conv"):
        load_teacher(path)
    with pytest.raises(InputError, match="Unknown shortcut 'B'"):
        load_teacher(path, shortcut="B")
    ours = save_classifier(build("resnet8"), tmp_path / "ours.safetensors")
    assert load_teacher(ours, shortcut="pad-end").body.shortcut == "pad-end"
    with pytest.raises(InputError, match="records the shortcut"):
        load_teacher(ours, shortcut="pad-both")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"File not found: .*nowhere\.safetensors"):
        load_teacher(tmp_path / "nowhere.safetensors")
    with pytest.raises(InputError, match="File not found:"):
        load_teacher(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_truncated_file(tmp_path, keep):
    path = save_classifier(build("cnn-tiny"), tmp_path / "net.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="is not a valid safetensors file"):
        load_teacher(path)


class Bomb:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self):
        return (Path.touch, (self.flag,))


@pytest.mark.parametrize("how", ["pickle", "torch.save", "old torch.save"])
def test_a_pickle_is_never_opened(tmp_path, how):
    flag, path = tmp_path / "exploded", tmp_path / "net.safetensors"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(flag)))
    else:
        torch.save({"w": Bomb(flag)}, path, _use_new_zipfile_serialization=how == "torch.save")
    with pytest.raises(InputError, match="looks like a pickle"):
        load_teacher(path)
    assert not flag.exists()
    pickle.loads(pickle.dumps(Bomb(flag)))  # the payload does work
    assert flag.exists()


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"normalise_mean": "0.5,0.5,0.5"},
        {"normalise_mean": "a,b,c", "normalise_std": "1,1,1"},
        {"normalise_mean": "", "normalise_std": "1,1,1"},
    ],
)
def test_missing_normalisation(tmp_path, metadata):
    save_file(foreign(resnet()), tmp_path / "t.safetensors", metadata)
    with pytest.raises(InputError, match=r"does not say how its inputs are normalised.*normalise_mean"):
        load_teacher(tmp_path / "t.safetensors")


@pytest.mark.parametrize(("mean", "std"), [("0.5,0.5", "1,1,1"), ("0.5,0.5,0.5", "0.2,0,0.2"), ("0,0,0", "1,1,nan")])
def test_normalisation_that_cannot_be(tmp_path, mean, std):
    save_file(foreign(resnet()), tmp_path / "t.safetensors", {"normalise_mean": mean, "normalise_std": std})
    with pytest.raises(InputError, match="one number for each of 3 channels"):
        load_teacher(tmp_path / "t.safetensors")


def not_resnets() -> dict[str, dict[str, torch.Tensor]]:
    whole = foreign(resnet())
    return {
        "an MLP": {"0.weight": torch.rand(4, 4)},
        "no head": {k: v for k, v in whole.items() if "linear" not in k},
        "no third stage": {k: v for k, v in whole.items() if "layer3" not in k},
        "four stages": whole | {"layer4.0.conv2.weight": torch.rand(4, 4, 3, 3)},
        "bottlenecks": whole | {"layer1.0.conv3.weight": torch.rand(4, 4, 1, 1)},
        "ImageNet's stem": whole | {"conv1.weight": torch.rand(16, 3, 7, 7)},
        "another head": whole | {"linear.weight": torch.rand(5, 63)},
        "a block is missing": {k.replace("layer2.0.bn1", "layer2.0.bn3"): v for k, v in whole.items()},
        "an extra tensor": whole | {"layer1.0.se.weight": torch.rand(3)},
        "a wrong shape": whole | {"layer1.0.bn1.weight": torch.rand(15)},
        "empty": {"x": torch.rand(0)},
    }


@pytest.mark.parametrize("what", not_resnets())
def test_not_a_cifar_resnet(tmp_path, what):
    save_file(not_resnets()[what], tmp_path / "t.safetensors", PADDED)
    with pytest.raises(InputError, match=r"is not a CIFAR ResNet|does not fit the net"):
        load_teacher(tmp_path / "t.safetensors")


@pytest.mark.parametrize(
    "about",
    [
        "{",
        "[]",
        json.dumps({"architecture": "resnet8"}),
        json.dumps({"architecture": [], "num_classes": "x", "shape": 3}),
    ],
)
def test_damaged_metadata_of_our_own(tmp_path, about):
    save_file({"x": torch.rand(1)}, tmp_path / "t.safetensors", {"amkd_viz": about})
    with pytest.raises(InputError, match="has damaged metadata"):
        load_teacher(tmp_path / "t.safetensors")


def test_a_name_in_the_metadata_that_is_none(tmp_path):
    about = json.dumps({"architecture": ["resnet8"], "num_classes": 3, "shape": [2]})
    save_file({"x": torch.rand(1)}, tmp_path / "t.safetensors", {"amkd_viz": about})
    with pytest.raises(InputError, match="is not registered here"):
        load_teacher(tmp_path / "t.safetensors")


def test_our_file_of_another_class_count_than_it_says(tmp_path):
    net = build("cnn-tiny", num_classes=4, shape=(1, 8, 8))
    net.num_classes = 5
    path = save_classifier(net, tmp_path / "t.safetensors")
    with pytest.raises(InputError, match=r"does not fit the net: 2 tensors .*'head.weight'"):
        load_teacher(path)
