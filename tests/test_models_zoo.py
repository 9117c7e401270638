"""Nets by name: shapes, sizes, seeds, outputs, and the folded copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.data import load
from amkd_viz.models import Classifier, Normalise, architectures, build, freeze, inference_copy, wrap
from amkd_viz.models.resnet import ResNetBody

QUICK = {
    "mlp-tiny",
    "mlp",
    "cnn-tiny",
    "cnn",
    "resnet8",
    "resnet26",
    "resnet8x4",
    "wrn16-2",
    "vgg8",
    "mobilenetv2-half",
}
HUGE = {"wrn28-10", "wrn40-10"}  # 36 and 56 million parameters of the same blocks as wrn16-10
NAMES = [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in architectures() if n not in HUGE]
FOLDED = ("resnet", "cnn", "vgg", "mobilenet")  # a WRN normalises before it convolves


def batch(count: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def lived_in(net: Classifier) -> Classifier:
    """Norms with statistics and affine parameters that are not those of a fresh net."""
    with torch.no_grad():
        for number in range(2):
            net.train()(batch(6, net.shape, number))
        generator = torch.Generator().manual_seed(1)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) / 4)
    return net.eval()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_takes_digits_and_folds_to_the_same_logits(name):
    net = build(name, num_classes=7, shape=(1, 8, 8), mean=[0.3], std=[0.3])
    assert net.training
    assert (net.architecture, net.num_classes, net.shape) == (name, 7, (1, 8, 8))
    net = lived_in(net)
    x = batch(3, net.shape, 9)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        logits = net(x)
        assert logits.shape == (3, 7)
        given = net.outputs(x)
        assert torch.equal(given.logits, logits)
        assert torch.equal(net.head(given.features), logits)
        assert given.features.shape == (3, net.feature_width)
        assert torch.equal(net.normalised(net.normalise(x)), logits)

        net.train()
        copy = inference_copy(net)
        assert net.training
        assert all(p.requires_grad for p in net.parameters())
        assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
        torch.testing.assert_close(copy(x), logits, rtol=1e-3, atol=1e-4)
    assert not any(m.training for m in copy.modules())
    assert not any(p.requires_grad for p in copy.parameters())
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in copy.modules())
    if name.startswith(FOLDED):
        assert norms == 0
    else:
        assert norms == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())


@pytest.mark.parametrize("name", NAMES)
def test_every_name_takes_small_colour_images(name):
    net = build(name)
    assert net.shape == (3, 32, 32)
    with torch.no_grad(), freeze(net):
        assert net(batch(1, (3, 32, 32))).shape == (1, 10)


def test_points_are_for_mlps_only():
    assert architectures((2,)) == [n for n in architectures() if n.startswith("mlp")]
    for name in architectures((2,)):
        net = build(name, num_classes=3, shape=(2,), mean=[0.1, 0.2], std=[1, 2])
        assert net(batch(5, (2,))).shape == (5, 3)
    with pytest.raises(InputError, match=r"'resnet8' takes images.*mlp-tiny"):
        build("resnet8", shape=(2,))


def test_unknown_name_offers_the_nearest():
    with pytest.raises(InputError, match=r"Unknown model 'resnet9'; did you mean .*'resnet8'"):
        build("resnet9")


@settings(max_examples=8)
@given(channels=st.integers(1, 4), side=st.integers(5, 40), count=st.integers(0, 3), classes=st.integers(2, 11))
def test_any_image_size(channels, side, count, classes):
    shape = (channels, side, side)
    for name in ("cnn-tiny", "resnet8", "mlp-tiny"):
        net = build(name, num_classes=classes, shape=shape).eval()
        assert net(batch(count, shape)).shape == (count, classes)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet8", 0.0753),
        ("resnet14", 0.172),
        ("resnet20", 0.269),
        ("resnet26", 0.366),
        ("resnet8x4", 1.21),
        ("resnet32x4", 7.41),
        ("wrn16-2", 0.69),
        ("wrn40-1", 0.56),
        ("vgg8", 3.92),
    ],
)
def test_parameter_counts_of_the_usual_students(name, millions):
    """Within a few per cent of the sizes under these names in the literature (their shortcuts and biases differ)."""
    count = sum(p.numel() for p in build(name).parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.04)


def test_seed_alone_makes_the_weights():
    torch.manual_seed(5)
    first = build("cnn", seed=3).state_dict()
    torch.manual_seed(6)
    again, other = build("cnn", seed=3).state_dict(), build("cnn", seed=4).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["body.stage1.0.weight"], other["body.stage1.0.weight"])
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_global_random_state_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("resets the GPU's random state"))
    torch.default_generator.manual_seed(5)
    before = torch.get_rng_state()
    build("resnet8", seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_dataset_gives_classes_shape_and_normalisation():
    data = load("digits")
    net = build("cnn-tiny", data)
    assert (net.num_classes, net.shape) == (10, (1, 8, 8))
    assert net.normalise.mean.flatten().tolist() == pytest.approx(list(data.mean))
    assert net.normalise.std.flatten().tolist() == pytest.approx(list(data.std))
    assert build("cnn-tiny", data, num_classes=4).num_classes == 4


@pytest.mark.parametrize(("shortcut", "first"), [("pad-end", 0), ("pad-both", 8)])
def test_shortcut_pads_zero_channels_after_subsampling(shortcut, first):
    """With its convolutions at zero a block is ReLU of the shortcut alone."""
    body = ResNetBody([1, 1, 1], shortcut=shortcut).eval()
    block = body.layer2[0]
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 16, 6, 6)
    out = block(x)
    assert torch.equal(out[:, first : first + 16], x[:, :, ::2, ::2].relu())
    assert not out[:, :first].any()
    assert not out[:, first + 16 :].any()


def test_a_shortcut_by_name():
    assert build("resnet8", shortcut="pad-both").body.shortcut == "pad-both"
    assert build("resnet8", shortcut="conv").body.layer2[0].downsample is not None
    with pytest.raises(InputError, match="shortcut must be left out for 'cnn'"):
        build("cnn", shortcut="conv")


def test_normalise_and_back():
    layer = Normalise([0.1, 0.5, 0.9], [0.2, 0.5, 2.0])
    x = batch(2, (3, 4, 5))
    z = layer(x)
    assert torch.allclose(z[:, 2], (x[:, 2] - 0.9) / 2)
    assert torch.allclose(layer.inverse(z), x, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 4, 8, 8), (2, 3), (3, 8, 8)])
def test_wrong_channels_are_refused_and_not_broadcast(shape):
    net = build("cnn-tiny", shape=(3, 8, 8))
    with pytest.raises(InputError, match=r"takes inputs of shape \(N, 3, H, W\), not"):
        net(torch.rand(shape))


# ------------------------------------------------------------------ freeze


def flags(net: nn.Module) -> list[bool]:
    return [m.training for m in net.modules()] + [p.requires_grad for p in net.parameters()]


def mixed() -> Classifier:
    net = build("resnet8", shape=(1, 8, 8))
    net.body.layer2.eval()
    net.body.bn1.weight.requires_grad_(False)
    net.head.eval()
    return net


def test_freeze_gives_each_flag_back():
    first, second = mixed(), build("cnn-tiny").eval()
    before = flags(first), flags(second)
    assert True in before[0]
    assert False in before[0]
    with freeze(first, second, first):
        assert not any(flags(first) + flags(second))
        with freeze(first):
            pass
        assert not any(flags(first))
    assert (flags(first), flags(second)) == before


def test_freeze_gives_each_flag_back_after_an_exception():
    net = mixed()
    before = flags(net)

    def fail() -> None:
        with freeze(net):
            assert not any(flags(net))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert flags(net) == before


# ------------------------------------------------------------------ folding, where it must not


class Backwards(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in reversed(self):
            x = module(x)
        return x


def test_a_sequential_that_runs_in_another_order_is_not_folded():
    net = Backwards(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    for _ in range(3):
        net(torch.randn(8, 3, 4, 4) * 3 + 1)
    net.eval()
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(inference_copy(net)(x), net(x))


def test_a_norm_without_statistics_is_not_folded():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(inference_copy(net)(x), net(x))


def test_a_conv_with_bias_and_a_norm_without_affine_fold():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4, affine=False), nn.ReLU())
    for _ in range(3):
        net(torch.randn(8, 3, 5, 5) * 2 + 1)
    net.eval()
    x = torch.randn(2, 3, 5, 5)
    copy = inference_copy(net)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in copy.modules())
    torch.testing.assert_close(copy(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.fixture
def default_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["resnet8", "mlp-tiny", "torchvision:squeezenet1_1"])
def test_nets_are_float32_whatever_the_default_type(name, default_float64):
    net = build(name, num_classes=3, shape=(3, 64, 64), seed=1)
    assert torch.get_default_dtype() == torch.float64
    x = torch.rand(2, 3, 64, 64, dtype=torch.float32)
    for made in (
        net,
        inference_copy(net.eval()),
        wrap(nn.Sequential(net.normalise, net.body, net.head), shape=net.shape),
    ):
        assert {p.dtype for p in made.parameters()} == {torch.float32}
        assert made(x).dtype == torch.float32
        assert made.feature_width
    torch.set_default_dtype(torch.float32)
    assert torch.equal(build(name, num_classes=3, shape=(3, 64, 64), seed=1).eval()(x), net(x))


def test_a_refused_net_leaves_the_default_type_as_it_was(default_float64):
    with pytest.raises(InputError):
        build("torchvision:vit_b_16", shape=(3, 9, 9))
    assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize("shape", [(), (8, 8), (0, 8, 8), (3, 8, -8), (2.0,), (1, 3, 8, 8), 12])
def test_a_shape_that_is_none(shape):
    for make in (build, lambda name, shape: wrap(nn.Flatten(), shape=shape)):
        with pytest.raises(InputError, match=r"shape must be \(C, H, W\) for images or \(2,\) for points, got"):
            make("mlp", shape=shape)


@pytest.mark.parametrize("count", [0, -1, "10", 2.0])
def test_a_number_of_classes_that_is_none(count):
    with pytest.raises(InputError, match=f"num_classes must be an integer >= 1, got {count!r}"):
        build("mlp", num_classes=count)


@pytest.mark.parametrize(
    "numbers",
    [
        {"mean": [0.5], "std": [0.2]},
        {"std": [0.2]},
        {"std": [0.2, 0, 0.2]},
        {"mean": [0.1, float("nan"), 0]},
        {"mean": 0.5},
        {"std": ["a"] * 3},
    ],
)
def test_a_normalisation_that_cannot_be(numbers):
    with pytest.raises(InputError, match="mean and std"):
        build("resnet8", **numbers)
    with pytest.raises(InputError, match="mean and std"):
        wrap(nn.Flatten(), shape=(3, 2, 2), **{"mean": [0.5] * 3, "std": [0.2] * 3} | numbers)


def test_numbers_of_numpy_and_torch():
    sizes = np.array([3, 4, 5])
    net = build("mlp", num_classes=sizes[0], shape=list(sizes), mean=np.ones(3), std=torch.ones(3))
    assert (net.num_classes, net.shape) == (3, (3, 4, 5))
    assert net.normalise.mean.dtype == torch.float32


def test_bytes_are_refused():
    net = build("mlp", shape=(1, 2, 2))
    with pytest.raises(InputError, match=r"takes floats, images in \[0, 1\], not torch\.uint8; convert and divide"):
        net(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))


def test_what_is_no_module_is_not_wrapped():
    with pytest.raises(InputError, match=r"module must be a torch\.nn\.Module, got a function"):
        wrap(lambda x: x, shape=(2,))
