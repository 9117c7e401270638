"""Any module as a Classifier: where the last linear layer is the last operation it becomes the head."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torchvision
from small_nets import state_of, unchanged
from torch import nn

from amkd_viz.boundary import boundary_similarity, bss, deepfool, fgsm, noise, refine
from amkd_viz.core.errors import InputError
from amkd_viz.models import build, inference_copy, wrap
from amkd_viz.models.resnet import ResNetBody
from amkd_viz.models.wrapped import IMAGENET


def settled(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    with torch.no_grad():
        module.train()(torch.rand(4, *shape))
    return module


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=16, patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=6
    )


NETS = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=6), (3, 32, 32), 512),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=6, width_mult=0.25), (3, 32, 32), 1280),
    "vit": (vit, (3, 16, 16), 16),
    "mlp": (lambda: nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 6)), (2,), 5),
}


@pytest.mark.parametrize("name", NETS)
def test_wrapped_net_gives_its_logits_and_penultimate_features(name):
    make, shape, width = NETS[name]
    torch.manual_seed(0)
    module = settled(make(), shape)
    next(module.parameters()).requires_grad_(False)
    list(module.modules())[-1].eval()
    before = state_of(module)
    net = wrap(module, shape=shape)
    assert unchanged(module, before)
    assert (net.num_classes, net.shape, net.feature_width) == (6, shape, width)
    assert isinstance(net.head, nn.Linear)
    assert net.head.weight.data_ptr() not in [p.data_ptr() for p in module.parameters()]
    assert not any(part.training for part in net.modules())
    x = torch.rand(3, *shape)
    with torch.no_grad():
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in IMAGENET) if len(shape) == 3 else (0, 1)
        net.eval()
        expected = module.eval()((x - mean) / std)
        assert torch.allclose(net(x), expected, atol=1e-5)
        embedding = net.outputs(x)
        assert torch.equal(net.head(embedding.features), embedding.logits)
        torch.testing.assert_close(inference_copy(net)(x), expected, rtol=1e-3, atol=1e-4)


AROUND = {
    "log-softmax": lambda net, x: net.last(x).log_softmax(1),
    "scaled": lambda net, x: 3 * net.last(x),
    "scaled by 1 yet": lambda net, x: net.factor * net.last(x),
    "clamped": lambda net, x: net.last(x).clamp(-9, 9),
    "clamped in place": lambda net, x: net.last(x).clamp_(-9, 9),
    "before a conv": lambda net, x: net.conv(net.last(x).view(-1, 3, 3, 3)).mean((2, 3)),
    "no way back": lambda net, x: x + net.last.weight[0] + net.last(x),
    "unused": lambda net, x: x,
}


class Around(nn.Module):
    """A linear layer that is registered last, and something else that decides."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Linear(12, 12)
        self.conv = nn.Conv2d(3, 4, 1)
        self.last = nn.Linear(12, {"before a conv": 27, "unused": 9, "no way back": 12}.get(kind, 4))
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return AROUND[self.kind](self, self.first(x.flatten(1)).relu())


@pytest.mark.parametrize("kind", AROUND)
def test_where_the_last_linear_is_not_the_last_operation_features_are_logits(kind):
    torch.manual_seed(0)
    module = Around(kind)
    net = wrap(module, shape=(3, 2, 2), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert isinstance(net.head, nn.Identity)
    assert isinstance(net.body.last, nn.Linear)  # put back
    x = torch.rand(5, 3, 2, 2)
    with torch.no_grad():
        embedding = net.outputs(x)
        assert torch.allclose(embedding.logits, module((x - 0.5) / 0.25))
        assert torch.equal(embedding.features, embedding.logits)


class Then(nn.Sequential):
    """Layers, and a function of what they give."""

    def __init__(self, function, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(super().forward(x))


def shared_layer() -> nn.Module:
    shared = nn.Linear(4, 4)
    return nn.Sequential(nn.Flatten(), shared, nn.ReLU(), shared)


def flat(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *(layers or (nn.Linear(4, 3),)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning", "ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "width"),
    [
        (lambda: flat(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)), 4),
        (lambda: Then(lambda y: y.view(len(y), -1), nn.Flatten(), nn.Linear(4, 3)), 4),  # a view of the last output
        (lambda: nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten()), 3),  # no linear layer
        (shared_layer, 4),
        (lambda: torch.jit.script(flat()), 3),
    ],
)
def test_small_modules_keep_their_logits_and_images_of_one_channel_are_not_normalised(make, width):
    torch.manual_seed(0)
    module, x = make(), torch.rand(3, 1, 2, 2)
    expected = module(x)
    net = wrap(module, shape=(1, 2, 2))
    torch.testing.assert_close(net(x), expected)
    assert torch.equal(net.normalise(x), x)
    assert net.feature_width == width


def test_a_bare_linear_layer():
    linear = nn.Linear(2, 3)
    assert torch.equal(wrap(linear, shape=(2,))(torch.ones(1, 2)), linear(torch.ones(1, 2)))


def test_an_error_without_words_and_half_a_normalisation():
    class Mute(nn.Module):
        def forward(self, x):
            raise NotImplementedError

    with pytest.raises(InputError, match="NotImplementedError"):
        wrap(Mute(), shape=(2,))
    with pytest.raises(InputError, match="both mean= and std=, or neither"):
        wrap(nn.Linear(2, 2), shape=(2,), mean=(0.5, 0.5))


@pytest.mark.parametrize(
    "make",
    [torchvision.models.resnet18, vit, lambda: nn.Linear(7, 3), lambda: nn.Bilinear(2, 2, 2)],  # the last takes two
)
def test_inputs_that_do_not_fit(make):
    with pytest.raises(InputError, match=r"does not take inputs of shape \(5, 9, 9\)"):
        wrap(make(), shape=(5, 9, 9))


class Says(nn.Module):
    """As Hugging Face's nets do."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.trunk, self.classifier = kind, nn.Linear(4, 3), nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> object:
        hidden = self.trunk(x.flatten(1)).relu()
        logits = self.classifier(hidden)
        if self.kind == "tuple":
            return logits, hidden
        about = {"logits": logits, "hidden_states": hidden} if self.kind != "other" else {"scores": logits}
        return about if self.kind != "object" else SimpleNamespace(**about)


@pytest.mark.parametrize("kind", ["dict", "object"])
def test_logits_are_taken_out_of_what_a_net_returns(kind):
    torch.manual_seed(0)
    module, x = Says(kind).eval(), torch.rand(4, 1, 2, 2)
    net = wrap(module, shape=(1, 2, 2))
    said = module(x)
    assert torch.allclose(net(x), said["logits"] if kind == "dict" else said.logits)
    assert net.feature_width == 3
    assert isinstance(net.head, nn.Linear)


@pytest.mark.parametrize(
    ("module", "shape", "sentence"),
    [
        (nn.Conv2d(3, 4, 1), (3, 4, 4), "whose forward returns only its logits"),
        (nn.LSTM(2, 3), (2,), "whose forward returns only its logits"),
        (Says("tuple"), (1, 2, 2), r"got a tuple for inputs \(1, 1, 2, 2\); put"),
        (Says("other"), (1, 2, 2), r"got a dict for inputs \(1, 1, 2, 2\); put"),
        (Then(torch.squeeze, flat()), (1, 2, 2), r"got a tensor \(3,\) for inputs \(1, 1, 2, 2\)"),
    ],
)
def test_outputs_that_are_no_logits(module, shape, sentence):
    with pytest.raises(InputError, match=f"must return logits.*{sentence}"):
        wrap(module, shape=shape)


@pytest.mark.parametrize("kind", ["dict", "object", "tuple", "other"])
def test_attacks_say_what_to_do_with_a_net_that_returns_more_than_logits(kind):
    x, target = torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long)
    attacks = [
        lambda net: bss(net, x, target, space="pixel"),
        lambda net: fgsm(net, x, target),
        lambda net: deepfool(net, x),
        lambda net: refine(net, noise(build("mlp", shape=(1, 2, 2)), x, target)),
        lambda net: boundary_similarity(net, net, x, target),
    ]
    for attack in attacks:
        with pytest.raises(InputError, match=r"The net must return logits \(N, K\), got a \w+; wrap\("):
            attack(Says(kind))


def around(net: nn.Module) -> dict[str, nn.Module]:
    return {
        "torch.compile": torch.compile(net, backend="eager"),
        "DataParallel": nn.DataParallel(net),
        "both": torch.compile(nn.DataParallel(net), backend="eager"),
    }


@pytest.mark.parametrize("what", [None, "torch.compile", "DataParallel", "both"])
def test_a_classifier_is_copied_as_it_is(what):
    net = build("resnet8", shape=(3, 8, 8), seed=1).eval()
    given = around(net)[what] if what else net
    found = wrap(given, shape=(3, 8, 8))
    x = torch.rand(2, 3, 8, 8)
    assert isinstance(found.body, ResNetBody)
    assert torch.equal(found(x), net(x))
    assert found.head.weight.data_ptr() != net.head.weight.data_ptr()
    assert (found.architecture, wrap(given, shape=(3, 8, 8), name="mine").architecture) == ("resnet8", "mine")
    with pytest.raises(InputError, match=r"a Classifier already: it takes inputs \(3, 8, 8\)"):
        wrap(given, shape=(3, 9, 9))
    with pytest.raises(InputError, match="a Classifier already"):
        wrap(given, shape=(3, 8, 8), mean=[0.5] * 3)
    copied = inference_copy(given)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in copied.modules())
    torch.testing.assert_close(copied(x), net(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("what", ["torch.compile", "DataParallel", "both"])
def test_what_is_put_around_a_module_stays_behind(what):
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    net, x = wrap(around(module)[what], shape=(1, 2, 2)), torch.rand(2, 1, 2, 2)
    assert net.state_dict().keys() == wrap(module, shape=(1, 2, 2)).state_dict().keys()
    assert torch.equal(net(x), module(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_module_in_another_precision_stays_so_and_takes_images_of_any(dtype):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    x = torch.rand(2, 3, 8, 8)
    expected = wrap(module, shape=(3, 8, 8))(x)
    net = wrap(module.to(dtype), shape=(3, 8, 8))
    assert net.feature_width == 4
    assert {t.dtype for t in net.state_dict().values()} == {dtype}
    for images in (x, x.to(dtype), x.double()):
        logits = net(images)
        assert logits.dtype == dtype
        torch.testing.assert_close(logits.float(), expected, rtol=0, atol=3e-2)
