"""Whether two methods' accuracies differ by more than their seeds do: Welch's t-test (Biometrika 34, 1947)."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Difference", "difference", "t95"]

# two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom
QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Difference(NamedTuple):
    """Of two means, in percentage points.

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
        """That the true difference lies in, 95 times of 100."""
        half = t95(self.freedom) * self.error
        return self.points - half, self.points + half

    @property
    def seen(self) -> bool:
        """Whether the interval leaves out 0."""
        low, high = self.interval
        return low > 0 or high < 0


def difference(mean: float, sd: float, n: int, other_mean: float, other_sd: float, other_n: int) -> Difference:
    """Of two shares in [0, 1], each with its standard deviation over n >= 2 seeds."""
    own, others = (100 * sd) ** 2 / n, (100 * other_sd) ** 2 / other_n
    both = own + others
    # Welch-Satterthwaite; without any spread every number of degrees says the same
    freedom = both**2 / (own**2 / (n - 1) + others**2 / (other_n - 1)) if both else n + other_n - 2.0
    return Difference(100 * (mean - other_mean), math.sqrt(both), freedom)


def t95(freedom: float) -> float:
    """Standard errors on each side of a 95 % interval; between two whole numbers of degrees, the wider one's."""
    whole = max(1, math.floor(freedom + 1e-9))
    return QUANTILES[whole - 1] if whole <= len(QUANTILES) else 1.96 + 2.47 / whole
