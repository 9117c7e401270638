"""From a recipe to a training: loads the data, and reads or trains the teachers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import shorten

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.ranks import Ranks, joined
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier, build, inference_copy, load_teacher
from amkd_viz.models.checkpoint import safetensors
from amkd_viz.objectives import methods
from amkd_viz.objectives.selves import selves
from amkd_viz.objectives.sources import views
from amkd_viz.objectives.step import check_names
from amkd_viz.runs.run import Listener, teacher_for
from amkd_viz.runs.teacher_check import check_accuracy
from amkd_viz.training.device import pick_device
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.teachers import fingerprint
from amkd_viz.training.training import Training, layout_of, numbered

__all__ = ["check_layers", "check_pair", "fitting", "prepare"]

# Recipes that agree on these have the same data and the same teachers (see teacher_recipe).
OF_DATA = ("source", "root", "data_seed", "device", "precision", "tf32")
OF_TEACHER = (
    "teacher",
    "shortcut",
    "teacher_epochs",
    "teacher_batch_size",
    "teacher_learning_rate",
    "finetune_epochs",
    "augment",
)


def prepare(recipe: Recipe, like: Training | None = None, listen: Listener | None = None) -> Training:
    """Load, build and check everything that a recipe names; train a teacher that is not cached yet.

    Where several ranks train together, one of them trains the teacher and the others wait for it.

    Args:
        like: an earlier training that lends its data and teachers where the recipes name the same.
        listen: called with the events of a teacher's training.

    Raises:
        InputError: data, nets and recipe do not fit, or differ between ranks.
    """
    ranks = joined()
    made = ranks.together(lambda: _prepared(recipe, like, listen, ranks))
    ranks.same("recipe", recipe.hash, "give each the same command")
    ranks.same("data", made.full.fingerprint, f"copy {recipe.dataset} to each machine again, or share one folder")
    ranks.same("teacher", made.teacher_weights, "share one file, or one folder as AMKD_VIZ_CACHE")
    return made


def _prepared(recipe: Recipe, like: Training | None, listen: Listener | None, ranks: Ranks) -> Training:
    def lends(fields: Iterable[str]) -> bool:
        return like is not None and all(getattr(like.recipe, f) == getattr(recipe, f) for f in fields)

    if ranks.count > 1 and ":" in recipe.device:
        raise InputError(f"Each of several ranks takes a GPU of its own: set device='cuda', not {recipe.device!r}.")
    safetensors()  # before a teacher is trained that could not be kept
    full = like.full if like and lends(OF_DATA) else recipe.load()
    recipe.subset(full)  # refuse a wrong number before a teacher is trained
    check_layers(recipe, full)
    names = numbered("teacher", recipe.teachers)
    if like and lends(OF_DATA + OF_TEACHER):
        teachers = {net: like.nets[net] for net in names}
        made = Training(recipe, full, teachers, like.teacher_weights, like.teacher_logits, ranks)
        made.about_teachers = like.about_teachers
        made.notes += made.about_teachers
        return made
    nets = {net: teacher_for(recipe, listen, full, place) for place, net in enumerate(names)}
    about = []
    for net, teacher in nets.items():
        check_pair(teacher, full, f"Teacher {names[net]}")
        if names[net].endswith(".safetensors"):
            # without its folder: a card of the student repeats it
            about.append(check_accuracy(teacher, full, f"Teacher {Path(names[net]).name}", recipe.trust_teacher))
    weights = "+".join(fingerprint(net) for net in nets.values())
    device, layout = pick_device(recipe.device), layout_of(full)
    # folded: less time in the attack, the same logits
    frozen = {net: inference_copy(teacher).to(device).to(memory_format=layout) for net, teacher in nets.items()}
    made = Training(recipe, full, frozen, weights, ranks=ranks)
    made.about_teachers = [text for text in about if text]
    made.notes += made.about_teachers
    return made


def check_layers(recipe: Recipe, data: Dataset) -> None:
    """Refuse a method that reads layers which the nets do not have; fresh nets stand for those to be trained.

    Raises:
        InputError: names the term, what it needs and the net.
    """
    names = {"student": recipe.student, **numbered("peer", recipe.peers), **numbered("teacher", recipe.teachers)}
    check_names(names, [read for read in recipe.objective.reads() if read[0] not in selves])
    for on in recipe.objective.batches() & views.keys():
        if views[on].images and data.kind == "points":
            raise InputError(f"{recipe.method} needs images for its batch {on}, but {data.name} has points.")
    if not any(layer is not None for _, _, layer in recipe.objective.reads()):
        return
    nets = {
        net: load_teacher(name)
        if name.endswith(".safetensors")
        else build(name.partition(",")[0], data, shortcut=recipe.shortcut_of(name)).eval()
        for net, name in names.items()
    }
    recipe.objective.modules(nets | dict.fromkeys(selves, nets["student"]))


def fitting(recipe: Recipe, data: Dataset | None = None) -> tuple[list[str], dict[str, str]]:
    """Return the methods that the nets of a recipe can be trained with, and why not by each other method.

    Args:
        data: the data set of the recipe, where it is loaded already.
    """
    data = recipe.load() if data is None else data
    fits, reasons = [], {}
    for name in methods:
        try:
            check_layers(recipe.replace(method=name, overrides={}), data)
            fits.append(name)
        except InputError as error:
            reasons[name] = str(error)
    return fits, reasons


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
            f"{name} knows {net.num_classes} classes, but {dataset.name} has {dataset.num_classes} "
            f"({shorten(', '.join(dataset.classes), 80)}); use a teacher that was trained on this data set."
        )
