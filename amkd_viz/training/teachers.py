"""Teachers: read from a file, or trained once by their own recipe and cached under its hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from amkd_viz.core.files import check_writable
from amkd_viz.data import Dataset, load, short_name
from amkd_viz.models import Classifier, load_teacher, save_classifier
from amkd_viz.training.recipe import Recipe

if TYPE_CHECKING:
    from amkd_viz.training.events import Event

__all__ = ["cache_folder", "teacher_for", "teacher_recipe", "weights_of"]

MAY_DIFFER = ("folder:", "tiny-imagenet")  # the same name, other images: a class that was added, or left out


def cache_folder() -> Path:
    """``AMKD_VIZ_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("AMKD_VIZ_CACHE") or "~/.cache/amkd_viz").expanduser()


def teacher_recipe(recipe: Recipe) -> Recipe:
    """How the teacher of ``recipe`` is trained: on the whole training split, by cross-entropy."""
    folder = recipe.dataset.removeprefix("folder:")
    return Recipe(
        # a relative path names other images elsewhere, and the teacher is found again by this name
        dataset=recipe.dataset if folder == recipe.dataset else f"folder:{Path(folder).expanduser().resolve()}",
        root=recipe.root,
        teacher=recipe.teacher,
        student=recipe.teacher,
        method="ce",
        epochs=recipe.teacher_epochs,
        batch_size=recipe.teacher_batch_size,
        device=recipe.device,
        precision=recipe.precision,
        augment=recipe.augment,
        learning_rate=recipe.teacher_learning_rate,
        data_seed=recipe.data_seed,
        evaluate_every=recipe.teacher_epochs,
        magsim_samples=0,
    )


def teacher_for(
    recipe: Recipe, listen: Callable[[Event], None] | None = None, data: Dataset | None = None
) -> Classifier:
    """The teacher of a recipe, in eval mode without gradients.

    Args:
        listen: hears its training, if it is not cached.
        data: the recipe's data set without its limit, where it has been loaded already.
    """
    if recipe.teacher.endswith(".safetensors"):
        return load_teacher(recipe.teacher)
    own = teacher_recipe(recipe)
    name = f"{short_name(own.dataset)}-{own.teacher.replace(':', '-')}-{_key(own, data)}.safetensors"
    path = cache_folder() / "teachers" / name
    if not path.is_file():
        from amkd_viz.training.events import EpochEnded
        from amkd_viz.training.loop import events
        from amkd_viz.training.training import Training

        check_writable(path.parent)
        training = Training(own, alone=True)
        val_accuracy = None
        for event in events(own, training):
            if listen is not None:
                listen(event)
            if isinstance(event, EpochEnded):
                val_accuracy = event.metrics.get("val_accuracy")
        save_classifier(training.student, path, recipe=own.to_json(), val_accuracy=val_accuracy)
    return load_teacher(path)


def weights_of(net: nn.Module) -> str:
    """Ten hex digits of a net's weights and buffers."""
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:10]


def _key(own: Recipe, data: Dataset | None) -> str:
    """Ten hex digits of what a teacher's weights depend on, and of nothing else: not of where data or device are, and
    not of fields at their default, so that a new field of Recipe leaves cached teachers valid."""
    default = Recipe().to_json()
    without = ("root", "device", "teacher", "teacher_epochs", "evaluate_every", "magsim_samples")
    matters = {n: v for n, v in own.to_json().items() if n not in without and (v != default[n] or n == "dataset")}
    if own.dataset.startswith(MAY_DIFFER):
        data = data or load(own.dataset, root=own.root, seed=own.data_seed)
        matters["dataset"] = data.fingerprint
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()[:10]
