"""A step whose shapes do not depend on data: the same numbers as the other one, and no wait for a GPU."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from amkd_viz.boundary import BSS, FGSM, Sampler, bss, select_always, select_bases
from amkd_viz.data import Augment, Loader, Split
from amkd_viz.models import Classifier, build, inference_copy
from amkd_viz.objectives import Batch, Boundary, Step, methods
from amkd_viz.objectives.selves import selves
from amkd_viz.objectives.sources import Inside, views
from amkd_viz.training.evaluation import outputs_on
from benchmarks.recorder import Waits


def nets() -> tuple[Classifier, Classifier, Tensor, Tensor]:
    teacher = inference_copy(build("resnet8", num_classes=4, shape=(3, 8, 8), seed=5).eval())
    teacher.head.weight.mul_(20)
    student = build("resnet8", num_classes=4, shape=(3, 8, 8), seed=6)
    x = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    y = teacher(x).argmax(1)
    student.head.bias.data[y.mode().values] += 9  # right on some, at least
    return teacher, student, x, y


def made(given: tuple, sampler: Sampler, limit: int, boundary_bn: str = "separate", static: bool | None = True) -> Step:
    teacher, student, x, y = given
    return Step(
        nets={"student": student.train(), "teacher": teacher},
        clean=Batch(x, y, torch.arange(len(y), device=y.device)),
        progress=0.1,
        generator=torch.Generator(x.device).manual_seed(7),
        sources={"boundary": Boundary(sampler, limit)},
        boundary_bn=boundary_bn,
        static=static,
    )


def one_step(static: bool, limit: int, method: str, boundary_bn: str = "separate") -> tuple[Step, Tensor, Tensor]:
    step = made(nets(), BSS(steps=4), limit, boundary_bn, static)
    loss = methods[method]()(step)
    loss.backward()
    return step, loss.detach(), torch.cat([p.grad.flatten() for p in step.nets["student"].parameters()])


@pytest.mark.parametrize("method", ["bss", "amkd", "amkd-student", "amkd-calibrated"])
@pytest.mark.parametrize(("limit", "boundary_bn"), [(3, "separate"), (3, "joint"), (24, "frozen"), (24, "separate")])
def test_static_and_dynamic_steps_agree(method, limit, boundary_bn):
    """With enough bases all is equal; with too few, all that does not go through the student's batch statistics."""
    (dynamic, loss, grads), (static, loss_static, grads_static) = (
        one_step(static, limit, method, boundary_bn=boundary_bn) for static in (False, True)
    )
    edge, padded = dynamic.batch("boundary"), static.batch("boundary")
    count = len(edge.rows)
    assert len(padded.rows) == min(limit, 24)
    assert 2 < count < 24
    assert int(padded.first.sum()) == count
    assert torch.equal(padded.rows[:count], edge.rows)
    assert torch.equal(padded.samples.target[:count], edge.samples.target)
    torch.testing.assert_close(padded.samples.x[:count], edge.samples.x, rtol=0, atol=1e-4)
    again = torch.arange(len(padded.rows)) % count
    torch.testing.assert_close(padded.samples.x, padded.samples.x[again], rtol=0, atol=1e-4)
    if limit == 3 or boundary_bn == "frozen":
        torch.testing.assert_close(loss_static, loss, rtol=1e-4, atol=1e-5)
        assert (grads_static - grads).norm() < 1e-2 * grads.norm()
        for name in dynamic.metrics:
            torch.testing.assert_close(static.metrics[name], dynamic.metrics[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["bss", "amkd"])
def test_every_prediction_wrong(method):
    teacher, student, x, y = nets()
    step = made((teacher, student, x, (y + 1) % 4), BSS(), 5)
    loss = methods[method]()(step)
    loss.backward()
    assert not step.batch("boundary").first.any()
    assert float(step.terms["boundary_kd"]) == 0
    assert all(p.grad.isfinite().all() for p in student.parameters())


@pytest.mark.parametrize("right", [0, 1, 2, 12])
def test_padding_leaves_no_trace_in_the_batch_norms(right):
    statistics = {}
    for static in (False, True):
        teacher, student, x, y = nets()
        both = ((teacher(x).argmax(1) == y) & (student.train()(x).argmax(1) == y)).nonzero().flatten()
        y[both[right:]] += 1  # the first ``right`` of them stay right
        student.load_state_dict(nets()[1].state_dict())
        methods["bss"]()(made((teacher, student, x, y % 4), BSS(steps=2), right or 5, static=static))
        statistics[static] = torch.cat([b.flatten() for n, b in student.named_buffers() if "running" in n])
    torch.testing.assert_close(statistics[True], statistics[False], rtol=1e-5, atol=1e-6)


def test_select_always_returns_limit_rows_and_the_bases_first():
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        teacher, student = torch.randn(2, 12, 3, generator=random)
        y = torch.randint(3, (12,), generator=random)
        best, count = select_always(teacher, student, y, 5)
        assert len(best) == 5
        assert torch.equal(best[: int(count)], select_bases(teacher, student, y, 5))


@pytest.mark.parametrize("method", ["bss", "amkd", "amkd-student", "amkd-calibrated"])
@pytest.mark.parametrize(
    ("sampler", "boundary_bn"), [(BSS(steps=3), "separate"), (BSS(steps=3), "joint"), (FGSM(), "frozen")]
)
def test_a_static_step_reads_no_value_from_the_device(method, sampler, boundary_bn, monkeypatch):
    """What ``torch.cuda.set_sync_debug_mode`` tells on a GPU, as far as a CPU can tell it."""
    _, student, x, y = nets()
    teacher = build("resnet8", num_classes=4, shape=(3, 8, 8), seed=5).eval()  # a frozen one looks at rows on a CPU
    monkeypatch.setattr(BSS, "function", staticmethod(partial(bss, compact=False)))
    step = made((teacher, student, x, y), sampler, 6, boundary_bn)
    with Waits() as waits:
        methods[method]()(step).backward()
    assert not waits.found


def test_a_dynamic_step_does():
    step = made(nets(), BSS(steps=3), 6, static=None)
    assert step.static is False
    with Waits() as waits:
        methods["amkd"]()(step).backward()
    assert waits.found


@pytest.mark.parametrize("method", methods()[7:])
def test_no_method_of_the_zoo_reads_a_value_from_the_device(method, monkeypatch):
    monkeypatch.setattr(BSS, "function", staticmethod(partial(bss, compact=False)))
    teacher, student, x, y = nets()
    step = made((build("resnet8", num_classes=4, shape=(3, 8, 8), seed=5).eval(), student, x, y), BSS(steps=3), 6)
    train = Split((255 * x).to(torch.uint8), y, torch.arange(len(x)))
    loader = Loader(train, len(x), augment=Augment(1, True))
    step.nets = {**step.nets, "teacher2": teacher, "peer": copy.deepcopy(student)}
    step.nets |= {name: kind(student).net for name, kind in selves.items()}
    step.sources = {**step.sources, **{name: kind(loader) for name, kind in views.items()}}
    step.sources["validation"] = lambda step: step.clean
    step.sources |= {"inside": Inside(), "student_boundary": replace(step.sources["boundary"], of="student")}
    kept = outputs_on(teacher, train)
    step.known = lambda net: (kept, y)
    objective = methods[method]()
    step.modules.update(objective.modules(step.nets, (len(x), len(x))))
    with Waits() as waits:
        objective(step).backward()
    assert not waits.found
