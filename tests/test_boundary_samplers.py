"""Refinement, the other samplers, and how alike two boundaries are."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import Asked, gen, state_of, unchanged
from torch import Tensor, nn

from amkd_viz.boundary import (
    BoundarySamples,
    Status,
    boundary_similarity,
    bss,
    calibrate,
    deepfool,
    fgsm,
    noise,
    refine,
    sample_targets,
)
from amkd_viz.boundary.samples import Passes
from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier, build, inference_copy, wrap

few = settings(max_examples=12)


def linear(weight: Tensor, bias: Tensor | None = None, std: float = 0.25) -> Classifier:
    """A linear classifier of 2-D points or of flattened (1, H, W) images."""
    classes, width = weight.shape
    head = nn.Linear(width, classes)
    head.weight.data.copy_(weight)
    head.bias.data.copy_(torch.zeros(classes) if bias is None else bias)
    if width == 2:
        return Classifier(nn.Identity(), head, mean=[0, 0], std=[1, 1], num_classes=classes, shape=(2,)).eval()
    side = math.isqrt(width)
    shape = (1, side, side)
    return Classifier(nn.Flatten(), head, mean=[0.5], std=[std], num_classes=classes, shape=shape).eval()


def curved(seed: int = 1, classes: int = 4) -> Classifier:
    """Boundaries that bend, with every class somewhere: sharp random features of points."""
    torch.manual_seed(seed)
    net = build("mlp-small", num_classes=classes, shape=(2,), mean=[0, 0], std=[1, 1], seed=seed).eval()
    with torch.no_grad():
        x = points(200)
        net.head.weight.mul_(8)
        net.head.bias -= net(x).mean(0)
    return net


def points(count: int, seed: int = 0) -> Tensor:
    return 4 * torch.rand(count, 2, generator=gen(seed)) - 2


IMAGES = linear(4 * torch.randn(5, 16, generator=gen(1)))


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=gen(seed))


# ------------------------------------------------------------------ calibrate


@given(seed=st.integers(0, 50), scale=st.sampled_from([0.5, 1.0, 4.0]), rule=st.sampled_from(["gap", "newton"]))
@few
def test_a_calibrated_step_is_the_largest_that_stays_near_the_boundary(seed: int, scale: float, rule: str) -> None:
    net, x = curved(seed), points(60, seed)
    with torch.no_grad():
        net.head.weight.mul_(scale)
        target = sample_targets(net(x), gen(seed))
    before = state_of(net)
    size = calibrate(net, x, steps=30, step_rule=rule)
    assert unchanged(net, before)
    assert calibrate(net, x, steps=30, step_rule=rule) == size
    assert calibrate(net, x, steps=30, step_rule=rule, gap=0.05) <= size
    assert 1e-3 <= size <= 10
    found = bss(net, x, target, step_size=size, steps=30, step_rule=rule)
    largest = found.logits.softmax(1).sort(1, descending=True).values
    assert torch.equal(found.gap, largest[:, 0] - largest[:, 1])


def test_a_calibrated_step_of_a_linear_net_has_a_closed_form() -> None:
    """With logits s x and -s x, one step of the gap rule goes from 1 to 1 - 2 s a; the gap there is tanh(s |x|)."""
    scale = 3.0
    net, x = linear(torch.tensor([[scale, 0.0], [-scale, 0.0]])), torch.full((9, 2), 1.0)
    size = calibrate(net, x, steps=1)
    past = 2 * scale * size - 1
    assert math.tanh(scale * past) == pytest.approx(0.2, abs=0.06)  # the step size is found to 1 %


# ------------------------------------------------------------------ refine


@pytest.mark.parametrize("steps", [0, 1, 6])
def test_refined_ends_lie_on_both_sides_and_half_as_far_apart_each_time(steps):
    net, x = curved(), points(60)
    found = bss(net, x, (net(x).argmax(1) + 1) % 4, step_size=0.3)
    assert 20 < int(found.crossed.sum()) < 60
    finer = refine(net, found, steps)
    done = found.crossed
    assert torch.equal(finer.crossed, done)
    assert (net(finer.x).argmax(1) != found.base)[done].all()
    assert torch.equal(net(finer.inside).argmax(1), found.base)
    before, after = ((f.x - f.inside)[done].norm(dim=1) for f in (found, finer))
    torch.testing.assert_close(after, before / 2**steps, rtol=1e-3, atol=1e-6)
    for end in (finer.x, finer.inside):  # on the segment
        along = (end - found.inside)[done].norm(dim=1) + (end - found.x)[done].norm(dim=1)
        torch.testing.assert_close(along, before, rtol=1e-4, atol=1e-6)
    assert torch.equal(finer.x[~done], found.x[~done])
    assert torch.equal(finer.logits.argmax(1), net(finer.x).argmax(1))
    assert torch.equal(finer.status == Status.TARGET, done & (finer.logits.argmax(1) == found.target))
    seen = {0: 0, 1: 1, 6: 7 + 3}[steps]  # the first three halvings look at all eighths
    assert finer.passes == (found.passes.forward + seen * 60, found.passes.backward)


def test_refine_ends_at_the_first_of_several_crossings():
    class Bands(torch.nn.Module):
        """Class 1 from 0.2 to 0.4 and from 0.7 on: the middle of a step over both is in class 0."""

        def forward(self, x: Tensor) -> Tensor:
            inside = ((x > 0.2) & (x < 0.4)) | (x > 0.7)
            return torch.cat([1 - inside.float(), inside.float()], 1)

    x, one = torch.tensor([[1.0]]), torch.tensor([1])
    about = {"base": 0 * one, "target": one, "status": one, "steps": one, "path": None, "passes": Passes(0, 0)}
    leapt = BoundarySamples(x=x, inside=0 * x, origin=0 * x, logits=torch.tensor([[0.0, 1.0]]), **about)
    edge = refine(Bands(), leapt, 12)
    assert float(edge.inside) <= 0.2 < float(edge.x) < 0.2 + 2**-11


def test_refine_of_nothing_and_bad_steps():
    net = curved()
    empty = bss(net, points(0), torch.zeros(0, dtype=torch.long))
    assert len(refine(net, empty)) == 0
    with pytest.raises(InputError, match="refine needs steps >= 0, got -1"):
        refine(net, empty, -1)


# ------------------------------------------------------------------ fgsm and noise


@few
@given(count=st.integers(0, 5), seed=st.integers(0, 99), epsilon=st.sampled_from([0.01, 8 / 255, 0.4]))
def test_epsilon_ball_and_valid_pixel_range(count, seed, epsilon):
    x, target = images(count, seed), torch.randint(5, (count,), generator=gen(seed))
    for found in (fgsm(IMAGES, x, target, epsilon=epsilon), noise(IMAGES, x, target, epsilon=epsilon, generator=gen())):
        assert found.x.shape == x.shape
        assert ((found.x - x).abs() <= epsilon + 1e-6).all()
        assert ((found.x >= 0) & (found.x <= 1)).all()
        winner = IMAGES(found.x).argmax(1)
        assert torch.equal(found.crossed, winner != IMAGES(x).argmax(1))
        assert torch.equal(found.status == Status.TARGET, found.crossed & (winner == target))
        assert torch.equal(IMAGES(found.inside).argmax(1), found.base)
        assert torch.equal(found.inside[found.crossed], x[found.crossed])
        assert torch.equal(found.target, target)
        assert (found.steps == 1).all()


def test_fgsm_follows_the_sign_of_the_gradient_towards_the_target():
    x, target = 0.4 + 0.2 * images(6), torch.tensor([0, 1, 2, 3, 4, 0])
    found = fgsm(IMAGES, x, target, epsilon=0.05)
    for i in range(6):
        one = x[i : i + 1].clone().requires_grad_()
        (g,) = torch.autograd.grad(nn.functional.cross_entropy(IMAGES(one), target[i : i + 1]), one)
        assert torch.allclose(found.x[i], x[i] - 0.05 * g[0].sign())

    def loss(z):
        return nn.functional.cross_entropy(IMAGES(z), target, reduction="none")

    assert (loss(found.x) < loss(x)).all()
    assert IMAGES.head.weight.grad is None
    assert found.passes == (12, 6)


def test_noise_follows_its_generator_and_fills_the_ball():
    x, target = torch.full((40, 1, 4, 4), 0.5), torch.zeros(40, dtype=torch.long)
    first, again, other = (noise(IMAGES, x, target, epsilon=0.1, generator=gen(s)).x for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    shift = (first - x) / 0.1
    assert shift.min() < -0.95
    assert shift.max() > 0.95
    assert abs(float(shift.mean())) < 0.1
    assert float(shift.std()) == pytest.approx(1 / math.sqrt(3), rel=0.1)


# ------------------------------------------------------------------ deepfool


def test_deepfool_crosses_a_linear_net_at_the_analytic_distance():
    net = linear(torch.randn(4, 2, generator=gen(3)), 0.3 * torch.randn(4, generator=gen(4)))
    x = points(50)
    f = net(x)
    w = net.head.weight
    analytic = torch.full((50,), torch.inf)
    nearest = torch.zeros(50, dtype=torch.long)
    for i in range(50):
        b = int(f[i].argmax())
        for k in range(4):
            if k != b:
                d = float(((f[i, b] - f[i, k]) / (w[k] - w[b]).norm()).detach())
                if d < analytic[i]:
                    analytic[i], nearest[i] = d, k
    found = deepfool(net, x, overshoot=0.02)
    assert found.crossed.all()
    assert (found.steps == 1).all()
    torch.testing.assert_close((found.x - x).norm(dim=1), 1.02 * analytic, rtol=1e-3, atol=1e-5)
    assert torch.equal(found.target, nearest)
    assert torch.equal(net(found.x).argmax(1), nearest)
    edge = refine(net, found, 20)
    torch.testing.assert_close((edge.x - x).norm(dim=1), analytic, rtol=1e-3, atol=1e-5)


def test_targeted_deepfool_moves_towards_the_target():
    net = linear(torch.randn(4, 2, generator=gen(3)))
    x = points(30)
    b = net(x).argmax(1)
    target = (b + 2) % 4
    found = deepfool(net, x, target, steps=1)
    w = net.head.weight[target] - net.head.weight[b]
    gap = (net(x).gather(1, b[:, None]) - net(x).gather(1, target[:, None]))[:, 0]
    torch.testing.assert_close((found.x - x).norm(dim=1), 1.02 * gap / w.norm(dim=1), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(nn.functional.cosine_similarity(found.x - x, w), torch.ones(30), rtol=1e-4, atol=1e-4)
    own = deepfool(net, x, b, steps=2)
    assert torch.equal(own.x, x)


def test_deepfool_needs_several_steps_where_boundaries_bend_and_stays_in_the_pixel_range():
    net, x = curved(), points(40)
    found = deepfool(net, x, steps=20)
    assert found.crossed.float().mean() > 0.9
    assert int(found.steps.max()) > 1
    assert torch.equal(net(found.inside).argmax(1), found.base)
    for step in range(2, int(found.steps.max()) + 1):  # the last iterate inside is where one step less would have ended
        late = found.crossed & (found.steps == step)
        torch.testing.assert_close(found.inside[late], deepfool(net, x, steps=step - 1).x[late])
    assert torch.equal(net(found.x).argmax(1), found.logits.argmax(1))
    pictures = images(8)
    box = deepfool(IMAGES, pictures, (IMAGES(pictures).argmax(1) + 1) % 5, steps=5)
    assert ((box.x >= 0) & (box.x <= 1)).all()
    assert box.passes.forward <= 8 + 5 * 16


@pytest.mark.parametrize("targeted", [True, False])
def test_deepfool_holds_the_gradient_of_one_class_at_a_time(targeted):
    size, classes, x = 64, 60, torch.rand(64, 1, 12, 12, generator=gen(0))
    net = linear(torch.randn(classes, 144, generator=gen(1)))
    target = (net(x).argmax(1) + 1 + torch.arange(size) % (classes - 1)) % classes
    with Asked() as asked:
        found = deepfool(net, x, target if targeted else None, steps=2)
    assert asked.most == 4 * x.numel()
    assert found.passes.backward <= 2 * size * (1 if targeted else classes)


# ------------------------------------------------------------------ all attacks


def noised(*args, **options):
    """Noise from a generator of its own."""
    return noise(*args, generator=gen(), **options)


ATTACKS = [bss, partial(bss, compact=False), fgsm, noised, deepfool]
every_attack = pytest.mark.parametrize(
    "attack", ATTACKS, ids=["bss", "bss without compact", "fgsm", "noise", "deepfool"]
)


def untidy() -> Classifier:
    """A net in train mode, parts of it not."""
    net = build("resnet8", num_classes=5, shape=(1, 8, 8))
    net.body.layer2.eval()
    net.body.conv1.weight.requires_grad_(False)
    return net


@every_attack
def test_attacks_use_eval_mode_take_nothing_and_leave_net_and_grad_mode_alone(attack):
    net, x, target = untidy(), torch.rand(4, 1, 8, 8, generator=gen()), torch.arange(4)
    before = state_of(net)
    with torch.no_grad():
        inner = attack(net, x, target)
    outer = attack(net, x.clone().requires_grad_(), target)
    assert torch.equal(inner.x, outer.x)
    assert not any(t.requires_grad for t in (outer.x, outer.inside, outer.logits, outer.origin))
    assert int(outer.steps.sum()) > 0
    empty = attack(net, x[:0], target[:0], keep_path=True)
    assert (len(empty), empty.x.shape, empty.logits.shape) == (0, (0, 1, 8, 8), (0, 5))
    assert (empty.path.shape[1:], empty.passes) == ((0, 1, 8, 8), (0, 0))
    assert (empty.base.dtype, empty.status.dtype) == (torch.long, torch.long)
    assert unchanged(net, before)
    torch.testing.assert_close(attack(net.eval(), x, target).x, outer.x)
    assert torch.equal(outer.base, net(x).argmax(1))


@every_attack
def test_an_exception_half_way_leaves_the_net_as_it_was(attack):
    net, calls = untidy(), []
    before = state_of(net)

    def fail(*_: object) -> None:
        calls.append(net.training)
        if len(calls) == 2:
            raise FloatingPointError("half way")

    hook = net.body.layer3.register_forward_hook(fail)
    with pytest.raises(FloatingPointError, match="half way"):
        attack(net, torch.rand(4, 1, 8, 8, generator=gen()), torch.arange(4))
    hook.remove()
    assert calls == [False] * 2
    assert unchanged(net, before)


TWO_CHANNELS = build("cnn-tiny", num_classes=5, shape=(2, 6, 6))
GREY, CLASSES = torch.full((2, 2, 6, 6), 0.5), torch.tensor([0, 1])


def broken(value: float) -> Tensor:
    x = GREY.clone()
    x[1, 0, 2, 2] = value
    return x


@every_attack
@pytest.mark.parametrize(
    ("x", "target", "sentence"),
    [
        (broken(float("nan")), CLASSES, "x must be finite, got NaN"),
        (broken(1.1), CLASSES, r"x must lie in \[0, 1\], got values from 0\.5 to 1\.1"),
        (broken(-0.2), CLASSES, r"x must lie in \[0, 1\], got values from -0\.2 to 0\.5; undo the normalisation"),
        (GREY * 255, CLASSES, "divide by 255"),
        ((GREY * 255).byte(), CLASSES, r"x must be floating point, got torch\.uint8"),
        (torch.rand(2, 6, 6), CLASSES, r"x must be a batch of images .*got shape \(2, 6, 6\)"),
        (torch.rand(2, 3), CLASSES, r"must have shape \(N, 2\) for points"),
        (torch.tensor([[0.0, torch.inf], [0, 0]]), CLASSES, "x must be finite, got infinite coordinates"),
        (torch.rand(2, 1, 6, 6), CLASSES, r"The net takes inputs of shape \(N, 2, H, W\), got \(2, 1, 6, 6\)"),
        (torch.rand(2, 2), CLASSES, r"The net takes inputs of shape \(N, 2, H, W\), got \(2, 2\)"),
        (GREY, [0, 1], "x and target must be tensors, of samples and of int64 classes, got a list"),
        (GREY, torch.tensor([1]), r"one class per sample, int64 of shape \(2,\), got int64 of shape \(1,\)"),
        (GREY, torch.tensor([[1], [2]]), r"got int64 of shape \(2, 1\)"),
        (GREY, torch.tensor([1.0, 2.0]), "got float32 of shape"),
        (GREY, torch.tensor([1, 5]), "target must hold classes from 0 to 4, got 1 to 5"),
        (GREY, torch.tensor([-1, 2]), "target must hold classes from 0 to 4, got -1 to 2"),
    ],
)
def test_bad_inputs(attack, x, target, sentence):
    with pytest.raises(InputError, match=sentence):
        attack(TWO_CHANNELS, x, target)


@pytest.mark.parametrize(
    ("attack", "options", "sentence"),
    [
        (bss, {"step_size": 0}, r"step_size > 0 and steps >= 1, got step_size=0,"),
        (bss, {"step_size": float("nan")}, "step_size=nan"),
        (bss, {"steps": 0}, "steps=0"),
        (bss, {"step_rule": "slow"}, "step_rule must be 'gap' or 'newton', got 'slow'"),
        (bss, {"space": "latent"}, "space must be 'normalised' or 'pixel', got 'latent'"),
        (bss, {"clamp": -1.0}, r"clamp must be a positive number or \(low, high\)"),
        (bss, {"clamp": (1.0, 0.0)}, "clamp must be a positive number"),
        (fgsm, {"epsilon": 0}, "epsilon must be > 0, got 0"),
        (noise, {"epsilon": -1}, "epsilon must be > 0, got -1"),
        (deepfool, {"steps": 0}, "steps >= 1 and overshoot >= 0, got 0"),
        (deepfool, {"steps": 2.5}, r"steps must be a whole number of at least 1, got 2\.5"),
        (bss, {"steps": 2.5}, r"steps must be a whole number of at least 1, got 2\.5"),
        (deepfool, {"overshoot": -0.1}, "got 50 and -0.1"),
    ],
)
def test_bad_options(attack, options, sentence):
    with pytest.raises(InputError, match=sentence):
        attack(TWO_CHANNELS, GREY, CLASSES, **options)


def test_a_module_that_does_not_say_how_it_normalises():
    module = nn.Sequential(nn.Flatten(), nn.Linear(72, 5))
    with pytest.raises(InputError, match=r"wrap\(module, shape=, mean=, std=\) it first, or pass space='pixel'"):
        bss(module, GREY, CLASSES)
    assert len(bss(module, GREY, CLASSES, space="pixel")) == 2
    assert len(bss(nn.Linear(2, 5), torch.rand(2, 2), CLASSES)) == 2


# ------------------------------------------------------------------ MagSim, AngSim


def slow_similarity(teacher, student, x, y, *, refined, step_size, max_targets=None):
    classes = teacher.num_classes
    magnitudes, angles, tried = [], [], 0
    for xi, yi in zip(x, y.tolist(), strict=True):
        if int(teacher(xi[None]).argmax()) != yi or int(student(xi[None]).argmax()) != yi:
            continue
        for shift in range(1, classes):
            if max_targets is not None and shift > max_targets:
                continue
            tried += 1
            moves = []
            for net in (teacher, student):
                found = bss(net, xi[None], torch.tensor([(yi + shift) % classes]), step_size=step_size)
                if refined:
                    found = refine(net, found)
                if found.crossed[0]:
                    moves.append((found.x[0] - xi).flatten())
            if len(moves) == 2:
                t, s = moves
                magnitudes.append(float(min(t.norm(), s.norm()) / max(t.norm(), s.norm())))
                angles.append(float(t @ s / t.norm() / s.norm()))
    return sum(magnitudes) / len(magnitudes), sum(angles) / len(angles), len(angles), tried


@pytest.mark.parametrize(("refined", "max_targets"), [(False, None), (True, None), (False, 2)])
def test_similarity_equals_the_slow_loop(refined, max_targets):
    teacher, student, x = curved(4), curved(3), points(40, 5)
    y = teacher(x).argmax(1)
    y[:3] = (y[:3] + 1) % 4  # not every image is right
    options = {"refined": refined, "step_size": 0.3, "max_targets": max_targets}
    found = boundary_similarity(teacher, student, x, y, batch_size=7, **options)
    magsim, angsim, kept, tried = slow_similarity(teacher, student, x, y, **options)
    assert (found.kept, found.tried) == (kept, tried)
    assert 0 < kept < tried < 40 * 3
    assert found.magsim == pytest.approx(magsim, abs=1e-4)
    assert found.angsim == pytest.approx(angsim, abs=1e-4)
    assert found.magsim < 0.99


def test_a_net_is_like_itself():
    net, x = curved(), points(20)
    found = boundary_similarity(net, net, x, net(x).argmax(1), step_size=0.3)
    assert found.kept > 0
    assert found.magsim == pytest.approx(1)
    assert found.angsim == pytest.approx(1)


def test_nothing_kept():
    net, x = curved(), points(10)
    wrong = (net(x).argmax(1) + 1) % 4
    for xs, ys in ((x, wrong), (x[:0], wrong[:0])):
        found = boundary_similarity(net, net, xs, ys)
        assert math.isnan(found.magsim)
        assert math.isnan(found.angsim)
        assert (found.kept, found.tried) == (0, 0)
    still = boundary_similarity(net, net, x, net(x).argmax(1), step_size=1e-9, steps=1)
    assert math.isnan(still.magsim)
    assert (still.kept, still.tried) == (0, 30)


def test_similarity_of_nets_in_train_mode_neither_uses_nor_changes_batch_statistics():
    net, other = (build("cnn-tiny", num_classes=3, shape=(1, 8, 8), seed=s) for s in (0, 1))
    x = torch.rand(12, 1, 8, 8, generator=gen())
    with torch.no_grad():
        net(x), other(x)
    y = net.eval()(x).argmax(1)
    expected = boundary_similarity(net, other.eval(), x, y)
    net.train(), other.train()
    before = state_of(other)
    assert boundary_similarity(net, other, x, y) == pytest.approx(expected, nan_ok=True)
    assert net.training
    assert unchanged(other, before)


@pytest.mark.parametrize("taken", ["as the net", "float32"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@every_attack
def test_nets_in_another_precision(attack, dtype, taken):
    """Samples come back in the type of the inputs, near those of the same net in float32."""
    x = torch.rand(5, 3, 6, 6, generator=gen())
    net = build("resnet8", num_classes=3, shape=(3, 6, 6), seed=1).eval()
    target = (net(x).argmax(1) + 1) % 3
    for other in (net, inference_copy(net), wrap(nn.Sequential(net.body, net.head), shape=(3, 6, 6))):
        other = copy.deepcopy(other).to(dtype)
        inputs = x.to(dtype) if taken == "as the net" else x
        found = attack(other, inputs, target, keep_path=True)
        assert {t.dtype for t in (found.x, found.inside, found.origin, found.path)} == {inputs.dtype}
        assert found.logits.dtype == torch.float32
        assert found.x.isfinite().all()
        assert refine(other, found).x.dtype == inputs.dtype
        if attack is bss:
            boundary_similarity(other, other, inputs, target - 1 + 3 * (target == 0))
    if attack is bss and dtype == torch.float64:
        torch.testing.assert_close(found.x.float(), bss(other.float(), x, target).x, rtol=0, atol=1e-3)


def test_similarity_asks_no_device_for_float64(monkeypatch):
    """Apple's GPUs do not have it."""
    moved, cpu, double = [], Tensor.cpu, Tensor.double

    def to_cpu(t):
        moved.append(cpu(t).clone())
        return moved[-1]

    def to_double(t):
        assert any(t is m for m in moved)
        return double(t)

    monkeypatch.setattr(Tensor, "cpu", to_cpu)
    monkeypatch.setattr(Tensor, "double", to_double)
    net, x = linear(torch.eye(2)), torch.rand(6, 2, generator=gen())
    assert boundary_similarity(net, net, x, net(x).argmax(1), step_size=2).kept


@pytest.mark.parametrize("name", ["resnet8", "cnn-tiny"])
@every_attack
def test_attacks_inside_inference_mode(attack, name):
    """Nets, copies and tensors of inside, and of outside, give what they give elsewhere."""
    net = build(name, num_classes=3, shape=(3, 6, 6), seed=1).eval()
    pixels = torch.rand(5, 3, 6, 6, generator=gen())
    with torch.inference_mode():
        x, own = pixels.clone(), build(name, num_classes=3, shape=(3, 6, 6), seed=1).eval()
        copies = inference_copy(net), inference_copy(own)
        target = (net(x).argmax(1) + 1) % 3
        inside = [attack(n, x, target) for n in (net, own, *copies)]
        assert refine(net, inside[0]).x.isfinite().all()
        assert boundary_similarity(net, own, x, net(x).argmax(1)).tried
    expected = attack(net, pixels, target.clone())
    assert attack(net, x, target).status.equal(expected.status)
    for found in inside:
        torch.testing.assert_close(found.x, expected.x, rtol=0, atol=1e-4)
    assert all(p.requires_grad for p in net.parameters())


def test_a_net_made_inside_inference_mode_is_refused():
    with torch.inference_mode():
        net = nn.Linear(2, 3)
    x, target = torch.rand(4, 2), torch.zeros(4, dtype=torch.long)
    for attack in (bss, fgsm, deepfool):
        with pytest.raises(InputError, match=r"made or loaded inside torch\.inference_mode\(\)"):
            attack(net, x, target)
    assert bss(copy.deepcopy(net), x, target).x.shape == x.shape


LARGER = [pytest.param(name, marks=pytest.mark.slow) for name in ("vgg8", "mobilenetv2-half")]


@pytest.mark.parametrize("shape", [(1, 12, 20), (2, 1, 1), (1, 1, 9), (4, 9, 5)])
@pytest.mark.parametrize("name", ["mlp-tiny", "cnn-tiny", "resnet8", *LARGER])
def test_images_of_any_form_and_batches_of_none_and_one(name, shape):
    net = build(name, num_classes=3, shape=shape, seed=1).eval()
    for one in (net, inference_copy(net)):
        for count in (0, 1, 2):
            x, target = torch.rand(count, *shape, generator=gen()), torch.zeros(count, dtype=torch.long)
            for attack in (bss, partial(bss, compact=False), fgsm, noise, partial(deepfool, steps=2)):
                found = refine(one, attack(one, x, target), steps=2)
                assert found.x.shape == x.shape
                assert found.logits.shape == (count, 3)
                assert len(found[:0]) == 0
            assert boundary_similarity(net, one, x, net(x).argmax(1), refined=True, max_targets=1).tried == count


def test_what_similarity_cannot_count():
    net, x = linear(torch.eye(2)), torch.rand(4, 2, generator=gen())
    y = net(x).argmax(1)
    for wrong in ({"batch_size": 0}, {"max_targets": 0}, {"max_targets": -1}):
        with pytest.raises(InputError, match="batch_size and max_targets must be at least 1"):
            boundary_similarity(net, net, x, y, **wrong)
    with pytest.raises(InputError, match="same number of classes, got 2 and 3"):
        boundary_similarity(net, linear(torch.ones(3, 2)), x, y)
    with pytest.raises(InputError, match="x and y must have the same length, got 4 and 3"):
        boundary_similarity(net, net, x, y[:3])


def test_a_range_that_is_a_list():
    net, x = linear(torch.eye(2)), torch.rand(2, 2, generator=gen())
    assert torch.equal(bss(net, x, CLASSES, clamp=[-1, 1]).x, bss(net, x, CLASSES, clamp=(-1, 1)).x)
