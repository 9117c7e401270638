"""How a teacher is trained, and where its run is kept: in the cache, named by all that its weights depend on."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import torch
from torch import nn

from amkd_viz.core.rng import mix
from amkd_viz.data import PATH_KINDS, Dataset, data_fingerprint, moved, short_name
from amkd_viz.data.where import cache_folder
from amkd_viz.models.libraries import is_pretrained
from amkd_viz.training.recipe import Recipe

__all__ = ["cache_folder", "cached_teacher", "fingerprint", "teacher_recipe"]

MAY_DIFFER = (*PATH_KINDS, "tiny-imagenet")  # the same name, other images: a class that was added, or left out


def teacher_recipe(recipe: Recipe, place: int = 0) -> Recipe:
    """Return how a teacher of ``recipe`` is trained: on the whole training split, by cross-entropy;
    of a pretrained one the last layer.

    Its seed depends on its architecture, and on how many teachers before it have the same one, so that no student and
    no other teacher starts from its weights or sees the data in its order.

    Args:
        place: which of ``recipe.teachers``.
    """
    name = recipe.teachers[place]
    epochs = recipe.finetune_epochs if is_pretrained(name) else recipe.teacher_epochs
    return Recipe(
        # a relative path names other images elsewhere, and the teacher is found again by this name
        dataset=moved(recipe.source, lambda folder: str(Path(os.path.expanduser(folder)).resolve())),
        root=recipe.root,
        teacher="",
        student=name,
        shortcut=recipe.shortcut_of(name) or Recipe.shortcut,
        seed=mix("teacher", name, recipe.teachers[:place].count(name)) >> 32,
        method="ce",
        epochs=epochs,
        batch_size=recipe.teacher_batch_size,
        device=recipe.device,
        precision=recipe.precision,
        tf32=recipe.tf32,
        augment=recipe.augment,
        learning_rate=recipe.teacher_learning_rate,
        data_seed=recipe.data_seed,
        evaluate_every=epochs,
        magsim_samples=0,
    )


def cached_teacher(recipe: Recipe, data: Dataset | None = None) -> Path:
    """Return the folder in the cache of the run that trains, or has trained, a teacher.

    Args:
        recipe: of the teacher itself, see ``teacher_recipe``. data: its data set, where it is loaded already.
    """
    name = f"{short_name(recipe.dataset)}-{re.sub('[:,=]', '-', recipe.student)}-{_key(recipe, data)}"
    return cache_folder() / "teachers" / name


def fingerprint(net: nn.Module) -> str:
    """Return ten hex digits of a net's weights and buffers."""
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:10]


def _key(own: Recipe, data: Dataset | None) -> str:
    """Return ten hex digits of what a teacher's weights depend on. Folders, the device and fields at their default are
    left out, so that a new field of Recipe leaves cached teachers valid."""
    default = Recipe().to_json()
    without = ("root", "device", "teacher", "teacher_epochs", "evaluate_every", "magsim_samples")
    matters = {n: v for n, v in own.to_json().items() if n not in without and (v != default[n] or n == "dataset")}
    if own.dataset.startswith(MAY_DIFFER):
        known = None if data is None else data.fingerprint
        matters["dataset"] = known or data_fingerprint(own.dataset, root=own.root, seed=own.data_seed)
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()[:10]
