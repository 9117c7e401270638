"""Time is that of the steps: not of pauses within them, of other trainings between them, or of what comes after."""

from __future__ import annotations

import math
import time

import pytest
import torch

from amkd_viz.core.pauses import pausable, pause_point
from amkd_viz.objectives import Step
from amkd_viz.runs import Race
from amkd_viz.training import EpochEnded, Recipe, Training, events, prepare
from amkd_viz.training.clock import Clock

POINTS = Recipe(
    dataset="moons:n=60",
    teacher="mlp-tiny",
    student="mlp-tiny",
    method="kd",
    epochs=2,
    teacher_epochs=1,
    batch_size=20,
    magsim_samples=0,
    device="cpu",
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that ``time.perf_counter`` tells, in a list of one."""
    found = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: found[0])
    return found


def takes(training: Training, seconds: float, now: list[float]) -> None:
    """Let each step of a training take so long."""
    usual = training.compute

    def compute(step: Step) -> Step:
        now[0] += seconds
        return usual(step)

    training.compute = compute  # type: ignore[method-assign]


def test_pauses_within_a_step_are_not_counted(now: list[float]) -> None:
    def wait() -> None:
        now[0] += 40

    clock = Clock(torch.device("cpu"), 5.0)
    assert math.isnan(clock.median)
    with clock.step():
        now[0] += 0.25
        with pausable(wait):
            pause_point()
    assert (clock.seconds, clock.median) == (5.25, 0.25)


def test_what_happens_between_two_steps_is_not_counted(now: list[float]) -> None:
    training = prepare(POINTS)
    takes(training, 0.5, now)
    speeds = []
    for event in events(training):
        now[0] += 10
        if isinstance(event, EpochEnded):
            speeds.append(event.metrics["images_per_s"])
    batches = len(training.loader)
    assert training.clock.seconds == pytest.approx(POINTS.epochs * batches * 0.5)
    assert speeds == pytest.approx([POINTS.batch_size / 0.5] * POINTS.epochs)


def test_a_race_counts_each_of_its_methods_alone(now: list[float]) -> None:
    race = Race(POINTS, ["ce", "kd"])
    for name, seconds in (("ce", 0.01), ("kd", 0.05)):
        takes(race.trainings[name], seconds, now)
    list(race.events())
    assert race.step_seconds() == pytest.approx({"ce": 0.01, "kd": 0.05})
    ce, kd = (lines[-1]["images_per_s"] for lines in race.metrics.values())
    assert ce == pytest.approx(5 * kd)


def test_a_session_that_begins_after_the_last_batch_has_no_speed() -> None:
    training = prepare(POINTS)
    running = events(training)
    while training.batch < len(training.loader):
        next(running)
    later = prepare(POINTS)
    later.restore(training.state())
    assert later.clock.seconds == training.clock.seconds > 0
    first = next(event for event in events(later) if isinstance(event, EpochEnded))
    assert math.isnan(first.metrics["images_per_s"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_waited_for() -> None:
    device = torch.device("cuda")
    clock, x = Clock(device), torch.rand(4096, 4096, device=device)
    with clock.step():
        for _ in range(50):
            x = x @ x / 4096
    torch.cuda.synchronize()
    assert clock.seconds > 0
    assert clock.median == clock.seconds
