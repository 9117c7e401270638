"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from itertools import pairwise

from amkd_viz.core.errors import InputError, unknown

__all__ = ["SCHEDULES", "check_schedule", "drops", "learning_rate"]

WARM_UP = 0.15
MILESTONES = "milestones:"


class _Schedules(tuple[str, ...]):
    """The names of schedules, and all words that begin like milestones; ``check_schedule`` reads the rest."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).startswith(MILESTONES)


SCHEDULES = _Schedules(("onecycle", "step", "constant"))


def check_schedule(schedule: str) -> tuple[int, ...]:
    """Return the milestones of a schedule: numbers of whole epochs after which the rate is divided by ten.

    Raises:
        InputError: an unknown schedule, or milestones that are not rising numbers of epochs.

    >>> check_schedule("milestones:150,180,210"), check_schedule("constant")
    ((150, 180, 210), ())
    """
    if schedule not in SCHEDULES:
        raise unknown("schedule", schedule, [*SCHEDULES, f"{MILESTONES}150,180,210"])
    if not schedule.startswith(MILESTONES):
        return ()
    words = schedule.removeprefix(MILESTONES).split(",")
    found = tuple(int(word) if word.isdecimal() else 0 for word in words)
    if 0 in found or any(a >= b for a, b in pairwise(found)):
        raise InputError(f"schedule must be {MILESTONES} with rising numbers of epochs, got {schedule!r}.")
    return found


def drops(step: int, steps: int, epochs: int) -> int:
    """Return how often schedule ``step`` has divided the rate by ten at a step, counted from 0.

    As in the published code of arXiv 1805.05532, the rate drops at the first steps of the epochs E / 2 and 3 E / 4,
    counted from 1: 40 and 60 of 80. A fraction is rounded up, and the first epoch always has the full rate.

    >>> [drops(epoch - 1, 80, 80) for epoch in (39, 40, 59, 60)]
    [0, 1, 1, 2]
    """
    epoch = step * epochs // steps + 1
    return (2 * epoch >= epochs) + (4 * epoch >= 3 * epochs) if epoch > 1 else 0


def learning_rate(schedule: str, peak: float, step: int, steps: int, epochs: int, warm_up: int = 0) -> float:
    """Return the learning rate at ``step``, counted from 0, of all ``steps`` in ``epochs`` epochs.

    Args:
        warm_up: epochs in which the rate rises linearly, from the first step's share of them to all.

    Raises:
        InputError: see ``check_schedule``.

    >>> [learning_rate("milestones:2,3", 0.1, step, 40, 4) for step in (0, 19, 20, 39)]
    [0.1, 0.1, 0.01, 0.001]
    """
    milestones, done = check_schedule(schedule), step / steps
    if warm_up:
        peak *= min(1.0, (step + 1) * epochs / (steps * warm_up))
    if schedule == "onecycle":
        if done < WARM_UP:
            return peak * (0.04 + 0.96 * done / WARM_UP)
        return peak * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
    if schedule == "step":
        return peak * 0.1 ** drops(step, steps, epochs)
    return peak / 10 ** sum(step * epochs // steps >= epoch for epoch in milestones)
