"""A slider for every number of every term: made from the fields of the terms' dataclasses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from amkd_viz.objectives import Objective, methods
from amkd_viz.panels.controls import from_field, slider

__all__ = ["objective_controls", "objective_values"]

NAMES = {"ce": "labels", "kd": "KD", "boundary_kd": "BSS", "boundary_triplet": "triplets", "triplet": "clean triplets"}
WORDS = {"t2": "× t²", "temperature": "temp."}


def objective_controls() -> dict[str, Any]:
    """TERM.FIELD -> widget for the terms of all methods; ``TERM.scale`` multiplies a term's scheduled weight."""
    made: dict[str, Any] = {}
    for method in methods:
        for term, _ in methods[method]().summands:
            if f"{term.name}.scale" in made:
                continue
            short = NAMES.get(term.name, term.name)
            help = f"multiplies the scheduled weight of {term.name}; at 0 it is not computed"
            made[f"{term.name}.scale"] = slider(f"{short} ×", 1.0, 0.0, 4.0, 0.05, help)
            for field in fields(term):
                value = getattr(term, field.name)
                real = isinstance(field.default, float)
                words = WORDS.get(field.name, field.name.replace("_", " "))
                if field.name in WORDS or term.name == "triplet":
                    words = f"{short.removesuffix(' triplets')} {words}"
                step = (0.05 if field.metadata.get("high", 10) <= 5 else 0.5) if real else None
                made[f"{term.name}.{field.name}"] = from_field(field, float(value) if real else value, words, step)
    return made


def objective_values(objective: Objective) -> dict[str, Any]:
    """TERM.FIELD -> value of the terms that an objective has; a scale is 1: its schedule is its own."""
    found: dict[str, Any] = {}
    for term, _ in objective.summands:
        found[f"{term.name}.scale"] = 1.0
        for field in fields(term):
            value = getattr(term, field.name)
            found[f"{term.name}.{field.name}"] = float(value) if isinstance(field.default, float) else value
    return found
