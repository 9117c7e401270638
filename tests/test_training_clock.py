"""Time is that of the steps: not of pauses within them, of other trainings between them, or of what comes after."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from recipes import POINTS

from amkd_viz.core.pauses import pausable, pause_point
from amkd_viz.objectives import Step
from amkd_viz.runs import Race, prepare
from amkd_viz.training import EpochEnded, Started, Training, events
from amkd_viz.training import Event as Happening
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

    def hear(method: str, event: Happening) -> None:
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


class Event:
    """A CUDA event of a device that finishes nothing before the host waits for it; ``streams`` it was recorded on."""

    streams: ClassVar[list[str | None]] = []
    recorded: ClassVar[list[Event]] = []

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.finished = False

    def record(self, stream: str | None = None) -> None:
        self.streams.append(stream)
        self.recorded.append(self)

    def query(self) -> bool:
        return self.finished

    def synchronize(self) -> None:
        for event in self.recorded[: self.recorded.index(self) + 1]:
            event.finished = True

    def elapsed_time(self, end: Event) -> float:
        return 250.0


@pytest.fixture
def events_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """The events that were recorded, in order."""
    monkeypatch.setattr(Event, "streams", [])
    monkeypatch.setattr(Event, "recorded", [])
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: f"of {device}")
    return Event.recorded


def test_a_gpu_that_is_not_the_current_one_is_timed(events_of_a_gpu: list[Event]) -> None:
    clock = Clock(torch.device("cuda:1"))
    with clock.step():
        pass
    assert Event.streams == ["of cuda:1", "of cuda:1"]
    assert clock.seconds == 0  # it is not waited for
    events_of_a_gpu[-1].synchronize()
    assert clock.seconds == 0.25


def test_the_host_is_at_most_two_steps_ahead_of_a_gpu(events_of_a_gpu: list[Event]) -> None:
    clock, unfinished = Clock(torch.device("cuda:0")), []
    for _ in range(5):
        with clock.step():
            unfinished.append(sum(not event.finished for event in events_of_a_gpu) // 2)
    assert unfinished == [0, 1, 1, 1, 1]  # beside the step that begins
    assert clock.seconds == 3 * 0.25
