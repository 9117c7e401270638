"""The learning rate as a function of the share of steps done."""

from __future__ import annotations

import math

__all__ = ["learning_rate"]

WARM_UP = 0.15


def learning_rate(schedule: str, peak: float, done: float) -> float:
    """Return the learning rate at the share ``done`` in [0, 1] of all steps.

    ``step`` is the published one of arXiv 1805.05532 (0.1, 0.01, 0.001 from epochs 40 and 60 of 80).

    >>> [round(learning_rate("step", 0.1, e / 80), 4) for e in (0, 39, 40, 60)]
    [0.1, 0.1, 0.01, 0.001]
    """
    if schedule == "constant":
        return peak
    if schedule == "step":
        return peak * 0.1 ** ((done >= 0.5) + (done >= 0.75))
    if done < WARM_UP:
        return peak * (0.04 + 0.96 * done / WARM_UP)
    return peak * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
