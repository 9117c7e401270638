"""The controls of an attack on images, the call that they make, and that call as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples, sample_targets
from amkd_viz.boundary.by_name import OPTIONS, sample_by_name
from amkd_viz.core.rng import generator
from amkd_viz.panels.controls import choice, slider
from amkd_viz.training import Recipe
from amkd_viz.views.decisions import logits_at

__all__ = ["OPTIONS", "attack_code", "attack_controls", "attack_image", "attack_options", "target_of"]


def attack_controls(recipe: Recipe) -> dict[str, Any]:
    """Control name -> widget; they start where the recipe's attack stands."""
    return {
        "sampler": choice(
            "sampler", "bss", list(OPTIONS), "BSS: towards a class until it is crossed; the others to compare with"
        ),
        "target": choice(
            "target",
            "drawn",
            ["drawn", "second"],
            "drawn from the net's softmax without its top class; its second class; or a class of yours",
        ),
        "step_size": slider(
            "step size", recipe.step_size, 0.01, 2.0, 0.01, "a in the formula (bss); 0.3 in the papers"
        ),
        "steps": slider("steps", recipe.attack_steps, 1, 40, 1, "at most so many (bss, deepfool)"),
        "step_rule": choice(
            "step_rule", recipe.step_rule, ["gap", "newton"], "bss: p = 1 (published code) or 2 (Newton step)"
        ),
        "space": choice(
            "space",
            "normalised",
            ["normalised", "pixel"],
            "where bss takes its steps; the published step size belongs to the normalised space: a well-known trap",
        ),
        "epsilon": slider("epsilon", 8, 1, 128, 1, "largest change of a pixel, in 1/255 (fgsm, noise)"),
    }


def target_of(chosen: str | int, logits: Tensor) -> Tensor:
    """(N,) the classes to move to from logits (N, K): "drawn", "second" or a class."""
    if chosen == "drawn":
        return sample_targets(logits, generator("cpu", "sample lab"))
    return logits.topk(2).indices[:, 1] if chosen == "second" else torch.full((len(logits),), int(chosen))


def attack_image(net: nn.Module, x: Tensor, values: Mapping[str, Any], target: Tensor | None = None) -> BoundarySamples:
    """Attack images x (N, C, H, W) as the controls say, with the way kept; ``target`` (N,) overrules theirs."""
    if target is None:
        target = target_of(values["target"], logits_at(net, x).cpu())
    return sample_by_name(values["sampler"], net, x, target, keep_path=True, **attack_options(values))


def attack_code(net: str, x: str, target: str, values: Mapping[str, Any]) -> str:
    """The call as a person would write it."""
    told = {name: repr(value) for name, value in attack_options(values).items()}
    if "epsilon" in told:
        told["epsilon"] = f"{values['epsilon']} / 255"
    options = "".join(f", {name}={value}" for name, value in told.items())
    return f"{values['sampler']}({net}, {x}, {target}{options}, keep_path=True)"


def attack_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the sampler is called with, epsilon in units of a pixel."""
    found = {name: values[name] for name in OPTIONS[values["sampler"]]}
    if "epsilon" in found:
        found["epsilon"] = values["epsilon"] / 255
    if "step_size" in found:
        found["step_size"] = round(values["step_size"], 4)
    return found
