"""From a recipe to a training: loads the data, and reads or trains the teachers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable
from amkd_viz.data import Dataset, load
from amkd_viz.models import Classifier, inference_copy, load_teacher, save_classifier
from amkd_viz.training.device import pick_device
from amkd_viz.training.events import EpochEnded, Event
from amkd_viz.training.loop import events
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.teachers import cached_teacher, fingerprint, teacher_recipe
from amkd_viz.training.training import Training, layout_of, numbered

__all__ = ["prepare", "teacher_for"]

# Recipes that agree on these have the same data and the same teachers (see teacher_recipe).
OF_DATA = ("dataset", "root", "data_seed", "device", "precision")
OF_TEACHER = ("teacher", "teacher_epochs", "teacher_batch_size", "teacher_learning_rate", "augment")


def prepare(
    recipe: Recipe, like: Training | None = None, listen: Callable[[Event], None] | None = None, alone: bool = False
) -> Training:
    """Load, build and check everything that a recipe names; train a teacher that is not cached yet.

    Args:
        like: an earlier training that lends its data and teachers where the recipes name the same.
        listen: called with the events of a teacher's training.
        alone: train without a teacher, as a teacher itself is trained.

    Raises:
        InputError: data, nets and recipe do not fit.
    """
    if like is not None and any(getattr(like.recipe, f) != getattr(recipe, f) for f in OF_DATA + OF_TEACHER):
        like = None
    full = like.full if like else load(recipe.dataset, root=recipe.root, seed=recipe.data_seed)
    if alone:
        return Training(recipe, full, {})
    recipe.subset(full)  # refuse a wrong number before a teacher is trained
    names = numbered("teacher", recipe.teachers)
    if like is not None and like.teacher is not None:
        teachers = {net: like.nets[net] for net in names}
        return Training(recipe, full, teachers, like.teacher_weights, like.teacher_logits)
    made = {net: _teacher(recipe, name, listen, full) for net, name in names.items()}
    for net, teacher in made.items():
        _check_pair(teacher, full, names[net])
    weights = "+".join(fingerprint(net) for net in made.values())
    device, layout = pick_device(recipe.device), layout_of(full)
    # folded: less time in the attack, the same logits
    frozen = {net: inference_copy(teacher).to(device).to(memory_format=layout) for net, teacher in made.items()}
    return Training(recipe, full, frozen, weights)


def teacher_for(
    recipe: Recipe, listen: Callable[[Event], None] | None = None, data: Dataset | None = None
) -> Classifier:
    """Return the first teacher of a recipe, in eval mode without gradients; train it if it is not cached.

    Args:
        listen: called with the events of its training.
        data: the recipe's data set without its limit, where it is loaded already.
    """
    return _teacher(recipe, recipe.teachers[0], listen, data)


def _teacher(recipe: Recipe, name: str, listen: Callable[[Event], None] | None, data: Dataset | None) -> Classifier:
    if name.endswith(".safetensors"):
        return load_teacher(name)
    own = teacher_recipe(recipe, name)
    path = cached_teacher(own, data)
    if not path.is_file():
        check_writable(path.parent)
        training = prepare(own, alone=True)
        val_accuracy = None
        for event in events(training):
            if listen is not None:
                listen(event)
            if isinstance(event, EpochEnded):
                val_accuracy = event.metrics.get("val_accuracy")
        save_classifier(training.student, path, recipe=own.to_json(), val_accuracy=val_accuracy)
    return load_teacher(path)


def _check_pair(teacher: Classifier, dataset: Dataset, name: str) -> None:
    """Refuse a teacher that does not take the data's inputs or does not know its classes."""
    try:
        if teacher.shape != dataset.shape:  # some nets take any height and width
            with torch.no_grad():
                teacher(torch.zeros(1, *dataset.shape))
    except (RuntimeError, InputError) as error:
        raise InputError(
            f"Teacher {name} takes inputs of shape {teacher.shape}, but {dataset.name} has {dataset.shape}."
        ) from error
    if teacher.num_classes != dataset.num_classes:
        raise InputError(
            f"Teacher {name} knows {teacher.num_classes} classes, but {dataset.name} has {dataset.num_classes}; "
            "use a teacher that was trained on this data set."
        )
