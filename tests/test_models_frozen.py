"""A frozen ResNet gives the logits and the input gradient of the net it was made from."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from amkd_viz.models import Classifier, build, frozen, frozen_conv, inference_copy
from amkd_viz.models.frozen import FrozenResNet
from amkd_viz.models.frozen_conv import passed, relu_back
from amkd_viz.models.resnet import ResNetBody
from amkd_viz.objectives import Attack, Step


@pytest.fixture(autouse=True)
def same_chance():
    torch.manual_seed(5)


def lived_in(net: Classifier) -> Classifier:
    """Batch norms with statistics that matter."""
    chance = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=chance) / 4)
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=chance))
            module.bias.data.copy_(torch.randn(module.bias.shape, generator=chance) / 4)
    return net.eval()


def close(found: Tensor, expected: Tensor) -> bool:
    """Up to a few signs of activations that lie within rounding of zero."""
    return bool((found - expected).norm() <= 3e-2 * expected.norm())


def gradient(net: Classifier, x: Tensor, weights: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad((net(x) * weights).sum(), x)[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("name", "shape"), [("resnet14", (3, 32, 32)), ("resnet8", (1, 7, 9)), ("resnet8x4", (3, 8, 8))]
)
def test_logits_and_input_gradient(name, shape, layout):
    net = lived_in(build(name, shape=shape, seed=1))
    copy = inference_copy(net).to(memory_format=layout)
    assert isinstance(copy.body, FrozenResNet)
    x, weights = torch.rand(5, *shape), torch.randn(5, 10)
    torch.testing.assert_close(copy(x), net(x), rtol=1e-3, atol=1e-4)
    expected = gradient(net, x, weights)
    assert close(gradient(copy, x, weights), expected)
    exact = gradient(net.double(), x.double(), weights.double())
    torch.testing.assert_close(gradient(inference_copy(net), x.double(), weights.double()), exact)


@pytest.mark.parametrize("shortcut", ["conv", "pad-both"])
def test_other_shortcuts(shortcut):
    net = lived_in(build("resnet8", shape=(3, 9, 9), seed=2))
    net.body = ResNetBody([1, 1, 1], shortcut=shortcut)
    lived_in(net)
    copy, x, weights = inference_copy(net), torch.rand(3, 3, 9, 9), torch.randn(3, 10)
    torch.testing.assert_close(copy(x), net(x), rtol=1e-3, atol=1e-4)
    assert close(gradient(copy, x, weights), gradient(net, x, weights))


@pytest.mark.parametrize("live", [[], [4], [0, 3, 5]])
def test_images_without_a_gradient_are_left_out_and_the_others_keep_theirs(live):
    net = inference_copy(lived_in(build("resnet8", seed=3)))
    x, weights = torch.rand(6, 3, 32, 32), torch.zeros(6, 10)
    weights[live] = torch.randn(len(live), 10)
    found = gradient(net, x, weights)
    dead = [i for i in range(6) if i not in live]
    assert not found[dead].any()
    if live:
        assert close(found[live], gradient(net, x[live], weights[live]))


@pytest.mark.parametrize("live", [range(7), [6], [0, 1, 5], [2, 3]])
def test_images_go_through_in_portions_that_fit_a_cache(live, monkeypatch):
    net = inference_copy(lived_in(build("resnet14", seed=3)))
    x, weights = torch.rand(7, 3, 32, 32), torch.zeros(7, 10)
    weights[list(live)] = torch.randn(len(live), 10)
    whole, expected = net(x), gradient(net, x, weights)
    monkeypatch.setattr(frozen, "CACHED", 2 * 16 * 32 * 32)  # two images at a time
    torch.testing.assert_close(net(x), whole, rtol=1e-4, atol=1e-5)
    assert close(gradient(net, x, weights), expected)


def test_few_numbers_of_images_reach_the_convolutions(monkeypatch):
    """oneDNN keeps kernels for each; an attack would ask for all numbers from 1 to 64."""
    net = inference_copy(lived_in(build("resnet8", seed=3)))
    seen, real = set(), frozen_conv._convolve
    monkeypatch.setattr(frozen_conv, "_convolve", lambda x, *a, **k: seen.add(len(x)) or real(x, *a, **k))
    weights, x = torch.randn(64, 10), torch.rand(64, 3, 8, 8)
    whole = net(x)
    for count in range(1, 65):
        torch.testing.assert_close(net(x[:count]), whole[:count], rtol=1e-4, atol=1e-5)
        gradient(net, x[:count], weights[:count])
    assert len(seen) <= 14


def test_a_cpu_keeps_one_byte_per_activation():
    net = inference_copy(build("resnet8").eval())
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        net.body(torch.rand(3, 3, 32, 32, requires_grad=True))
    assert len(kept) == 7
    assert {t.dtype for t in kept} == {torch.bool}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_relu_lets_through_what_was_positive(dtype):
    x, g = torch.randn(2, 3, 4, 5, 6, dtype=dtype)
    after = x.relu()
    kept = passed(after)
    assert torch.equal(kept, x > 0)
    assert torch.equal(relu_back(g.clone(), kept), torch.where(x > 0, g, 0))
    assert torch.equal(relu_back(g.clone(), after), torch.where(x > 0, g, 0))  # as on a GPU


def test_a_change_of_the_weights_is_seen():
    net = inference_copy(build("resnet8", seed=1).eval())
    x = torch.rand(2, 3, 32, 32)
    before = net(x)
    twin = copy.deepcopy(net)
    net.body.body.conv1.weight.mul_(2)
    assert not torch.allclose(net(x), before)
    assert torch.equal(twin(x), before)
    net.load_state_dict(twin.state_dict())
    assert torch.equal(net(x), before)
    torch.testing.assert_close(net.double()(x.double()).float(), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype):
    net = inference_copy(lived_in(build("resnet8", seed=4)))
    x, weights = torch.rand(4, 3, 32, 32), torch.randn(4, 10)
    expected = gradient(net, x, weights)
    if dtype == torch.float64:
        found = gradient(net.double(), x.double(), weights.double()).float()
        assert close(found, expected)
    else:
        with torch.autocast("cpu", dtype):
            found = gradient(net, x, weights)
        assert found.dtype == torch.float32
        assert torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("name", ["FUSED", "TYPES"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_onednn_or_a_processor_that_knows_bfloat16(name, dtype, monkeypatch):
    net, x, weights = lived_in(build("resnet8", seed=4)), torch.rand(4, 3, 32, 32), torch.randn(4, 10)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        fused = inference_copy(net)(x)
        monkeypatch.setattr(frozen_conv, name, None if name == "FUSED" else ())
        plain = inference_copy(net)
        torch.testing.assert_close(plain(x).float(), fused.float(), rtol=0.05, atol=0.05)
        found = gradient(plain, x, weights)
    monkeypatch.undo()
    assert torch.cosine_similarity(found.flatten(), gradient(net, x, weights).flatten(), dim=0) > 0.98


def test_a_second_backward_pass_and_none_at_all():
    net = inference_copy(build("resnet8").eval())
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    logits = net(x)
    first, again = (torch.autograd.grad(logits.sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not net(x.detach()).requires_grad
    assert net(torch.zeros(0, 3, 32, 32)).shape == (0, 10)


def test_a_step_needs_no_second_look_at_the_clean_batch(monkeypatch):
    """The attack starts from the teacher's clean pass; samples and gradients are those of an attack on its own."""
    teacher = inference_copy(lived_in(build("resnet8", num_classes=4, seed=5)))
    teacher.head.weight.mul_(5)  # fresh logits are so close to one another that hardly any step is taken
    student = build("resnet8", num_classes=4, seed=5).train()
    x = torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(6))
    y = teacher(x).argmax(1)
    looked = []
    teacher.body.register_forward_hook(lambda _m, inputs, _out: looked.append(len(inputs[0])))
    found = {}
    for shares in (True, False):
        monkeypatch.setattr(Step, "_attack_starts_here", shares)
        step = Step(teacher, student, x, y, 0.1, torch.Generator().manual_seed(7), Attack(limit=9, steps=4))
        found[shares] = step.boundary
        assert sum(looked) == len(x) + step.boundary.samples.passes.forward
        assert step._seen is None
        looked.clear()
    shared, alone = found[True], found[False]
    assert torch.equal(shared.index, alone.index)
    assert len(shared.index)
    assert alone.samples.steps.any()
    assert alone.samples.passes.forward == shared.samples.passes.forward + len(shared.index)
    assert alone.samples.passes.backward == shared.samples.passes.backward
    for name in ("base", "target", "status", "steps"):
        assert torch.equal(getattr(shared.samples, name), getattr(alone.samples, name))
    torch.testing.assert_close(shared.samples.x, alone.samples.x, rtol=0, atol=1e-4)
    torch.testing.assert_close(shared.samples.logits, alone.samples.logits, rtol=1e-3, atol=1e-3)
