"""Terms on a real step: two nets, one batch, against explicit computations and slow loops over triplets."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import pytest
import torch
from small_nets import Asked, fitted, gen, state_of, unchanged
from torch import Tensor, nn

from amkd_viz.boundary import BSS, bss, sample_targets, samplers, select_bases
from amkd_viz.core.errors import InputError
from amkd_viz.data import load
from amkd_viz.models import Classifier, build
from amkd_viz.objectives import (
    Batch,
    Boundary,
    Inside,
    Objective,
    Step,
    Term,
    boundary_kd,
    boundary_triplet,
    ce,
    constant,
    kd,
    linear,
    methods,
    shapes_of,
    triplet,
)
from amkd_viz.objectives.algebra import wire
from amkd_viz.objectives.losses import triplets as triplets_module
from amkd_viz.objectives.losses.soft_targets import soft_cross_entropy
from amkd_viz.objectives.metric import triplet_hinge
from amkd_viz.objectives.step import Read
from amkd_viz.training import Recipe
from amkd_viz.training.seeding import Seeding
from amkd_viz.training.training import Training

CLASSES = 4


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images with one bright quadrant; noise makes some hard."""
    y = torch.arange(count) % CLASSES
    x = 0.7 * torch.rand(count, 1, 6, 6, generator=gen(seed))
    for k in range(CLASSES):
        x[y == k, 0, 3 * (k // 2) : 3 * (k // 2) + 3, 3 * (k % 2) : 3 * (k % 2) + 3] += 0.2
    return x, y


def trained(name: str, steps: int) -> Classifier:
    net = build(name, num_classes=CLASSES, shape=(1, 6, 6), mean=[0.45], std=[0.25], seed=1)
    net.body = nn.Sequential(net.body.stage1, nn.AvgPool2d(3), nn.Flatten())  # keeps the place, which tells the class
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(steps)
        net.head = nn.Linear(net.body(torch.zeros(2, 1, 6, 6)).shape[1], CLASSES)
    return fitted(net, *data(120, 0), steps)


TEACHER = trained("cnn-small", 60).requires_grad_(False)
STUDENT = trained("cnn-tiny", 25).train()
X, Y = data(24, 7)


def make(
    y: Tensor = Y,
    *,
    x: Tensor = X,
    progress: float = 0.1,
    student: Classifier = STUDENT,
    boundary_bn: str = "separate",
    nets: dict[str, Classifier] | None = None,
    **boundary,
) -> Step:
    """A step on fresh copies, so that batch statistics of one test do not reach the next."""
    return Step(
        nets={"student": copy.deepcopy(student).train(), "teacher": TEACHER, **(nets or {})},
        clean=Batch(x, y, 100 + torch.arange(len(y))),
        progress=progress,
        generator=gen(3),
        sources={
            "boundary": Boundary(**boundary),
            "inside": Inside(),
            "student_boundary": Boundary(**boundary, of="student"),
        },
        boundary_bn=boundary_bn,
    )


def value(term: Term, step: Step) -> Tensor:
    """The term as an objective of its own."""
    return Objective(term.parts())(step)


BOUNDARY: tuple[Read, ...] = (("student", "clean", None), ("student", "boundary", None))


def all_wrong() -> Tensor:
    with torch.no_grad():
        return (TEACHER(X).argmax(1) + 1) % CLASSES


def grads(loss: Tensor, net: nn.Module) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(net.named_parameters(), found, strict=True)
    }


def statistics(net: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in net.state_dict().items() if "running" in k or "num_batches" in k}


def batches_seen(net: Classifier) -> int:
    return int(net.body[0][1].num_batches_tracked)


@contextmanager
def recorded(step: Step) -> Iterator[list[tuple[str, int]]]:
    """Record the passes of student and teacher, with the size of each batch."""
    calls: list[tuple[str, int]] = []
    hooks = [
        step.nets[name].head.register_forward_hook(lambda _m, _i, out, name=name: calls.append((name, len(out))))
        for name in ("student", "teacher")
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], **tolerance: float) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=lambda m, name=name: f"{name}: {m}", **tolerance)


def test_the_step_of_these_tests_is_not_a_trivial_one():
    step = make()
    index, samples = step.batch("boundary").rows, step.batch("boundary").samples
    assert 8 <= len(index) < len(X)
    assert samples.crossed.float().mean() > 0.7
    assert samples.target.unique().numel() > 2


# ------------------------------------------------------------------ what the step computes


def test_boundary_samples_are_selection_draw_and_attack():
    step = make(limit=9)
    index, samples = step.batch("boundary").rows, step.batch("boundary").samples
    student = copy.deepcopy(STUDENT).train()
    with torch.no_grad():
        z_teacher, z_student = TEACHER(X), student(X)
    assert torch.equal(index, select_bases(z_teacher, z_student, Y, 9))
    assert len(index) == 9
    target = sample_targets(z_teacher[index], gen(3))
    expected = bss(TEACHER, X[index], target)
    assert torch.equal(samples.x, expected.x)
    assert torch.equal(samples.target, target)
    assert torch.equal(samples.base, Y[index])
    assert float(step.metrics["attack.crossed"]) == pytest.approx(float(expected.crossed.float().mean()))
    assert float(step.metrics["attack.reached_target"]) == pytest.approx(float((expected.status == 1).float().mean()))
    assert torch.equal(step.outputs("teacher", "boundary").logits.argmax(1), samples.logits.argmax(1))
    torch.testing.assert_close(step.outputs("teacher", "boundary").logits, samples.logits, rtol=1e-4, atol=1e-4)


def test_everything_is_computed_once_and_only_if_a_term_reads_it():
    step = make()
    with recorded(step) as calls:
        methods["ce"]()(step)
        assert calls == [("student", 24)]
        for term in (kd(), kd(temperature=9)):
            value(term, step)
        assert calls == [("student", 24), ("teacher", 24)]
        for term in (boundary_kd(), boundary_triplet(), boundary_kd(temperature=1)):
            value(term, step)
    count = len(step.batch("boundary").rows)
    assert [c for c in calls if c[0] == "student"] == [("student", 24), ("student", count)]
    assert sum(n for name, n in calls if name == "teacher") == 24 + step.batch("boundary").samples.passes.forward


@pytest.mark.parametrize(("mode", "limit"), [("separate", 64), ("separate", 1), ("joint", 64), ("frozen", 64)])
def test_passes_of_the_student(mode, limit):
    """What each mode does to predictions and batch statistics; a single boundary sample has those of its pixels."""
    step = make(boundary_bn=mode, limit=limit)
    step.reads = BOUNDARY
    edge, clean = step.outputs("student", "boundary"), step.outputs()
    x = step.batch("boundary").samples.x
    expected = copy.deepcopy(STUDENT).train()
    if mode == "joint":  # one batch; the selection before it leaves no trace
        with torch.no_grad():
            running = copy.deepcopy(STUDENT).eval()(X)
        assert torch.equal(step.batch("boundary").rows, select_bases(TEACHER(X), running, Y))
        both = expected.outputs(torch.cat([X, x]))
        for part in ("logits", "features"):
            assert torch.equal(torch.cat([getattr(clean, part), getattr(edge, part)]), getattr(both, part))
    else:
        assert torch.equal(clean.logits, expected(X))
        separate = mode == "separate"  # or the running statistics, as the clean pass left them
        assert torch.equal(edge.logits, (expected if separate else copy.deepcopy(expected).eval())(x))
        assert batches_seen(expected) == batches_seen(STUDENT) + 1 + separate
    assert_same(statistics(step.nets["student"]), statistics(expected))
    assert all(m.training for m in step.nets["student"].modules())
    edge.logits.sum().backward()
    assert step.nets["student"].body[0][1].weight.grad is not None


def test_one_value_per_channel_takes_the_running_statistics():
    """A batch norm of vectors has no variance over one sample, and must not raise."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(X[0].numel(), 6), nn.BatchNorm1d(6), nn.ReLU())
    student = Classifier(body, nn.Linear(6, CLASSES), num_classes=CLASSES, shape=X.shape[1:], mean=[0.5], std=[0.25])
    step = make(student=student, limit=1)
    step.reads = BOUNDARY
    step.outputs()
    expected = copy.deepcopy(step.nets["student"]).eval()
    edge = step.outputs("student", "boundary")
    assert torch.equal(edge.logits, expected(step.batch("boundary").samples.x))
    assert all(m.training for m in step.nets["student"].modules())


@pytest.mark.parametrize("mode", ["separate", "joint", "frozen"])
def test_teacher_is_left_as_it_was(mode, monkeypatch):
    teacher = copy.deepcopy(TEACHER).requires_grad_(True)
    teacher.body[0][0].weight.requires_grad_(False)
    monkeypatch.setitem(globals(), "TEACHER", teacher)
    before, step = state_of(teacher), make(boundary_bn=mode)
    methods["amkd"]()(step).backward()
    assert unchanged(teacher, before)
    assert all(p.grad is not None for p in step.nets["student"].parameters())


@pytest.mark.parametrize("sampler", samplers())
@pytest.mark.parametrize("mode", ["separate", "joint", "frozen"])
def test_any_sampler_with_any_pass_and_any_number_of_samples(sampler, mode):
    for y, limit in ((Y, 64), (Y, 1), (all_wrong(), 64)):
        step = make(y, sampler=samplers[sampler](), boundary_bn=mode, limit=limit)
        loss = methods["amkd"]()(step)
        assert loss.isfinite()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in step.nets["student"].parameters())
        assert all(m.training for m in step.nets["student"].modules())
        count = len(step.batch("boundary").samples)
        assert count == (0 if y is not Y else min(limit, count))
        if not count:
            assert step.terms["boundary_kd"] == step.terms["boundary_triplet"] == 0


# ------------------------------------------------------------------ weight zero costs nothing


@pytest.mark.parametrize("mode", ["separate", "joint", "frozen"])
@pytest.mark.parametrize("name", ["bss", "amkd", "amkd-student", "amkd-calibrated"])
def test_weight_zero_never_runs_the_attack(monkeypatch, name, mode):
    calls = []
    monkeypatch.setattr(BSS, "function", staticmethod(lambda *a, **k: (calls.append(1), bss(*a, **k))[1]))
    objective = methods[name]()
    assert "boundary" in objective.batches(0.74)
    objective(make(progress=0.74, boundary_bn=mode))
    assert calls == [1]
    calls.clear()
    step = make(progress=0.75, boundary_bn=mode)
    loss = objective(step)
    assert calls == []
    assert set(step.terms) == {"ce", "kd"}
    assert step.made("boundary") is None
    assert batches_seen(step.nets["student"]) == batches_seen(STUDENT) + 1
    assert torch.equal(step.outputs().logits, copy.deepcopy(STUDENT).train()(X))
    assert float(loss.detach()) == pytest.approx(float(step.terms["ce"]) + 1.75 * float(step.terms["kd"]), rel=1e-5)


# ------------------------------------------------------------------ distillation terms


def soft_entropy(teacher: Tensor, student: Tensor, t: float) -> float:
    p, q = (teacher.detach() / t).softmax(1), (student.detach() / t).softmax(1)
    return float(-sum((p[i] * q[i].log()).sum() for i in range(len(p))) / len(p))


def test_terms_are_what_their_formulas_say():
    step = make()
    edge = step.outputs("student", "boundary")
    clean = step.outputs().logits
    by_hand = -sum(float(clean[i].detach().log_softmax(0)[Y[i]]) for i in range(24)) / 24
    assert float(value(ce(), step).detach()) == pytest.approx(by_hand, rel=1e-5)
    with torch.no_grad():
        z = TEACHER(X)
    assert float(value(kd(temperature=3), step).detach()) == pytest.approx(soft_entropy(z, clean, 3), rel=1e-5)
    assert float(value(kd(temperature=4, t2=True), step).detach()) == pytest.approx(
        16 * soft_entropy(z, clean, 4), rel=1e-5
    )
    samples = step.batch("boundary").samples
    expected = soft_entropy(TEACHER(samples.x), edge.logits, 3)
    assert float(value(boundary_kd(temperature=3), step).detach()) == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------ AMKD's triplets


def unit(kind: str, logits: Tensor, features: Tensor) -> Tensor:
    if kind == "prob":
        return logits.softmax(0).sqrt()
    v = logits - logits.mean() if kind == "logit" else features
    return v / v.norm()


def d(u: Tensor, v: Tensor) -> Tensor:
    return (u - v).square().sum()


MORE = {"pairs": "boundary", "student": "student_boundary"}


def slow_triplets(
    step: Step, variant: str, mining: str, kind: str, margin: float, negatives: str, on: str = "boundary"
) -> Tensor:
    """Explicit triplets, one by one, from the step's outputs. The teacher is computed anew."""
    index, samples = step.batch(on).rows, step.batch("boundary").samples
    with torch.no_grad():
        t_edge, t_clean = TEACHER.outputs(step.batch(on).x), TEACHER.outputs(X)
    s_edge, s_clean = step.outputs("student", on), step.outputs()
    candidates = [(s_clean, t_clean, j, {label}) for j, label in enumerate(step.clean.y.tolist())]
    if negatives in MORE:
        other = step.batch(MORE[negatives])
        with torch.no_grad():
            t_other = TEACHER.outputs(other.x)
        ends = zip(other.samples.base.tolist(), other.samples.target.tolist(), strict=True)
        s_other = step.outputs("student", MORE[negatives])
        candidates += [(s_other, t_other, j, set(both)) for j, both in enumerate(ends)]
    losses = []
    for i, own in enumerate(index.tolist()):
        at_edge = unit(kind, s_edge.logits[i], s_edge.features[i])
        if variant in "AD":
            a, p = unit(kind, t_edge.logits[i], t_edge.features[i]), at_edge
        else:
            a, p = at_edge, unit(kind, s_clean.logits[own], s_clean.features[own])
        b, k = int(samples.base[i]), int(samples.target[i])
        found = []
        for s, t, j, labels in candidates:
            if (labels != {k}) if negatives == "target" else (labels & {b, k}):
                continue
            n = unit(kind, s.logits[j], s.features[j])
            m = margin
            if variant in "CD":
                ta = unit(kind, t_edge.logits[i], t_edge.features[i])
                tp = unit(kind, t_clean.logits[own], t_clean.features[own])
                tn = unit(kind, t.logits[j], t.features[j])
                m = float((d(ta, tn) - d(ta, tp)).clamp(0, 1))
                if variant == "D":
                    m = (1 - step.progress) * margin + step.progress * float(d(ta, tn))
            found.append((d(a, n), (d(a, p) - d(a, n) + m).clamp_min(0), d(a, p)))
        if not found:
            continue
        if mining == "all":
            losses.append(torch.stack([hinge for _, hinge, _ in found]).mean())
            continue
        pool = found
        if mining == "semi-hard":
            pool = [f for f in found if f[0] > f[2]] or found
        losses.append(min(pool, key=lambda f: float(f[0].detach()))[1])
    return torch.stack(losses).mean()


KINDS = [*product("ABC", ["logit", "prob"], ["all", "semi-hard", "hard"], ["others"]), ("A", "logit", "all", "target")]


@pytest.mark.parametrize(
    ("variant", "kind", "mining", "negatives"),
    [*KINDS, ("B", "feature", "all", "others"), ("C", "feature", "all", "others")],
)
def test_boundary_triplet_equals_the_slow_loop_in_value_and_gradient(variant, kind, mining, negatives):
    step = make()
    term = boundary_triplet(variant=variant, mining=mining, embedding=kind, negatives=negatives, margin=2)
    fast, slow = term(step), slow_triplets(step, variant, mining, kind, 2, negatives)
    assert slow > 0
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    assert_same(grads(fast, step.nets["student"]), grads(slow, step.nets["student"]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "negatives", "on"),
    [
        ("D", "others", "boundary"),
        ("A", "others", "inside"),
        *product("ACD", ["pairs", "student"], ["boundary"]),
        ("A", "pairs", "inside"),
    ],
)
def test_readings_of_the_triplets_equal_the_slow_loop(variant, negatives, on):
    step = make(progress=0.4)
    term = boundary_triplet(variant=variant, negatives=negatives, on=on, margin=2)
    fast, slow = value(term, step), slow_triplets(step, variant, "all", "logit", 2, negatives, on)
    assert slow > 0
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    assert_same(grads(fast, step.nets["student"]), grads(slow, step.nets["student"]), rtol=1e-3, atol=1e-5)
    if negatives != "others":
        plain = slow_triplets(step, variant, "all", "logit", 2, "others", on)
        assert float(fast.detach()) != pytest.approx(float(plain.detach()))


def test_the_last_iterates_in_the_base_class_are_a_batch_of_their_own():
    step = make(refined=6)
    inside, edge = step.batch("inside"), step.batch("boundary")
    assert torch.equal(inside.x, edge.samples.inside)
    logits = step.outputs("teacher", "inside").logits
    with torch.no_grad():
        torch.testing.assert_close(logits, TEACHER(inside.x), rtol=1e-4, atol=1e-4)
    assert torch.equal(logits.argmax(1), edge.samples.base)
    own = make().batch("student_boundary").samples
    student = copy.deepcopy(STUDENT).eval()  # whose batch statistics the clean batch has moved once
    with torch.no_grad():
        student.train()(X)
        assert torch.equal(student.eval()(own.x).argmax(1) != own.base, own.crossed)


@pytest.mark.parametrize("static", [False, True])
def test_only_the_nearest_boundary_samples_are_kept_and_refined_ones_are_nearer(static):
    def batch(**boundary) -> Batch:
        step = make(limit=12, **boundary)
        step.static = static
        return step.batch("boundary")

    def counted(found: Batch) -> list[int]:
        first = torch.ones(len(found.x), dtype=torch.bool) if found.first is None else found.first
        return found.rows[first].tolist()

    whole, part = batch(), batch(kept=0.4)
    gap = [float(g) if c else 2.0 for g, c in zip(whole.samples.gap, whole.samples.crossed, strict=True)]
    rows = counted(whole)
    few = math.ceil(0.4 * len(rows))
    nearest = sorted(range(len(rows)), key=gap.__getitem__)[:few]
    assert counted(part) == [rows[i] for i in nearest]
    torch.testing.assert_close(part.x[:few], whole.x[nearest])
    assert torch.equal(part.samples.target[:few], whole.samples.target[nearest])
    assert set(part.rows.tolist()) == set(counted(part))  # what fills a fixed shape is repeated

    fine = batch(refined=8)
    crossed = whole.samples.crossed
    assert torch.equal(fine.samples.crossed, crossed)
    assert (fine.samples.gap[crossed] < 0.05).all()
    assert whole.samples.gap[crossed].median() > 0.05


def test_feature_embedding_of_two_widths_learns_a_map():
    term = boundary_triplet(embedding="feature", margin=2)
    step = make()
    made = methods["amkd"]().changed(**{"boundary_triplet.embedding": "feature"}).modules(step.nets)
    assert list(made) == ["boundary_triplet"]
    project = made["boundary_triplet"]
    assert (project.in_features, project.out_features) == (STUDENT.feature_width, TEACHER.feature_width)
    step.modules = made
    fast = term(step)
    mapped = make()
    mapped._batches["boundary"] = step.batch("boundary")
    for on in ("clean", "boundary"):
        seen = step.outputs("student", on)
        mapped._outputs["student", on] = seen._replace(features=seen.features @ project.weight.T)
    slow = slow_triplets(mapped, "A", "all", "feature", 2, "others")
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    fast.backward()
    assert project.weight.grad.abs().sum() > 0
    twins = {"student": TEACHER, "teacher": TEACHER}
    assert not Objective(term.parts()).modules(twins)  # equal widths need none
    assert not methods["amkd"]().modules(step.nets)


def test_random_mining_follows_the_generator_of_the_step():
    def drawn(seed: int) -> float:
        step = make()
        step.batch("boundary")
        step.generator.manual_seed(seed)
        return float(boundary_triplet(mining="random", margin=2)(step).detach())

    assert drawn(1) == drawn(1)
    assert len({drawn(s) for s in range(4)}) > 1


def test_what_a_triplet_term_leaves_for_the_log():
    step = make()
    boundary_triplet(margin=2)(step)
    samples = step.batch("boundary").samples
    active, pairs_p, pairs_n = [], [], []
    for i in range(len(samples)):
        a = unit("logit", samples.logits[i], None)
        p = unit("logit", step.outputs("student", "boundary").logits[i].detach(), None)
        pairs_p.append(float(d(a, p)))
        for j in range(24):
            if int(Y[j]) not in (int(samples.base[i]), int(samples.target[i])):
                n = unit("logit", step.outputs().logits[j].detach(), None)
                pairs_n.append(float(d(a, n)))
                active.append(float(d(a, p) - d(a, n)) + 2 > 0)
    assert float(step.metrics["triplet.d_ap"]) == pytest.approx(sum(pairs_p) / len(pairs_p), rel=1e-4)
    assert float(step.metrics["triplet.d_an"]) == pytest.approx(sum(pairs_n) / len(pairs_n), rel=1e-4)
    assert float(step.metrics["triplet.active"]) == pytest.approx(sum(active) / len(active), abs=0.02)
    assert 0 < float(step.metrics["triplet.active"]) < 1
    value(boundary_kd(), step)
    p = samples.logits.softmax(1)
    kl = (p * (p.log() - step.outputs("student", "boundary").logits.detach().log_softmax(1))).sum(1).mean()
    assert float(step.metrics["boundary.kl"]) == pytest.approx(float(kl), rel=1e-4)
    flipped = (step.outputs("student", "boundary").logits.argmax(1) != samples.base).float().mean()
    assert float(step.metrics["boundary.student_flipped"]) == pytest.approx(float(flipped))


@pytest.mark.parametrize("variant", ["A", "B", "C"])
@pytest.mark.parametrize("mining", ["all", "semi-hard", "hard", "random"])
@pytest.mark.parametrize("case", ["no boundary sample", "no negative"])
def test_no_triplet_is_zero_in_the_graph(variant, mining, case):
    if case == "no negative":  # only the classes 0 and 1, and boundary samples between them
        two = Y < 2
        step = make(Y[two], x=X[two])
        samples = step.batch("boundary").samples
        target = 1 - samples.base
        step._batches["boundary"] = replace(step.batch("boundary"), samples=bss(TEACHER, samples.origin, target))
        assert len(samples) > 2
    else:
        step = make(all_wrong())
    loss = boundary_triplet(variant=variant, mining=mining)(step)
    assert loss == 0
    loss.backward()
    assert step.nets["student"].head.weight.grad is not None
    assert not step.nets["student"].head.weight.grad.any()
    assert step.metrics["triplet.active"] == 0
    assert not any(v.isnan() for v in step.metrics.values())


def test_distances_are_not_rounded_under_autocast(monkeypatch):
    seen, step = [], make()
    monkeypatch.setattr(triplets_module, "triplet_hinge", lambda *args: seen.append(args) or triplet_hinge(*args))
    with torch.autocast("cpu", torch.bfloat16):
        boundary_triplet()(step)
    positive, negative = seen[0][:2]
    assert positive.dtype == negative.dtype == torch.float32
    a = torch.stack([unit("logit", z, None) for z in step.batch("boundary").samples.logits])
    n = torch.stack([unit("logit", z, None) for z in step.outputs().logits])
    torch.testing.assert_close(negative, (a[:, None] - n[None]).square().sum(2), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------ Oki's triplets


def test_triplet_of_oki_takes_one_sample_of_another_class():
    step = make()
    t, s, sums = TEACHER(X), step.outputs().logits.detach(), []
    for i in range(24):
        positive = float((t[i] - s[i]).norm())
        sums.append([max(positive - float((t[i] - s[j]).norm()) + 5, 0.0) for j in range(24) if Y[j] != Y[i]])
    values = []
    for seed in range(200):
        step.generator.manual_seed(seed)
        loss = triplet(margin=5)(step)
        values.append(float(loss.detach()))
    assert sum(map(min, sums)) / 24 < min(values) < max(values) < sum(map(max, sums)) / 24
    hinges = [torch.tensor(row) for row in sums]
    mean = sum(float(row.mean()) for row in hinges) / 24
    sd = math.sqrt(sum(float(row.var(correction=0)) for row in hinges)) / 24
    assert abs(sum(values) / 200 - mean) < 4 * sd / math.sqrt(200)
    loss.backward()
    assert step.nets["student"].head.weight.grad.any()


@dataclass
class Given:
    """A step of nothing but logits, labels and a generator."""

    teacher: Tensor
    student: Tensor
    y: Tensor

    def __post_init__(self):
        self.clean, self.generator, self.metrics = Batch(self.y, self.y, self.y), gen(7), {}

    def outputs(self, net="student"):
        return type("Outputs", (), {"logits": getattr(self, net)})


@pytest.mark.parametrize("size", [0, 1, 40])
def test_triplet_of_oki_equals_the_slow_loop_in_value_and_gradient(size):
    torch.manual_seed(3)
    y = torch.randint(0, 3, (size,))
    # a student near its teacher: by norms and a product, its distances would be rounding errors
    t = 5 * torch.randn(size, 12, dtype=torch.float64)
    s = (t + 1e-3 * torch.randn(size, 12, dtype=torch.float64)).requires_grad_()
    order, hinges = torch.rand(size, size, generator=gen(7)), []
    for i in range(size):
        others = [j for j in range(size) if y[j] != y[i]]
        if others:
            j = min(others, key=lambda j: float(order[i, j]))
            hinges.append(((t[i] - s[i]).norm() - (t[i] - s[j]).norm() + 50).clamp_min(0))
    slow = torch.stack(hinges).mean() if hinges else 0 * s.sum()
    (wanted,) = torch.autograd.grad(slow, s)
    for dtype, rtol in ((torch.float64, 1e-7), (torch.float32, 1e-4)):
        own = s.detach().to(dtype).requires_grad_()
        loss = triplet(margin=50)(Given(t.to(dtype), own, y))
        loss.backward()
        torch.testing.assert_close(loss.double(), slow, rtol=rtol / 100, atol=1e-9)
        torch.testing.assert_close(own.grad.double(), wanted, rtol=100 * rtol, atol=100 * rtol / max(size, 1))


def test_triplet_of_oki_asks_for_no_distance_per_class():
    size, classes = 256, 100
    student = torch.randn(size, classes).requires_grad_()
    step = Given(torch.randn(size, classes), student, torch.arange(size) % classes)
    with Asked() as asked:
        triplet()(step).backward()
    assert asked.most == 4 * size * size  # one number per pair of samples; one per class, too, are 26 MB


def test_triplet_of_oki_in_a_batch_of_one_class():
    step = make(torch.zeros(24, dtype=torch.long))
    loss = triplet()(step)
    assert loss == 0
    loss.backward()
    assert step.nets["student"].head.weight.grad is not None


# ------------------------------------------------------------------ whole methods


@pytest.mark.parametrize("name", methods()[:7])  # the others: test_zoo_training
def test_every_method_trains_a_student(name):
    student = copy.deepcopy(STUDENT)
    optimiser = torch.optim.SGD(student.parameters(), 0.05)
    losses = []
    for _ in range(8):
        step = make(nets={"student": student.train()})
        step.generator.manual_seed(1)
        loss = methods[name]()(step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


# ------------------------------------------------------------------ terms, nets and batches by name


def test_kd_on_the_boundary_is_boundary_kd():
    step = make()
    objective = ce() + kd(on="boundary") + boundary_kd() + kd()
    objective(step)
    assert objective.names == tuple(step.terms) == ("ce", "kd:boundary", "boundary_kd", "kd")
    assert step.terms["kd:boundary"] == step.terms["boundary_kd"] != step.terms["kd"]
    assert objective.batches() == {"clean", "boundary"}
    changed = objective.changed(**{"kd:boundary.temperature": 5})
    assert [term.temperature for term, _ in changed.summands[1:]] == [5, 3, 3]


def test_a_second_teacher_and_a_learning_peer():
    second = trained("cnn-tiny", 40).requires_grad_(False)
    step = make(nets={"teacher2": second, "peer": copy.deepcopy(STUDENT).train()})
    (kd() + kd(teacher="teacher2") * 2 + kd(teacher="peer"))(step).backward()
    clean, peer = step.outputs().logits, step.outputs("peer").logits
    assert all(p.grad is None for p in step.nets["peer"].parameters())  # its soft targets carry no gradient
    assert step.nets["student"].head.weight.grad.any()
    assert list(step.terms) == ["kd", "kd:teacher2", "kd:peer"]
    assert float(step.terms["kd:teacher2"]) == pytest.approx(soft_entropy(second(X), clean, 3), rel=1e-5)
    assert float(step.terms["kd:peer"]) == pytest.approx(soft_entropy(peer, clean, 3), rel=1e-5)
    step.nets["student"].zero_grad()
    value(from_student(), step).backward()
    assert float(step.terms["from_student"]) == pytest.approx(soft_entropy(clean, peer, 3), rel=1e-5)
    assert step.nets["peer"].head.weight.grad.any()
    assert all(p.grad is None for net in (step.nets["student"], second) for p in net.parameters())


@dataclass(frozen=True, repr=False)
class from_student(Term):
    """Mutual learning, the other way round: the peer learns from the student."""

    name: ClassVar[str] = "from_student"

    def reads(self) -> list[Read]:
        return [("peer", "clean", None), ("student", "clean", None)]

    def __call__(self, step: Step) -> Tensor:
        return soft_cross_entropy(step.outputs().logits.detach(), step.outputs("peer").logits, 3)


@dataclass(frozen=True, repr=False)
class hint(Term):
    """FitNet on any layer and batch, with a learned projector; not registered."""

    name: ClassVar[str] = "hint"
    layer: int = -1
    on: str = wire("clean", "batch")
    teacher: str = wire("teacher", "net whose layer is imitated")

    def reads(self) -> list[Read]:
        return [("student", self.on, self.layer), (self.teacher, self.on, self.layer)]

    def module(self, shapes, nets) -> nn.Module:
        return nn.Conv2d(shapes["student", self.layer][0], shapes[self.teacher, self.layer][0], 1)

    def __call__(self, step: Step) -> Tensor:
        own, wanted = (step.outputs(net, self.on).layers[self.layer] for net in ("student", self.teacher))
        return (step.modules[self.label](own) - wanted.detach()).square().flatten(1).mean(1)


def pair() -> dict[str, Classifier]:
    shape = (1, 6, 6)
    student = build("cnn-tiny", num_classes=CLASSES, shape=shape, seed=2)
    return {"student": student, "teacher": build("cnn-small", num_classes=CLASSES, shape=shape, seed=3).eval()}


@pytest.mark.parametrize("on", ["clean", "boundary"])
def test_a_term_on_layers_with_a_projector(on):
    nets = pair()
    before = statistics(nets["student"])
    objective = ce() + hint(on=on, layer=-1) * 0.5
    modules = objective.modules(nets)
    assert_same(statistics(nets["student"]), before)
    label = "hint" if on == "clean" else "hint:boundary"
    assert list(modules) == [label]
    shapes = shapes_of(nets, objective.reads())
    assert shapes["teacher", -1] == nets["teacher"].layer_shape(-1)
    assert shapes["student", None] == (nets["student"].feature_width,)
    y = nets["teacher"](X).argmax(1)
    with torch.no_grad():
        nets["student"].head.bias[y.mode().values] += 9  # right on some
    step = make(y, student=nets["student"], nets={"teacher": nets["teacher"]}, limit=5)
    step.modules = modules
    objective(step).backward()
    own, wanted = (step.outputs(net, on).layers[-1] for net in ("student", "teacher"))
    expected = (modules[label](own) - wanted).square().mean()
    assert len(own) == (24 if on == "clean" else 5)
    assert float(step.terms[label]) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert modules[label].weight.grad is not None
    assert step.outputs("teacher").layers.keys() == ({-1} if on == "clean" else set())


@pytest.mark.parametrize(
    ("term", "sentence"),
    [
        (hint(layer=-9), r"layer of student must be between -\d and -1 for cnn-tiny, got -9"),
        (hint(layer=0), r"layer of student must be between -\d and -1 for cnn-tiny, got 0"),
        (hint(teacher="peer"), "A term reads the net 'peer', but this recipe has student, teacher; name it there"),
        (kd(teacher="teacher2"), "A term reads the net 'teacher2', but this recipe has student, teacher"),
    ],
)
def test_a_net_or_a_layer_that_does_not_exist_is_refused_before_training(term, sentence):
    with pytest.raises(InputError, match=sentence):
        (ce() + term).modules(pair())


def test_a_net_or_a_batch_that_a_step_does_not_have():
    with pytest.raises(InputError, match=r"Unknown batch 'edge'\. Allowed: clean, boundary"):
        make().outputs("student", "edge")
    with pytest.raises(InputError, match="Unknown net 'teachr'; did you mean 'teacher'"):
        make().outputs("teachr")


# ------------------------------------------------------------------ weights per sample


def sure(step: Step) -> Tensor:
    """The teacher's probability of the label."""
    return step.outputs("teacher").logits.softmax(1).gather(1, step.clean.y[:, None])[:, 0]


@pytest.mark.parametrize(
    ("weight", "scale"), [(sure, 1), (linear(4, 1) * sure, 2.5), (2 * (sure * constant(3)) * (lambda step: 0.5), 3)]
)
def test_a_weight_per_sample_is_the_mean_of_weight_times_loss(weight, scale):
    step = make(progress=0.5)
    total = (kd() * weight)(step)
    each, share = kd()(step), sure(step)
    assert each.shape == share.shape == (24,)
    torch.testing.assert_close(total, scale * (share * each).mean())
    torch.testing.assert_close(step.terms["kd"], each.mean())
    assert not torch.allclose(total, scale * each.mean())


def test_a_weight_per_boundary_sample_and_a_scalar_term():
    def first_class(step: Step) -> Tensor:
        return (step.batch("boundary").y == 0).float()

    step = make()
    total = (boundary_kd() * first_class)(step)
    each = boundary_kd()(step)
    assert 0 < len(each) < 24
    torch.testing.assert_close(total, (each * (step.batch("boundary").y == 0)).mean())
    for term in (boundary_triplet(), triplet()):
        with pytest.raises(InputError, match=f"{term.name} gives one number per batch, so it takes no weight per sam"):
            (term * sure)(make())


def test_a_weight_says_what_it_reads():
    class seen_by_second:
        reads: ClassVar[list[Read]] = [("teacher2", "clean", None)]

        def __call__(self, step: Step) -> Tensor:
            return step.outputs("teacher2").logits.softmax(1).amax(1)

    objective = ce() * seen_by_second()
    assert objective.reads() == (("student", "clean", None), ("teacher2", "clean", None))
    assert str(objective) == "seen_by_second * ce()"
    with pytest.raises(InputError, match="reads the net 'teacher2'"):
        objective.modules(pair())
    assert objective(make(nets={"teacher2": TEACHER})) > 0


# ------------------------------------------------------------------ order of passes


@dataclass(frozen=True, repr=False)
class backwards(Term):
    """Asks for its cells in the opposite order of ``reads``."""

    name: ClassVar[str] = "backwards"

    def reads(self) -> list[Read]:
        return [("student", "clean", None), ("teacher", "clean", None), ("student", "boundary", None)]

    def __call__(self, step: Step) -> Tensor:
        return sum(step.outputs(net, on).logits.square().mean() for net, on, _ in reversed(self.reads()))


def test_passes_run_in_the_order_of_reads():
    step = make(limit=5)
    with recorded(step) as calls:
        (backwards() + ce())(step)
    assert calls[:2] == [("student", 24), ("teacher", 24)]
    assert calls[-1] == ("student", 5)
    assert step.reads == tuple(backwards().reads())


def test_dropout_is_seeded_per_cell_so_that_the_order_of_terms_does_not_matter():
    student = copy.deepcopy(STUDENT)
    student.body = nn.Sequential(*student.body, nn.Dropout(0.5))
    found = {}
    for name, objective in (("one", ce() + boundary_kd() + kd()), ("other", boundary_kd() + kd() + ce())):
        step = make(student=student, nets={"peer": copy.deepcopy(student).train()})
        seeding = Seeding(1, [step.nets["student"]], X[:2])
        assert seeding.draws
        step.seeding = seeding.cell
        with seeding.at(0, 3):
            if name == "other":
                step.outputs("peer")
            objective(step)
            same = step.outputs("peer", "clean").logits
        found[name] = [step.outputs(*cell).logits for cell in (("student", "clean"), ("student", "boundary"))] + [same]
    for a, b in zip(found["one"], found["other"], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(found["one"][0], found["one"][2])  # each cell draws for itself


# ------------------------------------------------------------------ batches of a training


@pytest.fixture(scope="module")
def training() -> Training:
    recipe = Recipe(dataset="digits", method="ce", student="cnn-tiny", batch_size=32, augment="crop", device="cpu")
    return Training(recipe, load("digits"), {})


def test_the_index_of_each_sample_reaches_the_step(training):
    batch = next(training.loader.epoch(0))
    step = training.step(*batch)
    assert torch.equal(step.clean.index, batch[2])
    assert torch.equal(training.dataset.train.y[step.clean.index], step.clean.y)
    edge = make(limit=6).batch("boundary")
    assert torch.equal(edge.index, 100 + edge.rows)
    assert torch.equal(edge.samples.origin, X[edge.rows])
    assert torch.equal(edge.y, Y[edge.rows])


def test_a_batch_that_no_source_makes_is_refused_before_training(training):
    @methods.register("on-edge")
    def on_edge():
        return ce() + kd(on="edge")

    try:
        with pytest.raises(
            InputError,
            match=r"^Unknown batch 'edge'\. Allowed: clean, boundary, inside, student_boundary, validation, ",
        ):
            Training(training.recipe.replace(method="on-edge"), training.full, {"teacher": training.student})
    finally:
        methods.forget("on-edge")


def test_a_second_view_and_validation_samples(training):
    x, y, index = next(training.loader.epoch(0))
    with training.seeding.at(0, 0):
        step = training.new_step(x, y, index)
        view, validation = step.batch("view2"), step.batch("validation")
    assert torch.equal(view.index, index)
    assert torch.equal(view.y, y)
    assert view.x.shape == x.shape
    assert float((view.x != x).flatten(1).any(1).float().mean()) > 0.2
    assert 0 <= view.x.min() < view.x.max() <= 1
    val = training.dataset.val
    assert torch.equal(validation.y, val.y[validation.index])
    assert torch.equal(validation.x, val.floats(validation.index))
    assert len(validation.y) == 32
    with training.seeding.at(0, 0):
        again = training.new_step(x, y, index)
        assert torch.equal(again.batch("view2").x, view.x)
    loss = (kd(teacher="student", on="view2") + ce())(step)
    assert loss > 0
    assert step.outputs("student", "view2").logits.shape == (32, 10)
