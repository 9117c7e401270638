"""Compare the accuracies of two methods over seeds: Welch's t-test (Biometrika 34, 1947)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["Difference", "difference", "t95"]


class Difference(NamedTuple):
    """The difference of two means, in percentage points.

    Attributes:
        points: the one minus the other.
        error: standard error of that.
        freedom: degrees of freedom that the seeds leave to it.
    """

    points: float
    error: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        half = t95(self.freedom) * self.error
        return self.points - half, self.points + half

    @property
    def seen(self) -> bool:
        """Whether the interval excludes 0."""
        low, high = self.interval
        return low > 0 or high < 0


def difference(mean: float, sd: float, n: int, other_mean: float, other_sd: float, other_n: int) -> Difference:
    """Return the difference of two shares in [0, 1], each with its standard deviation over n >= 2 seeds."""
    own, others = (100 * sd) ** 2 / n, (100 * other_sd) ** 2 / other_n
    both = own + others
    # Welch-Satterthwaite; without any spread every number of degrees says the same
    freedom = both**2 / (own**2 / (n - 1) + others**2 / (other_n - 1)) if both else n + other_n - 2.0
    return Difference(100 * (mean - other_mean), math.sqrt(both), freedom)


def t95(freedom: float) -> float:
    """Return the standard errors on each side of a 95 % interval: Student's t with ``degrees`` >= 1 of freedom.

    >>> round(t95(4), 3), round(t95(2.85), 3)
    (2.776, 3.279)
    """
    freedom = min(freedom, 1e4)
    angle = np.linspace(0, math.pi / 2, 40_001)  # with t = sqrt(v) tan(a) the density is cos(a) ** (v - 1)
    density = np.cos(angle) ** (freedom - 1)
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(0.95, mass / mass[-1], angle)))
