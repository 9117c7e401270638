"""Objectives add up: ``ce() + kd(temperature=3) * linear(4, 1)``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import mul
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.fields import Fields, check, option
from amkd_viz.core.registry import Registry
from amkd_viz.models import Classifier, Layer
from amkd_viz.objectives.step import Read, Step, shapes_of
from amkd_viz.objectives.weights import Factor, Schedule, constant

__all__ = ["Follows", "Objective", "Shapes", "Term", "terms", "wire"]

Shapes = Mapping[tuple[str, "Layer | None"], tuple[int, ...]]


@runtime_checkable
class Follows(Protocol):
    """A learned part that acts after each update."""

    def after_step(self, nets: Mapping[str, Classifier]) -> None: ...


class Summand(ABC):
    """A term or a sum of terms: can be scaled and added."""

    @abstractmethod
    def parts(self) -> tuple[tuple[Term, Schedule], ...]: ...

    def __add__(self, other: Summand) -> Objective:
        return Objective(self.parts() + other.parts())

    def __radd__(self, other: int) -> Objective:
        """Support ``sum``, which starts from 0."""
        return Objective(self.parts()) if other == 0 else NotImplemented

    def __mul__(self, weight: float | Schedule | Factor) -> Objective:
        """Scale by a number, a schedule, or a function of the step that gives one number per sample."""
        if isinstance(weight, Summand):  # terms add up; a product of two is a slip
            return NotImplemented
        return Objective(tuple((term, own * weight) for term, own in self.parts()))

    __rmul__ = __mul__


def wire(default: str, help: str) -> Any:
    """Return a field of a term that names a net or a batch: part of the term's label, not of its numbers."""
    return option(default, help, wiring=True)


@dataclass(frozen=True, repr=False)
class Term(Fields, Summand):
    """One loss. Its fields become flags and sliders; ``reads`` says which cells of the step it looks at.

    Attributes:
        name: of the term, in sums, logs and ``--set NAME.FIELD=VALUE``.
        title, unit: heading and unit of its curve. short: its name where there is little room.
        on: the batch over whose samples it is averaged.
        group: what it transfers, for updates with one momentum for each: task (labels), feature or logit.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    short: ClassVar[str] = ""
    on = "clean"
    group: ClassVar[str] = "logit"

    @abstractmethod
    def __call__(self, step: Step) -> Tensor:
        """Return the loss: a scalar, or (N,) one number per sample of the batch ``on`` (weights per sample need it)."""

    def reads(self) -> list[Read]:
        """Return what the term looks at: (net, batch, layer), layer None for logits and features."""
        return [("student", self.on, None), ("teacher", self.on, None)]

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module | None:
        """Return a part that is learned with the student, such as a projector, or None.

        Args:
            shapes: (net, layer) -> shape of one sample, for all that ``reads`` names; ("batch", None) -> the number of
                samples in a batch, and in the training split.
        """
        return None

    @property
    def prefix(self) -> str:
        return f"{self.name}."

    @property
    def label(self) -> str:
        """The name, with nets and batches that differ from the default: ``kd:boundary``, ``kd:peer``."""
        wires = [f for f in fields(self) if f.metadata.get("wiring")]
        return ":".join([self.name, *(v for f in wires if (v := getattr(self, f.name)) != f.default)])

    def parts(self) -> tuple[tuple[Term, Schedule], ...]:
        return ((self, constant(1)),)

    def __str__(self) -> str:
        shown = [f for f in fields(self) if not f.metadata.get("wiring") or getattr(self, f.name) != f.default]
        values = [(f.name, getattr(self, f.name), bool(f.metadata.get("wiring"))) for f in shown]
        inner = ", ".join(
            f"{n}={v:g}" if isinstance(v, float) else f"{n}={v!r}" if w else f"{n}={v}" for n, v, w in values
        )
        return f"{self.name}({inner})"


def _check(name: str, thing: Any) -> type[Term]:
    if not (isinstance(thing, type) and issubclass(thing, Term)):
        raise InputError(f"Term {name!r} must be a subclass of objectives.Term, got {thing!r}.")
    if getattr(thing, "name", name) != name:
        raise InputError(f"Term {thing.__name__} must be registered under its own name {thing.name!r}, got {name!r}.")
    thing.name = name
    return thing


terms: Registry[type[Term]] = Registry("term", _check)


@dataclass(frozen=True)
class Objective(Summand):
    """A weighted sum of terms. Printing it shows the sum with its numbers.

    >>> from amkd_viz.objectives import ce, kd, linear
    >>> print(ce() + kd(temperature=3) * linear(4, 1))
    ce() + 4->1 * kd(temperature=3, t2=False)
    """

    summands: tuple[tuple[Term, Schedule], ...]

    def __post_init__(self) -> None:
        twice = {label for label in self.names if self.names.count(label) > 1}
        if twice:
            raise InputError(
                f"An objective must hold each term once, got {', '.join(sorted(twice))} twice; add the weights."
            )

    def parts(self) -> tuple[tuple[Term, Schedule], ...]:
        return self.summands

    def __str__(self) -> str:
        return " + ".join(f"{w} * {t}" if str(w) != "1" else str(t) for t, w in self.summands)

    @property
    def names(self) -> tuple[str, ...]:
        """The labels of the terms."""
        return tuple(term.label for term, _ in self.summands)

    def weights(self, progress: float) -> dict[str, float]:
        """Return the scheduled weight of each term at ``progress`` = e / E."""
        return {term.label: weight(progress) for term, weight in self.summands}

    def reads(self, progress: float | None = None) -> tuple[Read, ...]:
        """Return what the terms with a weight at ``progress`` look at, each once, in order; None for all terms."""
        found: list[Read] = []
        for term, weight in self.summands:
            if progress is None or weight(progress) != 0:
                found += term.reads()
                found += [read for factor in weight.factors for read in getattr(factor, "reads", ())]
        return tuple(dict.fromkeys(found))

    def batches(self, progress: float | None = None) -> set[str]:
        """Return the names of the batches that are read: the attack runs where "boundary" is among them."""
        return {on for _, on, _ in self.reads(progress)}

    def passes(self, progress: float | None = None) -> dict[str, int]:
        """Return how many batches each net looks at in a step, the attack itself not counted."""
        cells = {(net, on) for net, on, _ in self.reads(progress)}
        return {net: sum(n == net for n, _ in cells) for net in sorted({n for n, _ in cells})}

    def modules(self, nets: Mapping[str, Classifier], sizes: tuple[int, int] = (2, 2)) -> nn.ModuleDict:
        """Make the learned parts of the terms, by label.

        Args:
            sizes: the number of samples in a batch, and in the training split.

        Raises:
            InputError: a term reads a net, or a layer of a net, that does not exist.
        """
        shapes = shapes_of(nets, self.reads()) | {("batch", None): sizes}
        made = {term.label: term.module(shapes, nets) for term, _ in self.summands}
        factors = {getattr(f, "weight", f) for _, weight in self.summands for f in weight.factors}
        made |= {repr(factor): factor.module(nets) for factor in factors if hasattr(factor, "module")}
        return nn.ModuleDict({label: module for label, module in made.items() if module is not None})

    def __call__(self, step: Step) -> Tensor:
        """Return the weighted sum; ``step.terms`` then holds each live term's own value, detached and unweighted.

        A term whose weight is 0 is not called, and what only it reads (the attack, say) is not computed. Cells are
        computed in the order in which the terms read them, so that batch statistics do not depend on a term's code.
        """
        step.reads = self.reads(step.scheduled)
        for net, on, _ in step.reads:
            step.outputs(net, on)
        total = torch.zeros((), device=step.clean.x.device)
        for term, weight in self.summands:
            scheduled = weight(step.scheduled)
            if scheduled == 0:
                continue
            loss = term(step)
            if weight.factors and loss.ndim == 0:
                raise InputError(f"{term.label} gives one number per batch, so it takes no weight per sample.")
            value = step.batch(term.on).mean(loss) if loss.ndim else loss
            step.terms[term.label] = value.detach()
            if weight.factors:
                value = step.batch(term.on).mean(reduce(mul, (factor(step) for factor in weight.factors)) * loss)
            weighted = step.weights.get(term.label, scheduled) * value
            if step.losses is not None:
                step.losses[term.group] = step.losses.get(term.group, 0) + weighted
            total = total + weighted
        return total

    def changed(self, **overrides: Any) -> Objective:
        """Return the same sum with other numbers: ``changed(**{"kd.temperature": 4, "kd.weight": 1, "kd.scale": 2})``.

        ``TERM.FIELD`` sets a field, ``TERM.weight`` a constant weight, and ``TERM.scale`` multiplies the schedule.
        """
        parts = dict(zip(self.names, self.summands, strict=True))
        for key, value in self.plain(overrides).items():
            label, _, name = key.partition(".")
            term, weight = parts[label]
            if name == "weight":
                parts[label] = (term, replace(weight, start=value, end=value, until=1.0))
            elif name == "scale":
                parts[label] = (term, weight * value)
            else:
                parts[label] = (replace(term, **{name: value}), weight)
        return Objective(tuple(parts.values()))

    def plain(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the overrides as Python's own numbers and texts, in the types of the fields: for JSON, and for a hash.

        Raises:
            InputError: an override names no term or field, or has a value that the field does not accept.
        """
        found: dict[str, Any] = {}
        by_label = {term.label: term for term, _ in self.summands}
        for key, value in overrides.items():
            label, _, name = key.partition(".")
            if label not in by_label:
                raise unknown("term", label, by_label)
            numbers = {f.name: f for f in fields(by_label[label]) if not f.metadata.get("wiring")}
            if name in ("weight", "scale"):
                # below 0 a student would be pushed away from what the term asks for
                found[key] = check(key, value, "float", {"low": 0.0})
                if math.isinf(found[key]):
                    raise InputError(f"{key} must be finite, got {value}.")
            elif name in numbers:
                found[key] = check(key, value, numbers[name].type, numbers[name].metadata)
            else:
                raise unknown(f"field of {label}", name, ["weight", "scale", *numbers])
        return found
