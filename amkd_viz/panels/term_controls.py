"""The controls of the loss terms of all methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import ipywidgets as widgets

from amkd_viz.objectives import Objective, Term, methods
from amkd_viz.panels.controls import from_fields, slider
from amkd_viz.panels.made_later import MadeLater
from amkd_viz.views.labels import safe

__all__ = ["TermControls", "objective_values"]


class TermControls(MadeLater):
    """TERM.FIELD -> control, of the loss terms of all methods, each term beneath its title (``_TERM``).

    The controls of a term are made together, and hidden. ``TERM.scale`` multiplies the scheduled weight of a term.

    Args:
        above: name -> widget, above all terms.
        menus: whether fields that are a choice or a yes or no have a control.

    Attributes:
        first: name -> value with which a control was made.
    """

    def __init__(self, above: Mapping[str, Any] | None = None, menus: bool = True) -> None:
        self._terms: dict[str, Term] = {}
        for name in methods:
            for term, _ in methods[name]().summands:
                self._terms.setdefault(term.label, term)
        self._fields = {
            label: [name for name in _numbers(term) if menus or not _is_choice(term, name)]
            for label, term in self._terms.items()
        }
        self.first: dict[str, Any] = {}
        names = [f"{label}.{name}" for label, own in self._fields.items() for name in ("scale", *own)]
        super().__init__(names, self._term, above)
        self._above = set(self)

    def fit(self, objectives: Iterable[Objective]) -> None:
        """Show the controls of the terms that the objectives have, and hide those of others."""
        labels = {term.label: None for objective in objectives for term, _ in objective.summands}
        for label in labels:
            self[f"{label}.scale"]
        for name, control in list(self.items()):
            if name not in self._above:
                control.layout.display = None if name.lstrip("_").partition(".")[0] in labels else "none"

    def unfold(self) -> None:
        """Make nothing: ``fit`` says which terms are on show."""

    def _term(self, name: str) -> dict[str, Any]:
        label = name.partition(".")[0]
        term = self._terms[label]
        help = f"multiplies the scheduled weight of {label}; at 0 it is not computed"
        made = {
            f"_{label}": widgets.HTML(f"<b>{safe(term.title or label)}</b>"),
            f"{label}.scale": slider("weight ×", 1.0, 0.0, 4.0, 0.05, help),
        }
        made |= {f"{label}.{name}": own for name, own in from_fields(term, self._fields[label]).items()}
        for control in made.values():
            control.layout.display = "none"
        self.first |= {name: control.value for name, control in made.items()}
        return made


def objective_values(objective: Objective) -> dict[str, Any]:
    """Return TERM.FIELD -> value for the terms of an objective; each scale is 1."""
    values: dict[str, Any] = {}
    for term, _ in objective.summands:
        values[f"{term.label}.scale"] = 1.0
        values |= {f"{term.label}.{name}": getattr(term, name) for name in _numbers(term)}
    return values


def _numbers(term: Term) -> list[str]:
    """Return the fields of a term that are settings, not names of nets or batches."""
    return [field.name for field in fields(term) if not field.metadata.get("wiring")]


def _is_choice(term: Term, name: str) -> bool:
    about = next(field.metadata for field in fields(term) if field.name == name)
    return "choices" in about or isinstance(getattr(term, name), bool)
