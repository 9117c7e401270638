"""The numbers of a race that a person may change while it is on, and where each of them goes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

from amkd_viz.objectives import methods
from amkd_viz.panels.controls import from_field, slider
from amkd_viz.runs import Race
from amkd_viz.training import Recipe

__all__ = ["LIVE", "NAMES", "Live", "live_controls", "marks"]


class Live(NamedTuple):
    """A slider: its label, and the fields (of Recipe, or TERM.FIELD) that it sets."""

    label: str
    keys: tuple[str, ...]
    step: float | None = None


LIVE = {
    "margin": Live("margin", ("boundary_triplet.margin",), 0.05),
    "triplet_weight": Live("triplets ×", ("boundary_triplet.scale",), 0.1),
    "bss_weight": Live("boundary KD ×", ("boundary_kd.scale",), 0.1),
    "kd_weight": Live("KD ×", ("kd.scale",), 0.1),
    "temperature": Live("temperature", ("kd.temperature", "boundary_kd.temperature"), 0.5),
    "step_size": Live("step size", ("step_size",)),
    "attack_steps": Live("attack steps", ("attack_steps",), 1),
    "learning_rate": Live("learning rate", ("learning_rate",)),
}
NAMES = {key: name for name, live in LIVE.items() for key in live.keys}  # field -> control


def live_controls(recipe: Recipe) -> dict[str, Any]:
    """Control name -> widget, with the bounds and help of the field that it stands for."""
    own = {field.name: field for field in fields(Recipe)}
    terms = {term.name: term for name in methods for term, _ in methods[name]().parts()}
    made: dict[str, Any] = {}
    for name, (label, keys, step) in LIVE.items():
        term, _, field_name = keys[0].rpartition(".")
        if field_name == "scale":
            made[name] = slider(label, 1.0, 0.0, 4.0, step or 0.1, f"multiplies the scheduled weight of {term}")
        elif term:
            field = next(f for f in fields(terms[term]) if f.name == field_name)
            made[name] = from_field(field, getattr(terms[term], field_name), label, step)
        else:
            value = getattr(recipe, field_name)
            made[name] = from_field(own[field_name], value, label, int(step) if step else None)
    return made


def marks(race: Race) -> list[tuple[float, str]]:
    """(place on the clock, words) of what was changed by hand; a slider dragged through an epoch leaves one."""
    found: dict[tuple[int, str], tuple[float, str]] = {}
    for (epoch, batch), changes in sorted(race.made.items()):
        for key, value in changes.items():
            label = LIVE[NAMES[key]].label if key in NAMES else key
            words = f"{value:g}" if isinstance(value, int | float) else str(value)
            found[epoch, label] = epoch + batch / len(race.first.loader), f"{label} → {words}"
    return list(found.values())
