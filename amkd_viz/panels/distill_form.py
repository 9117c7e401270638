"""A recipe as controls, and controls as a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from amkd_viz.data import status
from amkd_viz.models import architectures
from amkd_viz.objectives import methods
from amkd_viz.panels.controls import from_fields, pairs, shown_number, with_values
from amkd_viz.panels.term_controls import TermControls, objective_values
from amkd_viz.training import Recipe
from amkd_viz.views.labels import safe

__all__ = ["DistillForm"]

GROUPS = {  # heading -> fields of Recipe
    "Problem": ("dataset", "teacher", "student", "method", "num_train"),
    "Objective": (),
    "Attack": ("step_size", "attack_steps", "max_boundary_samples", "sampler", "step_rule", "boundary_bn"),
    "Training": ("learning_rate", "epochs", "batch_size", "seed", "precision", "device"),
}
FIELDS = tuple(name for fields in GROUPS.values() for name in fields)
Put = Callable[..., None]


class DistillForm:
    """The settings of a distillation, in groups that fold.

    Attributes:
        terms: TERM.FIELD -> control, of every method's terms, made when needed.
        groups: heading -> name -> control, as ``Panel.assemble`` takes them. Names are those of the recipe's fields;
            0 for ``num_train`` means all.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._sum = widgets.HTML()
        self.terms = TermControls({"_sum": self._sum})
        present = {line.name: line.found for line in status(recipe.root)}
        files = [*architectures(), *sorted(map(str, Path().glob("*.safetensors")))]
        choices = {
            "dataset": [(name if there else f"{name} (not found)", name) for name, there in present.items()],
            "teacher": files,
            "student": architectures(),
            "method": list(methods),
            "device": ["auto", "cpu", "cuda"],
        }
        controls = from_fields(recipe, FIELDS, **{name: {"choices": options} for name, options in choices.items()})
        self.groups: dict[str, dict[str, Any]] = {
            heading: {name: controls[name] for name in names} for heading, names in GROUPS.items()
        }
        self.groups["Objective"] = self.terms

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """Return what controls with these values describe; settings without a control stay.

        Raises:
            InputError: the values do not fit together.
        """
        default = objective_values(methods[values["method"]]())
        # a constant weight has no slider: it stays, and the slider scales it
        kept = {
            k: v for k, v in self._recipe.overrides.items() if k.endswith(".weight") and f"{k[:-7]}.scale" in default
        }
        numbers = {name: values[name] for name, value in default.items() if values.get(name, value) != value}
        fields = {name: values[name] for name in FIELDS}
        return with_values(self._recipe.replace(method=values["method"], overrides={}), fields).replace(
            overrides=kept | numbers
        )

    def also(self, **fields: Any) -> None:
        """Replace settings that have no control."""
        self._recipe = self._recipe.replace(**fields)

    def fit(self, recipe: Recipe, put: Put) -> None:
        """Set the controls to a recipe; ``put`` changes traits of a control without calling ``changed``."""
        self._recipe = recipe
        controls = {name: control for group in self.groups.values() for name, control in group.items()}
        for name in FIELDS:
            control, value = controls[name], getattr(recipe, name)
            if isinstance(control, widgets.Dropdown):
                known = dict(control.options).values()
                put(name, options=pairs(control.options if value in known else [*control.options, value]), value=value)
            elif isinstance(control, widgets.FloatLogSlider):
                put(name, max=max(control.max, math.log10(value)), min=min(control.min, math.log10(value)), value=value)
            elif not hasattr(control, "max"):
                put(name, value=value)
            else:
                value = shown_number(value) or 0  # which stands for a word, and for None
                put(name, max=max(control.max, value), value=value)
        self.fit_terms(recipe, put)

    def fit_terms(self, recipe: Recipe, put: Put) -> None:
        """Set the controls of the method's terms, and hide those of others."""
        values = objective_values(recipe.objective)
        values |= {name: float(v) for name, v in recipe.overrides.items() if name.endswith(".scale")}
        self.terms.fit([recipe.objective])
        for name, value in values.items():
            if name in self.terms:
                put(name, value=value)
        self.show_sum(recipe)

    def show_sum(self, recipe: Recipe) -> None:
        """Show the objective with its numbers, above its sliders."""
        self._sum.value = f"<code>{safe(str(recipe.objective))}</code>"
