"""Layers of every kind of net: stages counted from the end, after and before their last ReLU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torchvision
from small_nets import state_of, unchanged
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier, build, inference_copy, pre, wrap

tv = torchvision.models


def vit(layers: int = 3) -> nn.Module:
    return tv.VisionTransformer(
        image_size=16, patch_size=8, num_layers=layers, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=6
    )


def vgg() -> nn.Module:
    features = tv.vgg.make_layers([4, "M", 6, 6, "M", 8], batch_norm=True)
    parts = {"features": features, "avgpool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "head": nn.Linear(8, 6)}
    return nn.Sequential(OrderedDict(parts))


class Functional(nn.Module):
    """A net whose ReLUs and poolings are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Linear(5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(self.conv1(x).relu(), 2)
        return self.head(self.conv2(x).relu_().mean((2, 3)))


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 6))


def wrapped(make: Callable[[], nn.Module], *shape: int) -> Callable[[], Classifier]:
    return lambda: wrap(make(), shape=shape)


def named(name: str, *shape: int) -> Callable[[], Classifier]:
    return lambda: build(name, num_classes=6, shape=shape or (3, 16, 16))


def custom() -> Classifier:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return Classifier(
        nn.Sequential(body, nn.Flatten()), nn.Linear(5, 6), mean=[0.5] * 3, std=[1] * 3, num_classes=6, shape=(3, 9, 9)
    )


RESNET18 = ["relu", "layer1", "layer2", "layer3", "layer4"]
NETS = {  # stages, the last stage's shape, and which of them end with a ReLU (counted from the end)
    "mlp": (named("mlp-small", 2), ["2", "4"], (16,), [-2, -1]),
    "cnn": (named("cnn"), ["stage1", "stage2", "stage3"], (128, 4, 4), [-3, -2, -1]),
    "resnet": (named("resnet8"), ["layer1", "layer2", "layer3"], (64, 4, 4), [-3, -2, -1]),
    "wide resnet": (named("wrn16-1"), ["block1", "block2", "block3"], (64, 4, 4), []),
    "vgg": (named("vgg8"), [f"stage{i}" for i in range(1, 6)], (512, 1, 1), [-5, -4, -3, -2, -1]),
    "mobilenet": (named("mobilenetv2-half"), [f"stage{i}" for i in range(1, 8)], (160, 2, 2), []),
    "torchvision:resnet18": (named("torchvision:resnet18", 3, 64, 64), RESNET18, (512, 2, 2), [-5, -4, -3, -2, -1]),
    "wrapped vit": (wrapped(vit, 3, 16, 16), [f"encoder.layers.encoder_layer_{i}" for i in range(3)], (5, 16), []),
    "wrapped vgg": (wrapped(vgg, 3, 16, 16), ["features.2", "features.9", "features.13"], (8, 4, 4), [-3, -2, -1]),
    "wrapped mlp": (wrapped(dense, 2), ["2", "4"], (4,), [-2]),
    "wrapped, functional": (wrapped(Functional, 3, 12, 12), ["conv1", "conv2"], (5, 3, 3), []),
    "custom": (custom, ["0.1", "0.3"], (5, 3, 3), [-2, -1]),
}


def lived_in(net: Classifier) -> Classifier:
    with torch.no_grad():
        net.train()(torch.rand(8, *net.shape))
    return net.eval()


@pytest.mark.parametrize("name", NETS)
def test_layers_of_a_net_and_of_its_folded_copy(name: str) -> None:
    torch.manual_seed(0)
    make, stages, shape, relus = NETS[name]
    net = lived_in(make())
    assert list(net.stages) == stages
    assert net.layer_shape(-1) == shape
    layers = [*range(-len(stages), 0), *map(pre, relus)]
    x = torch.rand(3, *net.shape)
    with torch.no_grad():
        given = net.outputs(x, layers)
        folded = inference_copy(net).outputs(x, layers)
        assert torch.equal(given.logits, net(x))
    assert list(given.layers) == layers
    for layer in layers:
        assert given.layers[layer].shape == (3, *net.layer_shape(layer))
        torch.testing.assert_close(folded.layers[layer], given.layers[layer], rtol=1e-3, atol=1e-4)
    for stage in relus:
        assert (given.layers[pre(stage)] < 0).any()
        assert torch.equal(given.layers[pre(stage)].relu(), given.layers[stage])
    for stage in set(range(-len(stages), 0)) - set(relus):
        with pytest.raises(
            InputError, match=rf"^layer of teacher must be {stage} instead of pre\({stage}\): stage .*ReL"
        ):
            net.check_layer(pre(stage), "teacher")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_layers_are_what_the_stages_compute() -> None:
    net = lived_in(build("resnet14", shape=(3, 16, 16)))
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        given = net.outputs(x, [-3, -1, pre(-3)])
        stem = net.body.bn1(net.body.conv1(net.normalise(x))).relu()
        assert torch.equal(given.layers[-3], net.body.layer1(stem))
        assert torch.equal(given.layers[-1].mean((2, 3)), given.features)
        last, enters = net.body.layer1[1], net.body.layer1[0](stem)
        sums = last.bn2(last.conv2(last.bn1(last.conv1(enters)).relu())) + enters
        assert torch.equal(given.layers[pre(-3)], sums)


@pytest.mark.parametrize("layer", [-1, -2, pre(-1), pre(-2)])
def test_gradients_come_from_a_layer_as_from_the_logits(layer: object) -> None:
    """Both in train mode, where ReLUs work in place, and through a folded copy to its input."""
    net = build("resnet8", shape=(3, 8, 8), seed=1).train()
    x = torch.rand(4, 3, 8, 8)
    given = net.outputs(x, [layer])
    given.logits.sum().backward(retain_graph=True)
    alone = net.body.conv1.weight.grad.clone()
    net.zero_grad()
    net(x).sum().backward()
    torch.testing.assert_close(net.body.conv1.weight.grad, alone, rtol=1e-3, atol=1e-4)
    net.zero_grad()
    given.layers[layer].square().mean().backward()
    assert net.body.conv1.weight.grad.abs().sum() > 0
    net.eval()
    grads = []
    for one in (net, inference_copy(net)):
        z = x.clone().requires_grad_()
        grads.append(torch.autograd.grad(one.outputs(z, [layer]).layers[layer].square().sum(), z)[0])
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-2, atol=1e-3)


def test_under_inference_mode_in_channels_last_and_with_autocast() -> None:
    net = lived_in(build("resnet8", shape=(3, 8, 8), seed=1))
    x, layers = torch.rand(4, 3, 8, 8), [-1, pre(-1)]
    expected = net.outputs(x, layers)
    with torch.inference_mode():
        inside = build("resnet8", shape=(3, 8, 8), seed=1)
        assert inside.layer_shape(-1) == (64, 2, 2)
        torch.testing.assert_close(net.outputs(x, layers).layers, expected.layers)
    last = net.to(memory_format=torch.channels_last)
    given = last.outputs(x.to(memory_format=torch.channels_last), layers)
    torch.testing.assert_close(given.layers, expected.layers, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net.outputs(x, layers).layers[-1].float(), expected.layers[-1], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("make", [NETS["resnet"][0], NETS["torchvision:resnet18"][0], NETS["wrapped mlp"][0]])
def test_measuring_leaves_a_net_as_it_was(make: Callable[[], Classifier]) -> None:
    net = make().train()
    next(net.parameters()).requires_grad_(False)
    before, rng = state_of(net), torch.get_rng_state()
    net.check_layer(-1)
    net.layer_shape(pre(-len(net.stages)))
    assert unchanged(net, before)
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("layer", [-9, 0, 2, pre(-4), pre(0), "layer1", 1.5, None])
def test_a_layer_that_a_net_lacks(layer: object) -> None:
    net = build("resnet8", shape=(3, 8, 8))
    with pytest.raises(InputError) as error:
        net.check_layer(layer)
    assert str(error.value) == f"layer of student must be between -3 and -1 for resnet8, got {layer!r}."
    with pytest.raises(InputError, match=r"^layer of the net must be between -3 and -1 for resnet8, got "):
        net.outputs(torch.zeros(1, 3, 8, 8), [-1, layer])
    assert not any(m._forward_hooks for m in net.modules())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning", "ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 3), lambda: torch.jit.script(dense())])
def test_a_net_in_one_piece_has_no_layers(make: Callable[[], nn.Module]) -> None:
    net = wrap(make(), shape=(2,))
    assert net.stages == ()
    with pytest.raises(InputError, match=r"^teacher has no layers to read: custom runs as one module, got -1\.$"):
        net.check_layer(-1, "teacher")


@pytest.mark.slow
def test_stages_of_torchvisions_nets() -> None:
    """Where maps shrink, a stage ends at each size."""
    expected = {
        "resnet50": RESNET18,
        "mobilenet_v2": [f"features.{i}" for i in (1, 3, 6, 13, 18)],
        "convnext_tiny": [f"features.{i}" for i in (1, 3, 5, 7)],
        "swin_t": [f"features.{i}" for i in (1, 3, 5, 7)],
        "regnet_x_400mf": [f"trunk_output.block{i}" for i in range(1, 5)],
    }
    for name, stages in expected.items():
        assert list(wrap(tv.get_model(name, weights=None), shape=(3, 64, 64)).stages) == stages
