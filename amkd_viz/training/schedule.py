"""The learning rate as a function of the step."""

from __future__ import annotations

import math

__all__ = ["drops", "learning_rate"]

WARM_UP = 0.15


def drops(step: int, steps: int, epochs: int) -> int:
    """Return how often schedule ``step`` has divided the rate by ten at a step, counted from 0.

    As in the published code of arXiv 1805.05532, the rate drops at the first steps of the epochs E / 2 and 3 E / 4,
    counted from 1: 40 and 60 of 80. A fraction is rounded up, and the first epoch always has the full rate.

    >>> [drops(epoch - 1, 80, 80) for epoch in (39, 40, 59, 60)]
    [0, 1, 1, 2]
    """
    epoch = step * epochs // steps + 1
    return (2 * epoch >= epochs) + (4 * epoch >= 3 * epochs) if epoch > 1 else 0


def learning_rate(schedule: str, peak: float, step: int, steps: int, epochs: int) -> float:
    """Return the learning rate at ``step``, counted from 0, of all ``steps`` in ``epochs`` epochs."""
    if schedule == "constant":
        return peak
    if schedule == "step":
        return peak * 0.1 ** drops(step, steps, epochs)
    done = step / steps
    if done < WARM_UP:
        return peak * (0.04 + 0.96 * done / WARM_UP)
    return peak * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
