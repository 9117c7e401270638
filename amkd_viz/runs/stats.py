"""Compare the accuracies of two methods over seeds: the paired t-test, or Welch's (Biometrika 34, 1947).

SciPy is not among the requirements of this package, so Student's t is integrated here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "holm", "paired", "t95", "welch"]

NORMAL_95, NORMAL_POWER = 1.960, 0.842  # of the standard normal: two-sided 95 %, and a power of 80 %
ROUNDING = 1e-9  # a standard deviation of shares below it comes from rounding


class Difference(NamedTuple):
    """The difference of two means, in percentage points.

    Attributes:
        points: the one minus the other.
        error: standard error of that.
        freedom: degrees of freedom that the seeds leave to it.
        counts: (n,) pairs of the paired t-test, or (n, n) seeds of Welch's.
    """

    points: float
    error: float
    freedom: float
    counts: tuple[int, ...]

    @property
    def paired(self) -> bool:
        """Whether it is the mean of differences of the same seed."""
        return len(self.counts) == 1

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        half = t95(self.freedom) * self.error
        return self.points - half, self.points + half

    def seeds_to_show(self, points: float) -> int:
        """Return how many seeds a paired t-test needs to find a difference of ``points`` four times in five.

        It takes the spread of the differences seen so far, and the normal distribution; two more seeds stand for
        Student's t.

        >>> Difference(0.5, 1.0, 8.0, (9,)).seeds_to_show(1.0)
        73
        """
        spread = self.error * math.sqrt(self.counts[0])
        return math.ceil(((NORMAL_95 + NORMAL_POWER) * spread / points) ** 2) + 2

    @property
    def p(self) -> float:
        """The two-sided p-value of no difference."""
        return 1 - float(np.interp(abs(self.points) / self.error, *_student(self.freedom)))


def paired(values: Sequence[float], others: Sequence[float]) -> Difference | None:
    """Return the mean difference of n shares in [0, 1] and those of the same seeds, by the paired t-test.

    None if n < 2, or if the differences do not vary, as for bit-equal runs.
    """
    points = [100 * (value - other) for value, other in zip(values, others, strict=True)]
    n = len(points)
    sd = statistics.stdev(points) if n > 1 else 0.0
    return Difference(statistics.fmean(points), sd / math.sqrt(n), n - 1.0, (n,)) if sd > 100 * ROUNDING else None


def welch(mean: float, sd: float, n: int, other_mean: float, other_sd: float, other_n: int) -> Difference | None:
    """Return the difference of two means of shares in [0, 1] over n seeds each, by Welch's t-test.

    None if n < 2 for one of them, or if one does not vary, as bit-equal runs do not.
    """
    if min(n, other_n) < 2 or min(sd, other_sd) <= ROUNDING:
        return None
    own, others = (100 * sd) ** 2 / n, (100 * other_sd) ** 2 / other_n
    freedom = (own + others) ** 2 / (own**2 / (n - 1) + others**2 / (other_n - 1))  # Welch-Satterthwaite
    return Difference(100 * (mean - other_mean), math.sqrt(own + others), freedom, (n, other_n))


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Return which hypotheses Holm's procedure rejects (Scandinavian Journal of Statistics 6, 1979).

    The probability that any of the rejected ones is true is at most ``level``.

    >>> holm([0.01, 0.04, 0.03])
    [True, False, False]
    """
    rejected = [False] * len(p_values)
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] > level / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected


def t95(freedom: float) -> float:
    """Return the standard errors on each side of a 95 % interval: Student's t with ``freedom`` >= 1.

    >>> round(t95(4), 3), round(t95(2.85), 3)
    (2.776, 3.279)
    """
    t, mass = _student(freedom)
    return float(np.interp(0.95, mass, t))


@lru_cache(64)
def _student(freedom: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values t >= 0, and the probability that Student's |t| is below each."""
    freedom = min(freedom, 1e4)
    angle = np.linspace(0, math.pi / 2, 40_001)  # with t = sqrt(v) tan(a) the density is cos(a) ** (v - 1)
    density = np.cos(angle) ** (freedom - 1)
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * np.tan(angle), mass / mass[-1]
