"""Steps that are recorded once and replayed: the numbers of steps that are computed one by one.

What a CUDA graph does, `Again` does on a CPU: every operation is noted with the tensors it read and wrote, and done
again on these very tensors, without Python and without autograd.
"""

from __future__ import annotations

import copy
import json
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
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

import amkd_viz.training.graph as graph_module
import amkd_viz.training.training as training_module
from amkd_viz import Run, distill
from amkd_viz.boundary import BSS, bss
from amkd_viz.core.rng import generator
from amkd_viz.objectives import Objective, Step, ce, kd, linear, methods
from amkd_viz.runs import prepare
from amkd_viz.training import EpochEnded, Recipe, Stepped, Training, events
from amkd_viz.training.graph import CudaRecorder, StepGraph

R = TypeVar("R")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
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


class Noted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        read = {t.untyped_storage().data_ptr() for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)}
        made = [t for t in tree_flatten(result)[0] if isinstance(t, Tensor)]
        new = [
            t for t in made if t.untyped_storage().data_ptr() not in read
        ]  # the others are views, or written in place
        if new or not all(r.alias_info is None or not r.alias_info.is_write for r in func._schema.arguments):
            self.done.append((func, args, kwargs or {}, new))
        return result


class Again:
    """A ``Recorder`` for a CPU. What ``record`` does is undone, since a capture does nothing: to ``state`` too."""

    def __init__(self, state: Callable[[], list[Tensor]]) -> None:
        self.noted, self.state, self.replays, self.records = Noted(), state, 0, 0

    def aside(self, work: Callable[[], R]) -> R:
        return work()

    def record(self, work: Callable[[], R]) -> R:
        self.records += 1
        before = [(t, t.clone()) for t in self.state()]
        self.noted = Noted()
        with self.noted:
            result = work()
        with torch.no_grad():
            for t in [t for _, _, _, new in self.noted.done for t in new]:
                t.zero_()
            for t, value in before:
                t.copy_(value)
        return result

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, new in self.noted.done:
            result = func(*args, **kwargs)
            made = [t for t in tree_flatten(result)[0] if isinstance(t, Tensor)]
            for to, what in zip(new, made[-len(new) :] if new else (), strict=True):
                to.copy_(what)

    def forget(self) -> None:
        self.noted = Noted()


class Stuck(Again):
    """One whose replays do nothing, as if the inputs of the first batch were in it for good."""

    def replay(self) -> None:
        self.replays += 1


class Unable(Again):
    def record(self, work: Callable[[], R]) -> R:
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nand a long trace")


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as on a GPU."""
    monkeypatch.setattr(training_module, "Step", partial(Step, static=True))
    monkeypatch.setattr(BSS, "function", staticmethod(partial(bss, compact=False)))


def trained(
    kind: type[Again] | None,
    recipe: Recipe = RECIPE,
    overrides: dict[tuple[int, int], dict[str, Any]] | None = None,
    at: dict[str, Any] | None = None,
) -> tuple[Training, list[dict[str, Any]], Again | None]:
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
    ],
    ids=str,
)
def test_replayed_steps_are_the_computed_ones(settings: dict[str, str]) -> None:
    (expected, lines, _), (found, own, again) = (trained(kind, RECIPE.replace(**settings)) for kind in (None, Again))
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
    (expected, lines, _), (found, own, again) = (trained(kind, recipe, dict(overrides)) for kind in (None, Again))
    assert again is not None
    assert again.records >= 3
    assert own == lines
    assert same(expected.student, found.student)


def test_a_training_goes_on_in_the_middle_of_an_epoch() -> None:
    whole, lines, _ = trained(Again)
    first = prepare(RECIPE)
    first.graph = StepGraph(Again(lambda: list(first.student.buffers())), first.work)
    for event in events(first):
        if isinstance(event, Stepped) and event.batch == 3:
            break
    rest, own, _ = trained(Again, at=first.state())
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
    (expected, lines, _), (found, own, again) = (trained(kind, recipe) for kind in (None, Again))
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
            training.graph = StepGraph(Again(lambda t=training: list(t.student.buffers())), training.work)
        for x, y, index in training.loader.epoch(0):
            if training.batch == 3:
                change(training)
            training.step(x, y, index)
        students.append(training.student)
    assert same(*students)


@pytest.mark.parametrize("kind", [Stuck, Unable])
def test_a_graph_that_cannot_be_trusted_is_named_and_not_used(kind: type[Again]) -> None:
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

    class Fixed(Again):
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
        again = Again(lambda: list(training.student.buffers()))
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
    training, _, again = trained(Again, RECIPE.replace(method="ce", epochs=1))
    assert training.graph is not None
    assert again is not None
    assert again.replays == 4
    assert training.graph._step is None
    assert not again.noted.done


@pytest.mark.parametrize("newer", [True, False])
def test_a_capture_that_fails_is_given_back(newer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Graph:
        def reset(self) -> None:
            calls.append("reset")

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
    monkeypatch.setattr(torch, "zeros", lambda *_, **about: calls.append(about["device"]))  # in a later capture
    monkeypatch.setattr(graph_module, "NEWER", newer)
    monkeypatch.setattr(CudaRecorder, "_broken", [])
    device = torch.device("cuda:1")
    recorder = CudaRecorder(device, torch.Generator())

    def fails() -> None:
        raise RuntimeError("not permitted")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="not permitted"):
            recorder.record(fails)
    old = [("_cuda_endAllocateToPool", 1, (0, 7)), ("_cuda_releasePool", 1, (0, 7))]
    assert calls == [*(["reset"] if newer else old), device] * 2
    assert len(CudaRecorder._broken) == (0 if newer else 2)  # the object is small, and its memory free


@needs_cuda
def test_a_capture_that_fails_disturbs_no_other_training(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.replace(device="cuda", method="bss")
    sound, poor = prepare(recipe), prepare(recipe)
    plain = poor.loss
    monkeypatch.setattr(poor, "loss", lambda step: plain(step) * step.clean.y.sum().sign().item())
    poor.graph = StepGraph(CudaRecorder(poor.device, poor.seeding.generator), poor.work)
    batches = list(sound.loader.epoch(0))
    for x, y, index in batches[:3]:
        sound.step(x, y, index)
    with pytest.warns(UserWarning, match="it cannot be recorded"):  # noqa: PT031
        for x, y, index in batches[:3]:
            poor.step(x, y, index)
    for x, y, index in batches[3:]:
        one, two = sound.step(x, y, index), poor.step(x, y, index)
        assert all(bool(t.isfinite()) for t in (*one.terms.values(), *two.terms.values()))
    assert sound.graph is not None
    assert not sound.graph.given_up
    again = prepare(recipe)
    for x, y, index in batches[:3]:
        again.step(x, y, index)
    assert again.graph is not None
    assert not again.graph.given_up


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("sampler", ["bss", "fgsm", "noise"])
def test_on_a_gpu(sampler: str, precision: str, tmp_path: Path) -> None:
    recipe = RECIPE.replace(device="cuda", sampler=sampler, precision=precision, method="amkd")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Steps are launched")
        graphed = prepare(recipe)
        assert graphed.graph is not None
        usual = prepare(recipe, like=graphed)
        usual.graph = None
        for x, y, index in graphed.loader.epoch(0):
            one, two = graphed.step(x, y, index), usual.step(x, y, index)
            assert (one is graphed.graph._step) == (graphed.batch > 2)
            for name, value in two.terms.items():
                assert float(one.terms[name]) == pytest.approx(float(value), rel=0.05, abs=0.02)
    assert not graphed.graph.given_up
