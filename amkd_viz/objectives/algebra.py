"""Objectives add up: ``ce() + kd(temperature=3) * linear(4, 1)``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.models import Classifier
from amkd_viz.objectives.step import Step
from amkd_viz.objectives.weights import Schedule, constant

__all__ = ["Objective", "Term"]


class Summand(ABC):
    """What can be scaled and added."""

    @abstractmethod
    def parts(self) -> tuple[tuple[Term, Schedule], ...]: ...

    def __add__(self, other: Summand) -> Objective:
        return Objective(self.parts() + other.parts())

    def __radd__(self, other: int) -> Objective:
        """For ``sum``, which starts from 0."""
        return Objective(self.parts()) if other == 0 else NotImplemented

    def __mul__(self, weight: float | Schedule) -> Objective:
        if isinstance(weight, Schedule):
            if any(own.start != own.end for _, own in self.parts()):
                raise InputError(
                    f"'{self}' has a schedule already; multiply it by a number or schedule its terms singly."
                )
            return Objective(tuple((term, weight * own.start) for term, own in self.parts()))
        return Objective(tuple((term, own * float(weight)) for term, own in self.parts()))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Term(Summand):
    """One loss: reads what it needs from the lazy ``Step``, returns a scalar. Its fields become flags and sliders."""

    name: ClassVar[str]
    on_boundary: ClassVar[bool] = False  # reads step.boundary

    def __post_init__(self) -> None:
        """Fields in the type of their defaults, and within "low" and "high" or among "choices" of their metadata."""
        for f in fields(self):
            key, value, about = f"{self.name}.{f.name}", getattr(self, f.name), f.metadata
            if f.default is not MISSING:
                value = _like(f.default, value, key)
                object.__setattr__(self, f.name, value)
            if value not in about.get("choices", [value]):
                raise unknown(key, value, about["choices"])
            low, high = about.get("low", -math.inf), about.get("high", math.inf)
            if isinstance(value, int | float) and not low <= value <= high:
                raise InputError(f"{key} must lie between {low:g} and {high:g}, not {value:g}.")

    @abstractmethod
    def __call__(self, step: Step) -> Tensor: ...

    def module(self, teacher: Classifier, student: Classifier) -> nn.Module | None:
        """A part that is learned with the student (a projection), or None."""
        return None

    def parts(self) -> tuple[tuple[Term, Schedule], ...]:
        return ((self, constant(1)),)

    def __str__(self) -> str:
        inner = ", ".join(
            f"{f.name}={v:g}" if isinstance(v := getattr(self, f.name), float) else f"{f.name}={v}"
            for f in fields(self)
        )
        return f"{self.name}({inner})"


@dataclass(frozen=True)
class Objective(Summand):
    """A weighted sum of terms. Printing it shows the sum with its numbers.

    >>> from amkd_viz.objectives import ce, kd, linear
    >>> print(ce() + kd(temperature=3) * linear(4, 1))
    ce() + 4->1 * kd(temperature=3, t2=False)
    """

    summands: tuple[tuple[Term, Schedule], ...]

    def __post_init__(self) -> None:
        names = [term.name for term, _ in self.summands]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(
                f"An objective holds each term once, but has {', '.join(sorted(twice))} twice; add the weights."
            )

    def parts(self) -> tuple[tuple[Term, Schedule], ...]:
        return self.summands

    def __str__(self) -> str:
        return " + ".join(f"{w} * {t}" if (w.start, w.end) != (1, 1) else str(t) for t, w in self.summands)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(term.name for term, _ in self.summands)

    def weights(self, progress: float) -> dict[str, float]:
        """The weight of each term at ``progress`` = e / E."""
        return {term.name: weight(progress) for term, weight in self.summands}

    def reads_boundary(self, progress: float) -> bool:
        """Whether a term that is live at ``progress`` reads boundary samples: whether the attack will run."""
        return any(term.on_boundary and weight(progress) != 0 for term, weight in self.summands)

    def modules(self, teacher: Classifier, student: Classifier) -> nn.ModuleDict:
        """The learned parts of the terms, to be trained with the student."""
        made = {term.name: term.module(teacher, student) for term, _ in self.summands}
        return nn.ModuleDict({name: module for name, module in made.items() if module is not None})

    def __call__(self, step: Step) -> Tensor:
        """The weighted sum; ``step.terms`` then holds each live term's own value (detached, unweighted, on the device).

        A term whose weight is 0 is not called, so what only it asks for (the attack, say) is never computed.
        """
        total = torch.zeros((), device=step.x.device)
        step.reads_boundary = self.reads_boundary(step.progress)
        for term, schedule in self.summands:
            weight = schedule(step.progress)
            if weight != 0:
                value = term(step)
                step.terms[term.name] = value.detach()
                total = total + step.weights.get(term.name, weight) * value
        return total

    def changed(self, **changes: Any) -> Objective:
        """The same sum with other numbers: ``changed(**{"kd.temperature": 4, "kd.weight": 1, "kd.scale": 0.5})``.

        ``TERM.FIELD`` sets a field, ``TERM.weight`` a constant weight, and ``TERM.scale`` multiplies the schedule.
        """
        parts = dict(zip(self.names, self.summands, strict=True))
        for key, value in self.plain(changes).items():
            name, _, field = key.partition(".")
            term, schedule = parts[name]
            if field == "weight":
                parts[name] = (term, constant(value))
            elif field == "scale":
                parts[name] = (term, schedule * value)
            else:
                parts[name] = (replace(term, **{field: value}), schedule)
        return Objective(tuple(parts.values()))

    def plain(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The same changes as Python's own numbers and texts, in the types of the fields: for JSON, and for a hash.

        Raises:
            InputError: no such term or field, or a value of another kind.
        """
        terms = {term.name: term for term, _ in self.summands}
        found = {}
        for key, value in changes.items():
            name, _, field = key.partition(".")
            if name not in terms:
                raise unknown("term", name, terms)
            defaults = {"weight": 1.0, "scale": 1.0} | {f.name: f.default for f in fields(terms[name])}
            if field not in defaults:
                raise unknown(f"field of {name}", field, defaults)
            found[key] = _like(defaults[field], value, key)
            # below 0 a student would be pushed away from what the term asks for
            if field in ("weight", "scale") and not 0 <= found[key] < math.inf:
                raise InputError(f"{key} must be finite and at least 0, not {found[key]:g}.")
        return found


def _like(old: Any, value: Any, key: str) -> Any:
    """``value`` in the type of the field's default; texts come from the command line."""
    if isinstance(old, bool):
        if str(value).lower() not in ("true", "false", "0", "1"):
            raise InputError(f"{key} is true or false, not {value!r}.")
        return str(value).lower() in ("true", "1")
    try:
        if isinstance(value, bool):
            raise TypeError
        return type(old)(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{key} takes a {type(old).__name__}, not {value!r}.") from error
