"""A folder of images with one subfolder per class."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import files_below, readable
from amkd_viz.data.dataset import Dataset
from amkd_viz.data.listing import Files, Listing
from amkd_viz.data.strata import hold_out, shuffled

__all__ = ["list_folder", "load_folder"]

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def load_folder(path: str | Path, seed: int = 0, *, size: int = 64) -> Dataset:
    """Load uint8 images (N, 3, size, size): the short side is resized, the centre cropped.

    Raises:
        InputError: see ``list_folder`` and ``decode``.
    """
    return list_folder(path, size).load(seed)


def list_folder(path: str | Path, size: int = 64) -> Listing:
    """List the images of a folder.

    Classes are the subfolders in alphabetical order. A stratified fifth, independent of the seed, is the test split.
    If ``path`` holds train/ and test/ or val/, these are used instead; with all three, val/ is the validation split.

    Raises:
        InputError: ``path`` is not a folder, has fewer than two classes or a class that is too small to split, the
            classes of its parts differ, a folder cannot be read, or ``size`` is out of range.
    """
    root = Path(os.path.expanduser(path))  # Path.expanduser fails for an unknown user
    name = f"folder:{path}"
    if not 8 <= size <= 1024:
        raise InputError(f"size must be 8 to 1024 pixels, got {size}.")
    with readable(root):
        if not root.is_dir():
            raise InputError(f"{root} is not a folder; give folder:PATH with one subfolder of images per class.")
        parts = {part: root / part for part in ("train", "val", "test") if (root / part).is_dir()}

    if len(parts) > 1 and "train" in parts:
        classes = _classes(parts["train"])
        splits = {part: Files.labelled(*_listing(folder, classes), size) for part, folder in parts.items()}
        test = splits["test"] if "test" in splits else splits.pop("val")
        return Listing(name, classes, splits["train"], test, splits.get("val"))

    if parts and len(parts) == len(_subfolders(root)):  # train/ without test/ is not a class
        lacks = "train/" if "train" not in parts else "test/ or val/"
        raise InputError(
            f"{root} has {' and '.join(f'{part}/' for part in parts)}, but lacks {lacks}; add it, or give a folder "
            "whose subfolders are the classes, of which a fifth becomes the test split."
        )
    classes = _classes(root)
    paths, y = _listing(root, classes)
    few = [(k, n) for k, n in zip(classes, torch.bincount(y).tolist(), strict=True) if n < 3]
    if few:  # checked before decoding, which may take minutes
        raise InputError(
            f"Class {few[0][0]!r} of {root} cannot be split: it has {few[0][1]} of the 3 images that training, "
            f"validation and test need; add images or remove the class."
        )
    whole = Files.labelled(paths, y, size)
    train, test_at = hold_out(y, 0.2, shuffled(len(y), 0, "test"), classes)
    return Listing(name, classes, whole.take(train), whole.take(test_at))


def _classes(folder: Path) -> tuple[str, ...]:
    names = _subfolders(folder)
    if len(names) < 2:
        raise InputError(f"{folder} must have at least 2 class subfolders, got {len(names)}.")
    return names


def _subfolders(folder: Path) -> tuple[str, ...]:
    with readable(folder):
        return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def _listing(folder: Path, classes: tuple[str, ...]) -> tuple[list[Path], Tensor]:
    """Return the sorted image files of each class, and their labels (N,)."""
    extra = sorted(set(_classes(folder)) - set(classes))
    if extra:
        raise InputError(f"{folder / extra[0]} must be a class of the training folder, {', '.join(classes[:5])}.")
    paths, labels = [], []
    for k, name in enumerate(classes):
        found = [p for p in files_below(folder / name) if p.suffix.lower() in SUFFIXES and p.name[0] != "."]
        if not found:
            raise InputError(f"Class folder {folder / name} holds no images; add some or remove it.")
        paths += found
        labels += [k] * len(found)
    return paths, torch.tensor(labels)
