"""The controls of an attack, the attack that they describe, and its call as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples, Sampler, sample_targets, samplers
from amkd_viz.core.rng import generator
from amkd_viz.panels.controls import choice, from_fields, with_values
from amkd_viz.training import Recipe
from amkd_viz.training.recipe import SHARED
from amkd_viz.views.decisions import logits_at

__all__ = ["attack", "attack_code", "attack_controls", "sampler_of", "target_options", "used_by"]

CONTROLS = {field: name for name, field in SHARED.items()}  # field of a sampler -> field of a recipe, which names it


def attack_controls(recipe: Recipe) -> dict[str, Any]:
    """Return control name -> widget: sampler, target class, and every field of every sampler.

    Names are those of the recipe's fields, at whose values the controls start, or of the sampler's.
    """
    made = from_fields(recipe, ["sampler", *SHARED], attack_steps={"high": 40}, step_size={"words": ()})
    help = "drawn from the net's softmax without its top class; the second most likely class; or a class of your choice"
    made = {"sampler": made.pop("sampler"), "target": choice("target", "drawn", target_options([]), help), **made}
    for kind in samplers.values():
        new = [field.name for field in fields(kind) if CONTROLS.get(field.name, field.name) not in made]
        made |= from_fields(kind(), new)
    return made


def used_by(sampler: str) -> set[str]:
    """Return the names of the controls that the sampler uses."""
    return {CONTROLS.get(field.name, field.name) for field in fields(samplers[sampler])}


def target_options(classes: Iterable[str]) -> list[tuple[str, Any]]:
    """Return the options of the control ``target`` for these class names."""
    return [("drawn", "drawn"), ("second", "second"), *((name, k) for k, name in enumerate(classes))]


def sampler_of(values: Mapping[str, Any]) -> Sampler:
    """Return the sampler that control values, or a recipe's fields, describe."""
    return with_values(samplers[values["sampler"]](), {SHARED.get(name, name): v for name, v in values.items()})


def attack(net: nn.Module, x: Tensor, values: Mapping[str, Any], target: Tensor | None = None) -> BoundarySamples:
    """Attack inputs x (N, ...) as the control values say, and keep the path.

    Args:
        target: (N,) classes to use in place of the control's.
    """
    if target is None:
        logits, chosen = logits_at(net, x).cpu(), values["target"]
        if chosen == "drawn":
            # each as if it were alone: an image that is chosen among others is then attacked in the same way
            target = torch.cat([sample_targets(own, generator("cpu", "target")) for own in logits.split(1)])
        else:
            second = chosen == "second"
            target = logits.topk(2).indices[:, 1] if second else torch.full((len(logits),), int(chosen))
    return sampler_of(values).trajectory(net, x, target, generator("cpu", "attack"))


def attack_code(net: str, x: str, target: str, values: Mapping[str, Any]) -> str:
    """Return the call of :func:`attack` as Python."""
    sampler = sampler_of(values)
    options = ", ".join(f"{name}={value!r}" for name, value in sampler.overrides_of_default().items())
    return f"samplers[{values['sampler']!r}]({options}).trajectory({net}, {x}, {target}, generator('cpu', 'attack'))"
