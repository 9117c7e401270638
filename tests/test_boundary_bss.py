"""The BSS attack against a plain loop over samples, written from the paper's update rule."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from small_nets import fitted, gen
from torch import Tensor, nn

from amkd_viz.boundary import Status, bss
from amkd_viz.models import Classifier, build


def small_cnn() -> Classifier:
    """Five classes: which of four places is bright, or none."""
    x = torch.rand(100, 2, 6, 6, generator=gen()) / 2
    y = torch.arange(100) % 5
    for k in range(4):
        x[y == k, k % 2, :, 3 * (k // 2) : 3 * (k // 2) + 3] += 0.25
    net = build("cnn-tiny", num_classes=5, shape=(2, 6, 6), mean=[0.4, 0.6], std=[0.2, 0.3], seed=3)
    return fitted(net, x, y)


def small_mlp() -> Classifier:
    """Four classes: the quadrants."""
    x = 4 * torch.rand(200, 2, generator=gen()) - 2
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    return fitted(build("mlp-small", num_classes=4, shape=(2,), mean=[0.5, -0.5], std=[1.5, 0.7], seed=2), x, y)


NETS = {"cnn": (small_cnn(), 7), "mlp": (small_mlp(), 9)}


def inputs(name: str, count: int | None = None, seed: int = 1) -> tuple[Classifier, Tensor, Tensor]:
    net, usual = NETS[name]
    count = usual if count is None else count
    x = torch.rand(count, *net.shape, generator=gen(seed))
    x = 0.8 * x if name == "cnn" else 4 * x - 2
    return net, x, torch.randint(net.num_classes, (count,), generator=gen(seed + 1))


def slow_bss(net, x, target, *, step_size, steps, step_rule, space, clamp, eps=1e-4):
    """One sample at a time, as in METHODS and in the paper; returns iterates in the input space and the status."""
    mean, std = net.normalise.mean[0], net.normalise.std[0]
    inside_net = space == "normalised"
    results = []
    for x0, k in zip(x, target.tolist(), strict=True):
        logits = (lambda z: net.normalised(z[None])[0]) if inside_net else (lambda z: net(z[None])[0])
        z = (x0 - mean) / std if inside_net else x0.clone()
        if clamp is not None:
            low, high = torch.full_like(z, -clamp), torch.full_like(z, clamp)
        elif x0.ndim == 3:
            low, high = (((b - mean) / std).expand_as(z) if inside_net else torch.full_like(z, b) for b in (0.0, 1.0))
        else:
            low, high = torch.full_like(z, -torch.inf), torch.full_like(z, torch.inf)
        iterates, b = [z], int(logits(z).argmax())
        for _ in range(steps):
            z = z.detach().requires_grad_()
            f = logits(z)
            if int(f.argmax()) != b or b == k:
                break
            (g,) = torch.autograd.grad(f[k] - f[b], z)
            gap = float((f[b] - f[k]).detach())
            length = float(g.norm())
            z = z.detach() + step_size * (gap + eps) * g / (length if step_rule == "gap" else length**2)
            z = torch.minimum(torch.maximum(z, low), high)
            iterates.append(z)
        end = int(logits(iterates[-1]).argmax())
        status = Status.NOT_CROSSED if end == b else Status.TARGET if end == k else Status.OTHER
        back = [(i.detach() * std + mean) if inside_net else i.detach() for i in iterates]
        results.append((back, b, status))
    return results


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("clamp", [None, 1.5])
@pytest.mark.parametrize("space", ["normalised", "pixel"])
@pytest.mark.parametrize("step_rule", ["gap", "newton"])
@pytest.mark.parametrize("name", NETS)
def test_equals_the_slow_loop(name, step_rule, space, clamp, compact):
    net, x, target = inputs(name)
    size = 0.4 if step_rule == "newton" else 0.1 if space == "normalised" else 0.02
    options = {"step_size": size, "steps": 6, "step_rule": step_rule, "space": space, "clamp": clamp}
    found = bss(net, x, target, keep_path=True, compact=compact, **options)
    for i, (iterates, base, status) in enumerate(slow_bss(net, x, target, **options)):
        s = int(found.steps[i])
        assert s == len(iterates) - 1
        assert (int(found.base[i]), int(found.status[i])) == (base, status)
        torch.testing.assert_close(found.path[: s + 1, i], torch.stack(iterates), rtol=1e-3, atol=1e-4)
        assert (found.path[s:, i] == found.x[i]).all()  # frozen once outside
        assert torch.equal(found.inside[i], found.path[s - 1 if found.crossed[i] else s, i])
    assert found.steps.unique().numel() >= 2
    assert torch.equal(found.origin, x)
    assert torch.equal(found.target, target)
    assert torch.equal(found.crossed, net(found.x).argmax(1) != found.base)
    torch.testing.assert_close(found.logits, net(found.x), rtol=1e-3, atol=1e-3)
    if name == "cnn" and clamp is None:
        assert found.path.amin() >= 0
        assert found.path.amax() <= 1


def test_the_slow_loop_sees_every_status_and_some_unfinished_paths():
    """The comparison above is worth something only if its samples end in different ways."""
    ends, lengths = set(), set()
    for name in NETS:
        net, x, target = inputs(name, 40)
        found = bss(net, x, target, step_size=0.1, steps=6)
        ends |= set(found.status.tolist())
        lengths |= set(found.steps.tolist())
    assert ends == {0, 1, 2}
    assert {0, 1, 2, 6} <= lengths


@pytest.mark.parametrize("space", ["normalised", "pixel"])
@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_own_class_as_target_stays_where_it_is(name, compact, space):
    net, x, _ = inputs(name)
    found = bss(net, x, net(x).argmax(1), compact=compact, space=space)
    torch.testing.assert_close(found.x, x, rtol=0, atol=1e-6 if space == "normalised" else 0)
    assert (found.steps == 0).all()
    assert not found.crossed.any()


@pytest.mark.parametrize("compact", [True, False])
def test_passes_count_the_samples_that_went_through_the_net(compact):
    net, x, target = inputs("cnn", 12)
    seen = []
    hook = net.body.register_forward_hook(
        lambda _m, inputs, _out: seen.append((len(inputs[0]), inputs[0].requires_grad))
    )
    found = bss(net, x, target, steps=4, step_size=0.1, compact=compact)
    hook.remove()
    assert found.passes.forward == sum(count for count, _ in seen)
    assert found.passes.backward <= sum(count for count, grad in seen if grad)
    if compact:  # a sample is looked at once more than it is moved
        assert found.passes.forward == int((found.steps + 1).sum())
        assert int(found.steps.sum()) <= found.passes.backward < 12 * 4
        counts = [count for count, _ in seen]
        assert all(a >= b for a, b in pairwise(counts))
        assert counts[-1] < counts[0]
    else:
        assert (found.passes.forward, found.passes.backward) == (12 * 5, 12 * 4)


def test_default_is_the_normalised_space_with_the_codes_rule():
    net, x, target = inputs("cnn")
    default = bss(net, x, target).x
    assert torch.equal(default, bss(net, x, target, space="normalised", step_rule="gap", step_size=0.3, steps=10).x)
    assert not torch.equal(default, bss(net, x, target, space="pixel").x)
    assert not torch.equal(default, bss(net, x, target, step_rule="newton").x)


def test_black_and_white_stay_in_the_box_through_the_rounding_of_the_way_back():
    net = build("cnn-tiny", num_classes=5, shape=(2, 6, 6), mean=[0.001, 0.6], std=[0.24, 0.2])
    x = torch.rand(2, 2, 6, 6, generator=gen()).round()
    path = bss(net, x, torch.tensor([0, 1]), keep_path=True).path
    assert path.amin() >= 0
    assert path.amax() <= 1
    assert net.normalise.inverse(net.normalise(x)).amax() > 1  # without care


def test_selecting_samples():
    net, x, target = inputs("cnn")
    found = bss(net, x, target, keep_path=True, step_size=0.1, steps=6)
    part = found[found.crossed]
    assert 0 < len(part) == int(found.crossed.sum()) < len(found)
    assert torch.equal(part.path[-1], part.x)
    assert part.crossed.all()
    assert torch.equal(found[2:4].target, target[2:4])


@pytest.mark.parametrize("around", [lambda net: torch.compile(net, backend="eager"), nn.DataParallel])
def test_a_classifier_inside_what_is_put_around_it(around):
    net, x, target = inputs("cnn")
    expected, found = bss(net, x, target), bss(around(net), x, target)
    assert torch.equal(found.x, expected.x)
    assert torch.equal(found.status, expected.status)


def test_a_step_size_may_be_a_tensor():
    net, x, target = inputs("mlp")
    plain, given = (bss(net, x, target, step_size=a, keep_path=True) for a in (0.7, torch.tensor(0.7)))
    torch.testing.assert_close(given.path, plain.path)
    assert torch.equal(given.status, plain.status)
