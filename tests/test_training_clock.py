"""Time is that of the steps: not of pauses within them, of other trainings between them, or of what comes after."""

from __future__ import annotations

import math
import time

import pytest
import torch

from amkd_viz.core.pauses import pausable, pause_point
from amkd_viz.runs import Race
from amkd_viz.training import EpochEnded, Recipe, Stepped, events, prepare
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


def test_what_holds_a_step_is_not_counted() -> None:
    clock = Clock(torch.device("cpu"), 5.0)
    assert math.isnan(clock.median)
    with clock.step():
        time.sleep(0.05)
        with pausable(lambda: time.sleep(0.4)):
            pause_point()
    assert 0.05 <= clock.seconds - 5 < 0.3
    assert 0.05 <= clock.median < 0.3


def test_what_happens_between_two_steps_is_not_counted() -> None:
    training, speeds = prepare(POINTS), []
    for event in events(training):
        if isinstance(event, Stepped | EpochEnded):
            time.sleep(0.1)
        if isinstance(event, EpochEnded):
            speeds.append(event.metrics["images_per_s"])
    assert training.clock.seconds < 0.3
    assert speeds[-1] > 20 * len(training.loader) / 0.1


def test_a_race_counts_each_of_its_methods_alone() -> None:
    race = Race(POINTS, ["ce", "kd"])
    slow = race.trainings["kd"].compute

    def compute(step):  # type: ignore[no-untyped-def]
        time.sleep(0.05)
        return slow(step)

    race.trainings["kd"].compute = compute  # type: ignore[method-assign]
    list(race.events())
    cost, speed = race.step_seconds(), {n: lines[-1]["images_per_s"] for n, lines in race.metrics.items()}
    assert cost["kd"] > 0.05 > 4 * cost["ce"]
    assert speed["ce"] > 4 * speed["kd"]


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
    assert clock.seconds > 50 * 2 * 4096**3 / 1e15
