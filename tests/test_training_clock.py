"""Time is that of the steps: not of pauses within them, of other trainings between them, or of what comes after."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import torch
from recipes import POINTS

from amkd_viz.core.pauses import pausable, pause_point
from amkd_viz.objectives import Step
from amkd_viz.runs import Race, prepare
from amkd_viz.training import EpochEnded, Event, Started, Training, events
from amkd_viz.training.clock import Clock

KD = POINTS.replace(method="kd", epochs=2, magsim_samples=0)


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
    training = prepare(KD)
    takes(training, 0.5, now)
    speeds = []
    for event in events(training):
        now[0] += 10
        if isinstance(event, EpochEnded):
            speeds.append(event.metrics["images_per_s"])
    batches = len(training.loader)
    assert training.clock.seconds == pytest.approx(KD.epochs * batches * 0.5)
    assert speeds == pytest.approx([KD.batch_size / 0.5] * KD.epochs)


def test_a_race_counts_each_of_its_methods_alone(now: list[float], tmp_path: Path) -> None:
    seconds = {"ce": 0.01, "kd": 0.05}

    def hear(method: str, event: Event) -> None:
        if isinstance(event, Started) and event.training.teacher is not None:
            takes(event.training, seconds[method], now)

    race = Race.create(KD, list(seconds), tmp_path / "race")
    race.listen = hear
    race.resume()
    assert race.wait(60) == "done", race.error
    speeds = {name: run.metrics()[-1]["images_per_s"] for name, run in race.runs.items()}
    assert speeds == pytest.approx({name: KD.batch_size / seconds[name] for name in seconds})


def test_a_session_that_begins_after_the_last_batch_has_no_speed() -> None:
    training = prepare(KD)
    running = events(training)
    while training.batch < len(training.loader):
        next(running)
    later = prepare(KD)
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
