"""``step_size="auto"``: calibrated once on training images, for the teacher of a recipe."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import nn

from amkd_viz.boundary import BSS, calibrate
from amkd_viz.core.pauses import without_pauses
from amkd_viz.data import Dataset
from amkd_viz.training.recipe import Recipe

__all__ = ["fixed", "is_auto", "settled"]

IMAGES = 64
_known: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], float]] = WeakKeyDictionary()


def settled(recipe: Recipe, teacher: nn.Module | None, data: Dataset) -> Recipe:
    """Return the recipe with a number in place of ``step_size="auto"``; any other recipe as it is.

    Args:
        teacher: the net that is attacked; without one "auto" stays, since nothing is attacked.
        data: of the recipe, before ``num_train`` is applied: students of all subsets get the same number.
    """
    sampler = recipe.boundary.sampler
    if teacher is None or not isinstance(sampler, BSS) or not is_auto(recipe):
        return recipe
    of_teacher, key = _known.setdefault(teacher, {}), (sampler.steps, sampler.step_rule, data.fingerprint)
    if key not in of_teacher:
        some = torch.linspace(0, len(data.train) - 1, min(IMAGES, len(data.train))).long()
        device = next(teacher.parameters()).device
        x = data.train.floats(some.to(data.train.y.device)).to(device)
        with without_pauses():  # a second of work: a job that is stopped meanwhile has its run by then
            of_teacher[key] = calibrate(teacher, x, steps=sampler.steps, step_rule=sampler.step_rule)
    return fixed(recipe, of_teacher[key])


def is_auto(recipe: Recipe) -> bool:
    """Return whether the attack of a recipe has a step size that is to be measured."""
    return isinstance(getattr(recipe.boundary.sampler, "step_size", None), str)


def fixed(recipe: Recipe, size: float) -> Recipe:
    """Return the recipe with a number where it says "auto"."""
    named = f"{recipe.sampler}.step_size"
    if not is_auto(recipe):
        return recipe
    if named in recipe.overrides:
        return recipe.replace(overrides={**recipe.overrides, named: size})
    return recipe.replace(step_size=size)
