"""A recipe as controls, and controls as a recipe."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from amkd_viz.data import status
from amkd_viz.models import architectures
from amkd_viz.objectives import methods
from amkd_viz.panels.controls import LABEL, choice, from_field, pairs, slider
from amkd_viz.panels.objective_controls import objective_controls, objective_values
from amkd_viz.training import Recipe
from amkd_viz.training.training import LIVE

__all__ = ["DistillForm"]

TYPED = ("epochs", "batch_size", "seed", "precision", "sampler", "step_rule", "boundary_bn")
CHOSEN = ("dataset", "teacher", "student", "method", "device")
Put = Callable[..., None]


class DistillForm:
    """The settings of a distillation, in groups that fold.

    Attributes:
        terms: TERM.FIELD -> control, of every method's terms.
        groups: heading -> name -> control, as ``Panel.assemble`` takes them. Names are those of the recipe's fields;
            ``labelled`` is ``num_train``, 0 for all.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.terms = objective_controls()
        self._sum = widgets.HTML()
        fields = recipe.__dataclass_fields__
        help = {name: str(field.metadata.get("help", "")) for name, field in fields.items()}
        there = {line.name: line.found for line in status(recipe.root)}
        data = [(name if found else f"{name} (not found)", name) for name, found in there.items()]
        data += [(recipe.dataset, recipe.dataset)] if recipe.dataset not in there else []
        files = [*architectures(), *sorted(map(str, Path().glob("*.safetensors")))]
        devices = list(dict.fromkeys(["auto", "cpu", "cuda", recipe.device]))
        typed = {n: from_field(fields[n], getattr(recipe, n), n.replace("_", " ")) for n in TYPED}
        labelled = widgets.BoundedIntText(value=recipe.num_train or 0, min=0, max=10**7, description="labelled")
        labelled.style, labelled.tooltip = LABEL, f"{help['num_train']}; 0 for all"
        rate = slider("learning rate", recipe.learning_rate, 1e-4, 1.0, 0.02, help["learning_rate"], log=True)
        self.groups: dict[str, dict[str, Any]] = {
            "Problem": {
                "dataset": choice("data", recipe.dataset, data, help["dataset"]),
                "teacher": choice("teacher", recipe.teacher, _with(files, recipe.teacher), help["teacher"]),
                "student": choice("student", recipe.student, architectures(), help["student"]),
                "method": choice("method", recipe.method, list(methods), help["method"]),
                "labelled": labelled,
            },
            "Objective": {"_sum": self._sum, **self.terms},
            "Attack": {
                "step_size": slider("step size", recipe.step_size, 0.05, 3.0, 0.05, help["step_size"]),
                "attack_steps": slider("steps", recipe.attack_steps, 1, 40, 1, help["attack_steps"]),
                "max_boundary_samples": slider(
                    "max_boundary_samples",
                    recipe.max_boundary_samples,
                    1,
                    max(256, recipe.max_boundary_samples),
                    1,
                    help["max_boundary_samples"],
                ),
                **{name: typed[name] for name in ("sampler", "step_rule", "boundary_bn")},
            },
            "Training": {
                "learning_rate": rate,
                **{name: typed[name] for name in ("epochs", "batch_size", "seed", "precision")},
                "device": choice("device", recipe.device, devices, help["device"]),
            },
        }

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """What controls with these values describe; what has no control stays as the recipe said.

        Raises:
            InputError: they do not fit together.
        """
        own = objective_values(methods[values["method"]]())
        # a constant weight has no slider: it stays, and the slider scales it
        kept = {k: v for k, v in self._recipe.overrides.items() if k.endswith(".weight") and f"{k[:-7]}.scale" in own}
        changes = kept | {name: values[name] for name, default in own.items() if values[name] != default}
        return self._recipe.replace(
            overrides=changes,
            num_train=values["labelled"] or None,
            **{name: values[name] for name in (*TYPED, *LIVE, *CHOSEN)},
        )

    def fit(self, recipe: Recipe, put: Put) -> None:
        """Set the controls to a recipe; ``put`` writes traits of a control without its being heard."""
        self._recipe = recipe
        controls = {name: control for group in self.groups.values() for name, control in group.items()}
        for name in (*TYPED, *LIVE, *CHOSEN):
            control, value = controls[name], getattr(recipe, name)
            if isinstance(control, widgets.Dropdown):
                put(name, options=_with(control.options, value), value=value)
            elif isinstance(control, widgets.FloatLogSlider) or not hasattr(control, "max"):
                put(name, value=value)
            else:
                put(name, max=max(control.max, value), value=value)
        put("labelled", value=recipe.num_train or 0)
        self.fit_terms(recipe, put)

    def fit_terms(self, recipe: Recipe, put: Put) -> None:
        """Sliders of the terms that the method has; the others are hidden."""
        values = objective_values(recipe.objective)
        values |= {name: float(v) for name, v in recipe.overrides.items() if name.endswith(".scale")}
        for name, control in self.terms.items():
            control.layout.display = None if name in values else "none"
            if name in values:
                put(name, value=values[name])
        self.show_sum(recipe)

    def show_sum(self, recipe: Recipe) -> None:
        """The objective with its numbers, above its sliders."""
        self._sum.value = f"<code>{html.escape(str(recipe.objective))}</code>"


def _with(options: Any, value: Any) -> list[Any]:
    """Options of a menu, ``value`` among them."""
    there = [option[1] if isinstance(option, tuple) else option for option in options]
    return pairs(options if value in there else [*options, value])
