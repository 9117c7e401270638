"""Steps that are recorded once and replayed: the numbers of steps that are computed one by one.

What a CUDA graph does, `CpuRecorder` does on a CPU.
"""

from __future__ import annotations

import copy
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import pytest
import torch
from recipes import same
from torch import Tensor, nn

import amkd_viz.training.graph as graph_module
import amkd_viz.training.training as training_module
from amkd_viz import Run, distill
from amkd_viz.boundary import BSS, bss
from amkd_viz.core.rng import defaults_seeded, generator
from amkd_viz.objectives import Objective, Step, ce, kd, linear, methods
from amkd_viz.runs import prepare
from amkd_viz.training import EpochEnded, Recipe, Stepped, Training, events
from amkd_viz.training.graph import CudaRecorder, StepGraph
from benchmarks.recorder import CpuRecorder

R = TypeVar("R")
RECIPE = Recipe(
    dataset="digits",
    teacher="cnn-tiny",
    student="cnn-tiny",
    teacher_epochs=6,
    epochs=3,
    num_train=640,
    attack_steps=3,
    step_size=5.0,
    max_boundary_samples=16,
    magsim_samples=0,
)


class Stuck(CpuRecorder):
    """One whose replays do nothing, as if the inputs of the first batch were in it for good."""

    def replay(self) -> None:
        self.replays += 1


class Unable(CpuRecorder):
    def record(self, work: Callable[[], R]) -> R:
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nand a long trace")


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as on a GPU."""
    monkeypatch.setattr(training_module, "Step", partial(Step, static=True))
    monkeypatch.setattr(BSS, "function", staticmethod(partial(bss, compact=False)))


def trained(
    kind: type[CpuRecorder] | None,
    recipe: Recipe = RECIPE,
    overrides: dict[tuple[int, int], dict[str, Any]] | None = None,
    at: dict[str, Any] | None = None,
) -> tuple[Training, list[dict[str, Any]], CpuRecorder | None]:
    """A training to its end; its epochs without their clock, and the recorder."""
    training = prepare(recipe)
    if at is not None:
        training.restore(at)
    again = kind(lambda: list(training.student.buffers())) if kind else None
    training.graph = StepGraph(again, training.work) if again else None
    epochs = []
    for event in events(training):
        if (values := (overrides or {}).pop((training.epoch, training.batch), None)) is not None:
            training.override(**values)
        if metrics := getattr(event, "metrics", None):
            epochs.append({k: v for k, v in metrics.items() if k != "images_per_s"})
    return training, epochs, again


@pytest.mark.parametrize(
    "settings",
    [
        *({"method": name} for name in ("ce", "kd", "bss", "amkd", "amkd-student", "amkd-calibrated")),
        {"sampler": "fgsm"},
        {"sampler": "noise"},
        {"boundary_bn": "joint"},
        {"boundary_bn": "frozen"},
        {"method": "kd", "cache_teacher": 4},
    ],
    ids=str,
)
def test_replayed_steps_are_the_computed_ones(settings: dict[str, Any]) -> None:
    (expected, lines, _), (found, own, again) = (
        trained(kind, RECIPE.replace(**settings)) for kind in (None, CpuRecorder)
    )
    assert again is not None
    if "method" in settings:
        assert lines[0].get("metrics", {}).get("attack.crossed", 1) > 0.2
        assert again.replays >= 3 * 5 - 1 - again.records
    assert again.replays > 10
    assert own == lines
    assert same(expected.student, found.student)


def test_a_term_that_ends_and_a_slider_that_moves_are_recorded_anew() -> None:
    recipe = RECIPE.replace(overrides={"boundary_kd.scale": 0.5})
    overrides = {(1, 2): {"kd.temperature": 2.0}, (2, 1): {"attack_steps": 2, "learning_rate": 0.01}}
    (expected, lines, _), (found, own, again) = (trained(kind, recipe, dict(overrides)) for kind in (None, CpuRecorder))
    assert again is not None
    assert again.records >= 3
    assert own == lines
    assert same(expected.student, found.student)


def test_a_training_goes_on_in_the_middle_of_an_epoch() -> None:
    whole, lines, _ = trained(CpuRecorder)
    first = prepare(RECIPE)
    first.graph = StepGraph(CpuRecorder(lambda: list(first.student.buffers())), first.work)
    for event in events(first):
        if isinstance(event, Stepped) and event.batch == 3:
            break
    rest, own, _ = trained(CpuRecorder, at=first.state())
    assert own == lines
    assert same(whole.student, rest.student)


@dataclass(frozen=True, repr=False)
class Counting(ce):
    """Cross-entropy times the number of calls, which its module counts in Python, as a ring of samples does."""

    name: ClassVar[str] = "counting"

    def module(self, shapes: Any, nets: Any) -> nn.Module | None:
        module = nn.Identity()
        module.place = 0
        return module

    def __call__(self, step: Step) -> Tensor:
        module = step.modules[self.label]
        module.place += 1
        return super().__call__(step) * module.place


def left(step: Step) -> float:
    return 2 - step.progress


@pytest.fixture
def named() -> Iterator[Callable[[Callable[[], Objective]], Recipe]]:
    """Return a recipe with a sum of your own."""
    yield lambda make: RECIPE.replace(method="own") if methods.register("own", make) else RECIPE
    methods.forget("own")


@pytest.mark.parametrize(
    ("make", "records"),
    [
        (lambda: ce() * left, 3),  # recorded once an epoch
        (lambda: ce() + kd() * linear(4, 1) * left, 3),
        (lambda: ce() + Counting(), 0),  # another number in each step
        (lambda: ce() + kd() * linear(4, 1), 1),
        (lambda: ce() + kd(teacher="past", on="view2") + kd(on="validation"), 1),
    ],
    ids=["progress", "progress and a schedule", "a count", "a schedule", "past net and drawn batches"],
)
def test_what_a_step_reads_is_never_frozen(named: Any, make: Callable[[], Objective], records: int) -> None:
    recipe = named(make)
    (expected, lines, _), (found, own, again) = (trained(kind, recipe) for kind in (None, CpuRecorder))
    assert again is not None
    assert again.records == records
    assert bool(again.replays) == bool(records)
    assert own == lines
    assert same(expected.student, found.student)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.student.requires_grad_(False).head.requires_grad_(True),
        lambda t: setattr(next(m for m in t.student.modules() if isinstance(m, nn.BatchNorm2d)), "momentum", 0.5),
        lambda t: t.nets.update(teacher=copy.deepcopy(t.student).eval().requires_grad_(False)),
        lambda t: setattr(t.loader, "augment", None),
        lambda t: t.restore(t.state() | {"student": {n: v + 0.01 for n, v in t.student.state_dict().items()}}),
    ],
    ids=["frozen layers", "momentum of a batch norm", "another teacher", "augmentation", "other weights"],
)
def test_what_is_changed_between_two_steps_is_never_frozen(named: Any, change: Callable[[Training], Any]) -> None:
    recipe = named(lambda: kd() + kd(on="view2") * linear(4, 1)).replace(augment="crop")
    students = []
    for recorded in (False, True):
        training = prepare(recipe)
        if recorded:
            training.graph = StepGraph(CpuRecorder(lambda t=training: list(t.student.buffers())), training.work)
        for x, y, index in training.loader.epoch(0):
            if training.batch == 3:
                change(training)
            training.step(x, y, index)
        students.append(training.student)
    assert same(*students)


@pytest.mark.parametrize("kind", [Stuck, Unable])
def test_a_graph_that_cannot_be_trusted_is_named_and_not_used(kind: type[CpuRecorder]) -> None:
    expected, lines, _ = trained(None)
    with pytest.warns(UserWarning, match="launched kernel by kernel: as a CUDA graph") as caught:
        found, own, again = trained(kind)
    assert again is not None
    assert len([w for w in caught if "CUDA graph" in str(w.message)]) == 1
    assert "long trace" not in str(caught[0].message)
    assert again.records <= 1
    assert own == lines
    assert same(expected.student, found.student)


def test_a_draw_that_was_recorded_for_good_is_noticed() -> None:
    """The draw of the targets would be the same at each step."""

    class Fixed(CpuRecorder):
        def replay(self) -> None:
            random.manual_seed(5)
            super().replay()

        def record(self, work: Callable[[], R]) -> R:
            result = super().record(work)
            self.noted.done = [
                (func, args, {**kwargs, "generator": random} if "generator" in kwargs else kwargs, new)
                for func, args, kwargs, new in self.noted.done
            ]
            return result

    random = generator("cpu", "another")
    with pytest.warns(UserWarning, match="its replay gives other numbers"):
        trained(Fixed, RECIPE.replace(method="bss"))


def test_a_sampler_that_looks_at_values_is_never_recorded() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Steps are launched")
        training = prepare(RECIPE.replace(sampler="deepfool", epochs=2))
        again = CpuRecorder(lambda: list(training.student.buffers()))
        training.graph = StepGraph(again, training.work)
        records = [again.records for event in events(training) if isinstance(event, EpochEnded)]
    assert records == [0, 1]  # nothing is attacked in the last quarter


def test_a_run_notes_that_its_graph_was_given_up(tmp_path: Path) -> None:
    recipe = RECIPE.replace(method="ce", epochs=2)
    training = prepare(recipe)
    training.graph = StepGraph(Unable(lambda: []), training.work)
    heard: list[list[str]] = []
    with pytest.warns(UserWarning, match="as a CUDA graph"):
        run = distill(recipe, tmp_path / "run", training=training, listen=lambda _: heard.append(kinds(tmp_path)))
    text = (
        "Steps are launched kernel by kernel: as a CUDA graph, it cannot be recorded: operation not permitted when "
        "stream is capturing."
    )
    assert [line.get("text") for line in run.lines()] == [text, None, None]
    assert heard[:3] == [[], [], ["note"]]  # with the second step
    assert json.loads((run.path / "summary.json").read_text())["notes"] == [text]


def kinds(folder: Path) -> list[str]:
    return [line["kind"] for line in Run.open(folder / "run").lines()]


def test_a_training_that_ends_frees_its_recording() -> None:
    training, _, again = trained(CpuRecorder, RECIPE.replace(method="ce", epochs=1))
    assert training.graph is not None
    assert again is not None
    assert again.replays == 4
    assert training.graph._step is None
    assert not again.noted.done


class Captures:
    """PyTorch's graphs without a GPU; ``calls`` are those that matter where a capture fails."""

    device = torch.device("cuda:1")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, newer: bool, ended: bool) -> None:
        calls = self.calls = []

        class Graph:
            def reset(self) -> None:
                calls.append("reset")

            def pool(self) -> None:
                if not ended:
                    raise RuntimeError("without a preceding successful capture")

            def register_generator_state(self, generator: Any) -> None:
                pass

        @contextmanager
        def nothing(*_: Any, **__: Any) -> Iterator[None]:
            yield

        fakes = dict.fromkeys(("device", "stream", "graph"), nothing) | {"CUDAGraph": Graph}
        fakes |= {"Stream": lambda device: SimpleNamespace(device=device), "graph_pool_handle": lambda: (0, 7)}
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)
        for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            monkeypatch.setattr(torch._C, name, lambda *about, name=name: calls.append((name, *about)), raising=False)
        # in a later capture
        monkeypatch.setattr(torch, "zeros", lambda *_, **about: calls.append(about["device"]))
        monkeypatch.setattr(graph_module, "NEWER", newer)
        monkeypatch.setattr(CudaRecorder, "_broken", [])
        self.recorder = CudaRecorder(self.device, torch.Generator())


BY_HAND = [("_cuda_endAllocateToPool", 1, (0, 7)), ("_cuda_releasePool", 1, (0, 7))]


@pytest.mark.parametrize(
    ("newer", "ended", "expected"), [(True, False, ["reset"]), (False, False, BY_HAND), (False, True, ["reset"])]
)
def test_a_capture_that_fails_is_given_back_once(
    newer: bool, ended: bool, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    captures = Captures(monkeypatch, newer, ended)

    def fails() -> None:
        raise RuntimeError("not permitted")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="not permitted"):
            captures.recorder.record(fails)
    assert captures.calls == [*expected, captures.device] * 2
    assert len(CudaRecorder._broken) == (2 if expected == BY_HAND else 0)  # the object is small, and its memory free


def test_no_other_thread_draws_from_the_default_generators_during_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, order = Captures(monkeypatch, newer=False, ended=True).recorder, []

    def draws() -> None:
        with defaults_seeded(0, ()):
            order.append("drawn")

    def work() -> None:
        thread.start()
        thread.join(0.2)
        order.append("captured")

    thread = threading.Thread(target=draws)
    recorder.record(work)
    thread.join()
    assert order == ["captured", "drawn"]
