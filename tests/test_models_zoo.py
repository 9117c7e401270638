"""Nets by name: shapes, sizes, seeds, outputs, and the folded copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.data import load
from amkd_viz.models import Classifier, architectures, build, freeze, inference_copy, wrap
from amkd_viz.models.resnet import ResNetBody
from amkd_viz.runs import distill
from amkd_viz.training import Recipe

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
    norms, folded = (sum(isinstance(m, nn.BatchNorm2d) for m in some.modules()) for some in (net, copy))
    assert folded == (0 if name.startswith(FOLDED) else norms)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_takes_small_colour_images_by_default(name):
    with torch.no_grad():
        assert build(name).eval()(batch(1, (3, 32, 32))).shape == (1, 10)


def test_points_are_for_mlps_only():
    assert architectures((2,)) == [n for n in architectures() if n.startswith("mlp")]
    for name in architectures((2,)):
        net = build(name, num_classes=3, shape=(2,), mean=[0.1, 0.2], std=[1, 2])
        assert net(batch(5, (2,))).shape == (5, 3)
    with pytest.raises(InputError, match=r"'resnet8' takes images.*mlp-tiny"):
        build("resnet8", shape=(2,))


MILLIONS = {
    **{"resnet8": 0.0753, "resnet14": 0.172, "resnet20": 0.269, "resnet26": 0.366, "resnet8x4": 1.21},
    **{"resnet32x4": 7.41, "wrn16-2": 0.69, "wrn40-1": 0.56, "vgg8": 3.92},
}


@pytest.mark.parametrize("name", MILLIONS)
def test_parameter_counts_of_the_usual_students(name):
    """Within a few per cent of the sizes under these names in the literature (their shortcuts and biases differ)."""
    assert sum(p.numel() for p in build(name).parameters()) / 1e6 == pytest.approx(MILLIONS[name], rel=0.04)


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


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 4, 8, 8), (2, 3), (3, 8, 8)])
def test_wrong_channels_are_refused_and_not_broadcast(shape):
    net = build("cnn-tiny", shape=(3, 8, 8))
    with pytest.raises(InputError, match=r"takes inputs of shape \(N, 3, H, W\), got"):
        net(torch.rand(shape))
    with pytest.raises(InputError, match=r"takes floats, images in \[0, 1\], got torch\.uint8; convert and divide"):
        net(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


# ------------------------------------------------------------------ freeze


def flags(net: nn.Module) -> list[bool]:
    return [m.training for m in net.modules()] + [p.requires_grad for p in net.parameters()]


def test_freeze_gives_each_flag_back_also_after_an_exception():
    first, second = build("resnet8", shape=(1, 8, 8)), build("cnn-tiny").eval()
    first.body.layer2.eval(), first.head.eval()
    first.body.bn1.weight.requires_grad_(False)
    before = flags(first), flags(second)
    with freeze(first, second, first):
        assert not any(flags(first) + flags(second))
        with pytest.raises(KeyboardInterrupt), freeze(first):
            raise KeyboardInterrupt
        assert not any(flags(first))
    assert (flags(first), flags(second)) == before


# ------------------------------------------------------------------ folding, where it must not


class Backwards(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in reversed(self):
            x = module(x)
        return x


@pytest.mark.parametrize(
    ("net", "norms"),
    [
        (Backwards(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), 1),  # runs in another order
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), 1),
        (nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4, affine=False), nn.ReLU()), 0),
    ],
)
def test_folding_keeps_the_outputs_and_the_norms_that_do_not_follow_a_convolution(net, norms):
    for _ in range(3):
        net(torch.randn(8, 3, 5, 5) * 3 + 1)
    x, copy = torch.randn(4, 3, 5, 5), inference_copy(net.eval())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in copy.modules()) == norms
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
    wrapped = wrap(nn.Sequential(net.normalise, net.body, net.head), shape=net.shape)
    for made in (net, inference_copy(net.eval()), wrapped):
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
def test_bad_shapes(shape):
    for make in (build, lambda name, shape: wrap(nn.Flatten(), shape=shape)):
        with pytest.raises(InputError, match=r"shape must be \(C, H, W\) for images or \(2,\) for points, got"):
            make("mlp", shape=shape)


NUMBERS = [{"mean": [0.5], "std": [0.2]}, {"std": [0.2]}, {"std": [0.2, 0, 0.2]}, {"std": ["a"] * 3}]


@pytest.mark.parametrize("numbers", [*NUMBERS, {"mean": [0.1, float("nan"), 0]}, {"mean": 0.5}])
def test_bad_mean_and_std(numbers):
    with pytest.raises(InputError, match="mean and std"):
        build("resnet8", **numbers)
    with pytest.raises(InputError, match="mean and std"):
        wrap(nn.Flatten(), shape=(3, 2, 2), **{"mean": [0.5] * 3, "std": [0.2] * 3} | numbers)


def test_numbers_of_classes_and_numbers_of_numpy_and_torch():
    for count in (0, -1, "10", 2.0):
        with pytest.raises(InputError, match=f"num_classes must be an integer >= 1, got {count!r}"):
            build("mlp", num_classes=count)
    sizes = np.array([3, 4, 5])
    net = build("mlp", num_classes=sizes[0], shape=list(sizes), mean=np.ones(3), std=torch.ones(3))
    assert (net.num_classes, net.shape) == (3, (3, 4, 5))
    assert net.normalise.mean.dtype == torch.float32


def test_what_is_no_module_is_not_wrapped():
    with pytest.raises(InputError, match=r"module must be a torch\.nn\.Module, got a function"):
        wrap(lambda x: x, shape=(2,))


@pytest.mark.parametrize(("teacher", "student"), [("vit-tiny", "cnn-tiny"), ("cnn-tiny", "convnext-tiny")])
def test_a_transformer_teaches_a_cnn_and_the_other_way_round(tmp_path, teacher, student):
    recipe = Recipe(
        dataset="digits", teacher=teacher, student=student, epochs=2, teacher_epochs=1, num_train=60, magsim_samples=0
    )
    run = distill(recipe, tmp_path / "run")
    assert run.student().architecture == student
    assert run.metrics()[0]["terms"].keys() == {"ce", "kd", "boundary_kd", "boundary_triplet"}
