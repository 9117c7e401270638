"""Weights of terms: schedules over training, and numbers per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import Fields

if TYPE_CHECKING:
    from amkd_viz.objectives.step import Step

__all__ = ["Factor", "Schedule", "constant", "linear"]

# A weight per sample: a function of the step that returns a number or (N,) numbers, one for each row of the batch that
# the term reads. It may have an attribute ``reads``, a list as ``Term.reads`` returns, for what the term does not read.
Factor = Callable[["Step"], "float | Tensor"]


@dataclass(frozen=True)
class Schedule:
    """A weight that goes from ``start`` to ``end``, linearly in the progress e / E, and is constant from ``until`` on.

    Attributes:
        factors: functions of the step that multiply it, one number per sample.

    >>> weight = linear(2, 0, until=0.75)
    >>> weight(0), weight(0.375), weight(0.9)
    (2.0, 1.0, 0.0)
    """

    start: float
    end: float
    until: float = 1.0
    factors: tuple[Factor, ...] = ()

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.end)):
            raise InputError(f"A weight must be finite, got {self.start} and {self.end}.")
        if not 0 < self.until <= 1:
            raise InputError(f"until must be in (0, 1], a share of training, got {self.until}.")

    def __call__(self, progress: float) -> float:
        """Return the scheduled number at ``progress`` in [0, 1], without the factors."""
        return float(self.start + (self.end - self.start) * min(progress / self.until, 1.0))

    def __mul__(self, other: Any) -> Schedule:
        """Multiply by a number, by a function of the step, or by a schedule (one of the two must be constant).

        Raises:
            InputError: both schedules change over training.
        """
        if isinstance(other, Schedule):
            steady, moving = (other, self) if other.start == other.end else (self, other)
            if steady.start != steady.end:
                raise InputError(f"A weight must have one schedule, got {self} and {other}; make one of them constant.")
            return replace(moving * steady.start, factors=self.factors + other.factors)
        if isinstance(other, int | float):
            return replace(self, start=self.start * float(other), end=self.end * float(other))
        if not callable(other) or hasattr(other, "parts"):  # terms and sums of terms scale by a schedule themselves
            return NotImplemented
        return replace(self, factors=(*self.factors, other))

    __rmul__ = __mul__

    def __str__(self) -> str:
        words = []
        if self.start != self.end:
            words.append(f"{self.start:g}->{self.end:g}" + (f" (until {self.until:.0%})" if self.until < 1 else ""))
        elif self.start != 1:
            words.append(f"{self.start:g}")
        return " * ".join([*words, *map(_name, self.factors)]) or "1"


def _name(factor: Factor) -> str:
    """The code of a weight with fields; else the name of the function, or of what made it (``f.<locals>.w``)."""
    if isinstance(factor, Fields):
        return repr(factor)
    return str(getattr(factor, "__qualname__", type(factor).__name__)).partition(".")[0]


def linear(start: float, end: float, *, until: float = 1.0) -> Schedule:
    """Return a weight that goes linearly from ``start`` to ``end``, reached at the share ``until`` of training."""
    return Schedule(float(start), float(end), float(until))


def constant(value: float) -> Schedule:
    """Return a weight that stays at ``value``."""
    return Schedule(float(value), float(value))
