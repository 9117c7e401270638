"""The controls of an attack, the attack that they describe, and its call as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples, sample_targets
from amkd_viz.boundary.by_name import OPTIONS, sample_by_name
from amkd_viz.core.rng import generator
from amkd_viz.panels.controls import choice, from_fields
from amkd_viz.training import Recipe
from amkd_viz.views.decisions import logits_at

__all__ = ["attack", "attack_code", "attack_controls", "attack_options", "target_options", "used_by"]

PARAMETERS = {"attack_steps": "steps"}  # fields of a recipe that samplers call otherwise


@dataclass(frozen=True)
class More:
    """Options of samplers that are not in a recipe."""

    space: str = field(
        default="normalised",
        metadata={
            "choices": ("normalised", "pixel"),
            "help": "space of the BSS steps; the published step size is meant for normalised inputs",
        },
    )
    epsilon: int = field(
        default=8, metadata={"low": 1, "high": 128, "help": "largest change of a pixel, in 1/255 (fgsm, noise)"}
    )


def attack_controls(recipe: Recipe) -> dict[str, Any]:
    """Return control name -> widget; the controls start at the recipe's attack.

    Names are those of the recipe's fields, and ``target``, ``space`` and ``epsilon``.
    """
    names = ["sampler", "step_size", "attack_steps", "step_rule"]
    own = from_fields(recipe, names, attack_steps={"high": 40})
    help = "drawn from the net's softmax without its top class; the second most likely class; or a class of your choice"
    target = choice("target", "drawn", target_options([])[:2], help)
    return {"sampler": own.pop("sampler"), "target": target, **own, **from_fields(More())}


def used_by(sampler: str) -> set[str]:
    """Return the names of the controls that the sampler uses."""
    names = ("step_size", "attack_steps", "step_rule", "space", "epsilon")
    return {name for name in names if PARAMETERS.get(name, name) in OPTIONS[sampler]}


def target_options(classes: Iterable[str]) -> list[tuple[str, Any]]:
    """Return the options of the control ``target`` for these class names."""
    return [("drawn", "drawn"), ("second", "second"), *((name, k) for k, name in enumerate(classes))]


def _target(chosen: str | int, logits: Tensor) -> Tensor:
    """Return the target classes (N,) for logits (N, K)."""
    if chosen == "drawn":
        return sample_targets(logits, generator("cpu", "target"))
    return logits.topk(2).indices[:, 1] if chosen == "second" else torch.full((len(logits),), int(chosen))


def attack(net: nn.Module, x: Tensor, values: Mapping[str, Any], target: Tensor | None = None) -> BoundarySamples:
    """Attack inputs x (N, ...) as the control values say, and keep the path.

    Args:
        target: (N,) classes to use in place of the control's.
    """
    if target is None:
        target = _target(values["target"], logits_at(net, x).cpu())
    return sample_by_name(values["sampler"], net, x, target, keep_path=True, **attack_options(values))


def attack_code(net: str, x: str, target: str, values: Mapping[str, Any]) -> str:
    """Return the call of :func:`attack` as Python."""
    options = {name: repr(value) for name, value in attack_options(values).items()}
    if "epsilon" in options:
        options["epsilon"] = f"{values['epsilon']} / 255"
    text = "".join(f", {name}={value}" for name, value in options.items())
    return f"{values['sampler']}({net}, {x}, {target}{text}, keep_path=True)"


def attack_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampler's arguments; epsilon in units of a pixel."""
    options = {PARAMETERS.get(name, name): value for name, value in values.items()}
    options = {name: options[name] for name in OPTIONS[values["sampler"]] if name in options}
    if "epsilon" in options:
        options["epsilon"] = options["epsilon"] / 255
    if "step_size" in options:
        options["step_size"] = round(options["step_size"], 4)  # a slider adds its steps up
    return options
