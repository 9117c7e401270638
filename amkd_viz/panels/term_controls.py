"""The controls of a panel by name; those of loss terms are made when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

import ipywidgets as widgets

from amkd_viz.objectives import Objective, Term, methods
from amkd_viz.panels.controls import from_fields, slider
from amkd_viz.views.labels import safe

__all__ = ["Controls", "TermControls", "objective_values"]


class TermControls(dict[str, Any]):
    """TERM.FIELD -> control, of the terms of all methods, each term beneath its title (``_TERM``).

    The controls of a term are made, and hidden, when one of them is first asked for: there are hundreds, and a page
    takes seconds to make them all. ``TERM.scale`` multiplies the scheduled weight of a term.

    Args:
        above: name -> widget, above all terms.
        menus: whether fields that are a choice or a yes or no have a control.

    Attributes:
        names: of all controls, made or not.
        first: name -> value with which a control was made.
        joined: called with the controls of each term that is made.
    """

    def __init__(self, above: Mapping[str, Any] | None = None, menus: bool = True) -> None:
        super().__init__(above or {})
        self._above, self._making = set(self), threading.RLock()
        self._terms: dict[str, Term] = {}
        for name in methods:
            for term, _ in methods[name]().summands:
                self._terms.setdefault(term.label, term)
        self._fields = {
            label: [name for name in _numbers(term) if menus or not _is_choice(term, name)]
            for label, term in self._terms.items()
        }
        self.names = [f"{label}.{name}" for label, own in self._fields.items() for name in ("scale", *own)]
        self.first: dict[str, Any] = {}
        self.joined: Callable[[Mapping[str, Any]], object] = lambda made: None

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.names

    def __missing__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        self._make(name.partition(".")[0])
        return self[name]

    def fit(self, objectives: Iterable[Objective]) -> None:
        """Show the controls of the terms that the objectives have, and hide those of others."""
        labels = {term.label: None for objective in objectives for term, _ in objective.summands}
        for label in labels:
            self._make(label)
        for name, control in list(self.items()):
            if name not in self._above:
                control.layout.display = None if name.lstrip("_").partition(".")[0] in labels else "none"

    def _make(self, label: str) -> None:
        with self._making:
            if f"_{label}" in self or label not in self._terms:
                return
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
            self.joined(made)
            self.update(made)


class Controls(dict[str, Any]):
    """Name -> control; a control of a loss term joins when it is first asked for.

    Attributes:
        more: the controls of loss terms, if the panel has any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.more: list[TermControls] = []

    @property
    def names(self) -> list[str]:
        """Return the names of all controls, made or not."""
        return list(dict.fromkeys([*self, *(name for own in self.more for name in own.names)]))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or any(name in own for own in self.more)

    def __missing__(self, name: str) -> Any:
        for own in self.more:
            if name in own:
                return own[name]  # which adds it here, too
        raise KeyError(name)


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
