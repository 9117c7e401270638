"""Weights that depend on the progress of training."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from amkd_viz.core.errors import InputError

__all__ = ["Schedule", "constant", "linear"]


@dataclass(frozen=True)
class Schedule:
    """From ``start`` to ``end``, linear in the progress e / E in [0, 1], constant from ``until`` on.

    >>> weight = linear(2, 0, until=0.75)
    >>> weight(0), weight(0.375), weight(0.9)
    (2.0, 1.0, 0.0)
    """

    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.end)):
            raise InputError(f"A weight must be finite, not {self.start} or {self.end}.")
        if not 0 < self.until <= 1:
            raise InputError(f"A schedule ends at a share of training in (0, 1], not at until={self.until}.")

    def __call__(self, progress: float) -> float:
        return float(self.start + (self.end - self.start) * min(progress / self.until, 1.0))

    def __mul__(self, factor: float) -> Schedule:
        if not isinstance(factor, int | float):
            return NotImplemented  # a term: it knows how to be scaled
        return Schedule(self.start * factor, self.end * factor, self.until)

    __rmul__ = __mul__

    def __str__(self) -> str:
        if self.start == self.end:
            return f"{self.start:g}"
        return f"{self.start:g}->{self.end:g}" + (f" (until {self.until:.0%})" if self.until < 1 else "")


def linear(start: float, end: float, *, until: float = 1.0) -> Schedule:
    """A weight that goes linearly from ``start`` to ``end``, reached at the share ``until`` of the epochs."""
    return Schedule(float(start), float(end), float(until))


def constant(value: float) -> Schedule:
    """A weight that stays."""
    return Schedule(float(value), float(value))
