"""From a recipe to a training: loads the data, and reads or trains the teachers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, load
from amkd_viz.models import Classifier, inference_copy
from amkd_viz.models.weights import safetensors
from amkd_viz.runs.run import Listener, teacher_for
from amkd_viz.training.device import pick_device
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.teachers import fingerprint
from amkd_viz.training.training import Training, layout_of, numbered

__all__ = ["check_pair", "prepare"]

# Recipes that agree on these have the same data and the same teachers (see teacher_recipe).
OF_DATA = ("dataset", "root", "data_seed", "device", "precision", "tf32")
OF_TEACHER = ("teacher", "teacher_epochs", "teacher_batch_size", "teacher_learning_rate", "augment")


def prepare(recipe: Recipe, like: Training | None = None, listen: Listener | None = None) -> Training:
    """Load, build and check everything that a recipe names; train a teacher that is not cached yet.

    Args:
        like: an earlier training that lends its data and teachers where the recipes name the same.
        listen: called with the events of a teacher's training.

    Raises:
        InputError: data, nets and recipe do not fit.
    """

    def lends(fields: Iterable[str]) -> bool:
        return like is not None and all(getattr(like.recipe, f) == getattr(recipe, f) for f in fields)

    safetensors()  # before a teacher is trained that could not be kept
    full = like.full if like and lends(OF_DATA) else load(recipe.dataset, root=recipe.root, seed=recipe.data_seed)
    recipe.subset(full)  # refuse a wrong number before a teacher is trained
    names = numbered("teacher", recipe.teachers)
    if like and lends(OF_DATA + OF_TEACHER):
        teachers = {net: like.nets[net] for net in names}
        return Training(recipe, full, teachers, like.teacher_weights, like.teacher_logits)
    made = {net: teacher_for(recipe, listen, full, place) for place, net in enumerate(names)}
    for net, teacher in made.items():
        check_pair(teacher, full, f"Teacher {names[net]}")
    weights = "+".join(fingerprint(net) for net in made.values())
    device, layout = pick_device(recipe.device), layout_of(full)
    # folded: less time in the attack, the same logits
    frozen = {net: inference_copy(teacher).to(device).to(memory_format=layout) for net, teacher in made.items()}
    return Training(recipe, full, frozen, weights)


def check_pair(net: Classifier, dataset: Dataset, name: str) -> None:
    """Refuse a net that does not take the data's inputs or does not know its classes."""
    try:
        if net.shape != dataset.shape:  # some nets take any height and width
            with torch.no_grad():
                net(torch.zeros(1, *dataset.shape))
    except (RuntimeError, InputError) as error:
        raise InputError(
            f"{name} takes inputs of shape {net.shape}, but {dataset.name} has {dataset.shape}."
        ) from error
    if net.num_classes != dataset.num_classes:
        raise InputError(
            f"{name} knows {net.num_classes} classes, but {dataset.name} has {dataset.num_classes}; "
            "use a teacher that was trained on this data set."
        )
