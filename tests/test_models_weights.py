"""Classifiers on disk: what is written comes back bit by bit, what is not ours is recognised or refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier, build, inference_copy, load_teacher, load_weights, save_classifier
from amkd_viz.models.resnet import ResNetBody

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


def padded_both_sides(folder: Path, **metadata: str) -> tuple[Classifier, Path]:
    """A net as akamaster/pytorch_resnet_cifar10 has them: zeros on both sides of a shortcut, names of its own."""
    net = resnet(shortcut="pad-both")
    save_file(foreign(net), folder / "a.safetensors", NORMALISATION | metadata)
    return net, folder / "a.safetensors"


def same_logits(found: nn.Module, net: nn.Module) -> bool:
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.allclose(found(x), net(x), rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize("name", ["nowhere.safetensors", "."])
def test_missing_file(tmp_path, name):
    with pytest.raises(InputError, match="File not found: "):
        load_teacher(tmp_path / name)


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


WHOLE = foreign(resnet())
MEAN_AND_STD = [
    (None, r"does not say how its inputs are normalised.*normalise_mean"),
    ({"normalise_mean": "0.5,0.5,0.5"}, "does not say how its inputs are normalised"),
    ({"normalise_mean": "a,b,c", "normalise_std": "1,1,1"}, "does not say how its inputs are normalised"),
    ({"normalise_mean": "", "normalise_std": "1,1,1"}, "does not say how its inputs are normalised"),
    ({"normalise_mean": "0.5,0.5", "normalise_std": "1,1,1"}, "one number for each of 3 channels"),
    ({"normalise_mean": "0.5,0.5,0.5", "normalise_std": "0.2,0,0.2"}, "one number for each of 3 channels"),
    ({"normalise_mean": "0,0,0", "normalise_std": "1,1,nan"}, "one number for each of 3 channels"),
]
NOT_RESNETS = {
    "an MLP": {"0.weight": torch.rand(4, 4)},
    "no head": {k: v for k, v in WHOLE.items() if "linear" not in k},
    "no third stage": {k: v for k, v in WHOLE.items() if "layer3" not in k},
    "four stages": WHOLE | {"layer4.0.conv2.weight": torch.rand(4, 4, 3, 3)},
    "bottlenecks": WHOLE | {"layer1.0.conv3.weight": torch.rand(4, 4, 1, 1)},
    "ImageNet's stem": WHOLE | {"conv1.weight": torch.rand(16, 3, 7, 7)},
    "another head": WHOLE | {"linear.weight": torch.rand(5, 63)},
    "a block is missing": {k.replace("layer2.0.bn1", "layer2.0.bn3"): v for k, v in WHOLE.items()},
    "an extra tensor": WHOLE | {"layer1.0.se.weight": torch.rand(3)},
    "a wrong shape": WHOLE | {"layer1.0.bn1.weight": torch.rand(15)},
    "empty": {"x": torch.rand(0)},
}
OURS = [
    ("{", "has damaged metadata"),
    ("[]", "has damaged metadata"),
    ('{"architecture": "resnet8"}', "has damaged metadata"),
    ('{"architecture": [], "num_classes": "x", "shape": 3}', "has damaged metadata"),
    ('{"architecture": ["resnet8"], "num_classes": 3, "shape": [2]}', "has damaged metadata"),
    ('{"architecture": "resnet9", "num_classes": 3, "shape": [2]}', "is not registered here"),
    ('{"architecture": "resnet8", "num_classes": true, "shape": [2]}', "has damaged metadata"),
    ("[" * 100_000, "has damaged metadata"),
]


@pytest.mark.parametrize(
    ("tensors", "metadata", "sentence"),
    [
        *((WHOLE, metadata, sentence) for metadata, sentence in MEAN_AND_STD),
        *((tensors, PADDED, r"is not a CIFAR ResNet|does not fit the net") for tensors in NOT_RESNETS.values()),
        *(({"x": torch.rand(1)}, {"amkd_viz": about}, sentence) for about, sentence in OURS),
    ],
)
def test_a_file_that_makes_no_teacher(tmp_path, tensors, metadata, sentence):
    save_file(tensors, tmp_path / "t.safetensors", metadata)
    with pytest.raises(InputError, match=sentence):
        load_teacher(tmp_path / "t.safetensors")


def test_our_file_of_another_class_count_than_it_says(tmp_path):
    net = build("cnn-tiny", num_classes=4, shape=(1, 8, 8))
    net.num_classes = 5
    path = save_classifier(net, tmp_path / "t.safetensors")
    with pytest.raises(InputError, match=r"does not fit the net: 2 tensors .*'head.weight'"):
        load_teacher(path)


def metadata_only(folder, **about):
    """A file without a number that names a net."""
    net = {"architecture": "mlp", "num_classes": 3, "shape": [2], **about}
    save_file({"x": torch.zeros(4)}, folder / "net.safetensors", {"amkd_viz": json.dumps(net)})
    return folder / "net.safetensors"


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"num_classes": 10**9}, "does not hold the net that its metadata name: 1,000,000,000 classes of"),
        ({"shape": [3, 100_000, 100_000], "architecture": "cnn"}, "does not hold the net that its metadata name"),
        ({"shape": [2**19]}, "tensors differ in name or shape"),  # 128 x 2**19 weights
        ({"shape": [3, 1000, 1000], "architecture": "wrn40-10"}, "tensors differ in name or shape"),
        ({"shape": [3, 224, 224], "architecture": "torchvision:vit_h_14"}, "has 4 numbers, fewer than the net"),
    ],
)
def test_a_small_file_takes_no_memory_for_the_large_net_that_it_names(tmp_path, monkeypatch, about, sentence):
    path = metadata_only(tmp_path, **about)
    assert path.stat().st_size < 400
    taken = []
    for kind in (nn.Linear, nn.Conv2d):
        real = kind.reset_parameters
        monkeypatch.setattr(kind, "reset_parameters", lambda self, real=real: (note(self, taken), real(self))[1])
    with pytest.raises(InputError, match=sentence):
        load_teacher(path)
    assert sum(taken) == 0  # bytes of weights outside of the meta device


def note(module, taken):
    taken.append(0 if module.weight.is_meta else module.weight.numel() * 4)


def test_a_foreign_file_with_wide_names_takes_no_memory_either(tmp_path):
    wide = {f"layer{s}.0.conv2.weight": torch.zeros(10**5, 1, 1, 1) for s in (1, 2, 3)}
    tensors = {"conv1.weight": torch.zeros(10**5, 1, 3, 3), "linear.weight": torch.zeros(1, 10**5), **wide}
    save_file(tensors, tmp_path / "t.safetensors", {"normalise_mean": "0", "normalise_std": "1", "shortcut": "pad-end"})
    with pytest.raises(InputError, match="does not fit the net"):  # 9e10 weights a layer
        load_teacher(tmp_path / "t.safetensors")


def test_a_file_larger_than_the_free_memory_is_not_read(tmp_path, monkeypatch):
    path = save_classifier(build("mlp-tiny", shape=(2,)), tmp_path / "net.safetensors")
    monkeypatch.setattr("amkd_viz.core.memory.free_memory", lambda: 100)
    with pytest.raises(InputError, match=r"net.safetensors needs .* GB, 1e-07 GB are free; free some"):
        load_teacher(path)
