"""Steps that are recorded once and replayed: the numbers of steps that are computed one by one.

What a CUDA graph does, `Again` does on a CPU: every operation is noted with the tensors it read and wrote, and done
again on these very tensors, without Python and without autograd.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from recipes import same
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

import amkd_viz.training.training as training_module
from amkd_viz.boundary import BSS, bss
from amkd_viz.core.rng import generator
from amkd_viz.objectives import Step
from amkd_viz.runs import prepare
from amkd_viz.training import EpochEnded, Recipe, Stepped, Training, events
from amkd_viz.training.graph import CudaRecorder, Recorder, StepGraph, Work

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


def graph_of(training: Training, recorder: Recorder) -> StepGraph:
    t = training
    return StepGraph(recorder, Work(t.new_step, t.compute, t.loss, t.seeding.seed, t._keep, t.parameters))


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
    training.graph = graph_of(training, again) if again else None
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
    first.graph = graph_of(first, Again(lambda: list(first.student.buffers())))
    for event in events(first):
        if isinstance(event, Stepped) and event.batch == 3:
            break
    rest, own, _ = trained(Again, at=first.state())
    assert own == lines
    assert same(whole.student, rest.student)


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
        training.graph = graph_of(training, again)
        records = [again.records for event in events(training) if isinstance(event, EpochEnded)]
    assert records == [0, 1]  # nothing is attacked in the last quarter


@needs_cuda
def test_a_capture_that_fails_disturbs_no_other_training(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.replace(device="cuda", method="bss")
    sound, poor = prepare(recipe), prepare(recipe)
    plain = poor.loss
    monkeypatch.setattr(poor, "loss", lambda step: plain(step) * step.clean.y.sum().sign().item())
    poor.graph = graph_of(poor, CudaRecorder(poor.device, poor.seeding.generator))
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
