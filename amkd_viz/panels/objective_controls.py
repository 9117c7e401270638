"""A control for every number of every term, made from the fields of the terms' dataclasses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import ipywidgets as widgets

from amkd_viz.objectives import Objective, Term, methods
from amkd_viz.panels.controls import from_fields, slider

__all__ = ["fit_objective", "objective_controls", "objective_values"]


def objective_controls() -> dict[str, Any]:
    """Return TERM.FIELD -> control for the terms of all methods, each term beneath its title (``_TERM``).

    ``TERM.scale`` multiplies the scheduled weight of a term.
    """
    made: dict[str, Any] = {}
    for term in [term for name in methods for term, _ in methods[name]().summands]:
        if f"_{term.label}" in made:
            continue
        made[f"_{term.label}"] = widgets.HTML(f"<b>{term.title or term.label}</b>")
        help = f"multiplies the scheduled weight of {term.label}; at 0 it is not computed"
        made[f"{term.label}.scale"] = slider("weight ×", 1.0, 0.0, 4.0, 0.05, help)
        made |= {f"{term.label}.{name}": control for name, control in from_fields(term, _numbers(term)).items()}
    return made


def objective_values(objective: Objective) -> dict[str, Any]:
    """Return TERM.FIELD -> value for the terms of an objective; each scale is 1."""
    values: dict[str, Any] = {}
    for term, _ in objective.summands:
        values[f"{term.label}.scale"] = 1.0
        values |= {f"{term.label}.{name}": getattr(term, name) for name in _numbers(term)}
    return values


def fit_objective(controls: dict[str, Any], objectives: list[Objective]) -> None:
    """Hide the controls of the terms that none of the objectives has."""
    terms = {term.label for objective in objectives for term, _ in objective.summands}
    for name, control in controls.items():
        control.layout.display = None if name.lstrip("_").partition(".")[0] in terms else "none"


def _numbers(term: Term) -> list[str]:
    """Return the fields of a term that are settings, not names of nets or batches."""
    return [field.name for field in fields(term) if not field.metadata.get("wiring")]
