"""A folder of images with one subfolder per class."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.files import readable
from amkd_viz.data.archive import is_archive, unpacked
from amkd_viz.data.dataset import Dataset
from amkd_viz.data.decode import WHITE
from amkd_viz.data.listing import Files, Listing

__all__ = ["list_folder", "load_folder"]

SUFFIXES = {
    *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
}
# Names of the parts of a data set, in any case.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
TOOLS = {"@eadir", "__macosx", "__pycache__"}  # folders of tools; those that begin with a dot are skipped too


def load_folder(path: str | Path, seed: int = 0, *, size: int | None = None, background: int = WHITE) -> Dataset:
    """Load uint8 images (N, 3, size, size): the short side is resized, the centre cropped.

    Args:
        size: see ``list_folder``.
        background: grey level behind transparent pixels, 0 (black) to 255 (white).

    Raises:
        InputError: see ``list_folder`` and ``decode``.
    """
    return list_folder(path, size, background).load(seed)


def list_folder(path: str | Path, size: int | None = None, background: int = WHITE) -> Listing:
    """List the images of a folder, or of a .zip or .tar file that holds one.

    Classes are the subfolders in alphabetical order. If ``path`` holds a folder of classes for training and one for
    validation or test, under one of their usual names in any case, these are the splits.

    Folders and files whose names begin with a dot, and folders of tools, are skipped; links are followed. The notes of
    the listing say which other files were left out.

    Args:
        size: height and width in pixels; by default the smaller of 64 and the median short side of the images.
        background: grey level behind transparent pixels, 0 to 255.

    Raises:
        InputError: ``path`` is not a folder, has fewer than two classes or a class that is too small to split, the
            classes of its parts differ or the parts are ambiguous, a folder cannot be read, or a number is out of
            range.
    """
    root = Path(os.path.expanduser(path))  # Path.expanduser fails for an unknown user
    folders = _Folders()
    with readable(root):
        if is_archive(root):
            root = unpacked(root)
            inside = folders.inside(root)
            root = inside[0] if len(inside) == 1 else root  # most archives hold one folder
        if not root.is_dir():
            option = re.search(r",(\w+)=[^,/\\]*$", str(path))
            if option:
                raise unknown("option of folder:PATH", option[1], ["size", "background"])
            raise InputError(f"{root} is not a folder; give folder:PATH with one subfolder of images per class.")
    parts = _parts(root, folders) or {"train": root}
    classes = _classes(parts["train"], folders)
    train = Files.labelled(*_listing(parts["train"], classes, folders), size, background)
    others = {  # the parts have one size
        part: Files.labelled(*_listing(folder, classes, folders), train.size, background)
        for part, folder in parts.items()
        if part != "train"
    }
    return Listing(f"folder:{path}", _labels(classes), train, **others, notes=folders.notes)


class _Folders:
    """Lists folders, and counts the files that are left out because they are not images."""

    def __init__(self) -> None:
        self._left_out: Counter[str] = Counter()

    @property
    def notes(self) -> tuple[str, ...]:
        if not self._left_out:
            return ()
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self._left_out.items()))
        return (f"Left out, not read as images: {kinds}.",)

    def inside(self, folder: Path) -> list[Path]:
        """Return the subfolders of a folder, those of tools left out, sorted by name."""
        with readable(folder):
            found = [p for p in folder.iterdir() if p.name[0] != "." and p.name.lower() not in TOOLS and p.is_dir()]
        return sorted(found, key=lambda p: p.name)

    def images(self, folder: Path) -> list[Path]:
        """Return the image files in a folder and below it, sorted; a file that is linked twice is listed twice."""
        return sorted(self._below(folder, frozenset()))

    def _below(self, folder: Path, above: frozenset[str]) -> Iterator[Path]:
        place = os.path.realpath(folder)
        if place in above:  # a link to a folder that holds it
            return
        with readable(folder):
            entries = list(folder.iterdir())
        for path in entries:
            if path.name[0] == "." or path.name.lower() in TOOLS:
                continue
            if path.is_dir():
                yield from self._below(path, above | {place})
            elif path.suffix.lower() in SUFFIXES:
                yield path
            else:
                self._left_out[path.suffix.lower() or "without a suffix"] += 1


def _parts(root: Path, folders: _Folders) -> dict[str, Path]:
    """Return the folders of the data set's parts by "train", "val" and "test"; none if the subfolders are classes.

    A folder with the name of a part is one if it holds subfolders rather than images.
    """
    found: dict[str, Path] = {}
    others: list[Path] = []
    for folder in folders.inside(root):
        part = PARTS.get(folder.name.lower())
        if part is None or not folders.inside(folder):
            others.append(folder)
        elif part in found:
            raise InputError(
                f"{root} has {found[part].name}/ and {folder.name}/, which both name the {part} split; keep one."
            )
        else:
            found[part] = folder
    if not found and len(others) > 1 and all(folder.name.lower() in PARTS for folder in others):
        names = " and ".join(f"{folder.name}/" for folder in others)
        raise InputError(
            f"{root} has {names} without classes in them; put the images of each in one subfolder per class."
        )
    if not found or (others and "train" not in found):
        return {}  # a class may be called "test"
    names = " and ".join(f"{found[part].name}/" for part in ("train", "val", "test") if part in found)
    if others:
        raise InputError(
            f"{root} has {names} beside {others[0].name}/, so its subfolders may be splits or classes; move "
            f"{others[0].name}/ elsewhere, or give a folder whose subfolders are all classes."
        )
    if "train" not in found or len(found) == 1:
        lacks = "train/" if "train" not in found else "test/ or val/"
        raise InputError(
            f"{root} has {names}, but lacks {lacks}; add it, or give a folder whose subfolders are the classes, of "
            "which a fifth becomes the test split."
        )
    return found


def _classes(folder: Path, folders: _Folders) -> tuple[str, ...]:
    names = tuple(sub.name for sub in folders.inside(folder))
    if len(names) < 2:
        inside = len(folders.inside(folder / names[0])) if names else 0
        hint = f"; {folder / names[0]} has {inside}: give that folder" if inside > 1 else ""
        raise InputError(f"{folder} must have at least 2 class subfolders, got {len(names)}{hint}.")
    return names


def _labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of folders as text: bytes that are not UTF-8, which no JSON can hold, become a question mark."""
    found = [name.encode(errors="surrogateescape").decode(errors="replace") for name in names]
    return tuple(f"{label} ({k})" if found.count(label) > 1 else label for k, label in enumerate(found))


def _listing(folder: Path, classes: tuple[str, ...], folders: _Folders) -> tuple[list[Path], Tensor]:
    """Return the sorted image files of each class, and their labels (N,)."""
    extra = sorted(set(_classes(folder, folders)) - set(classes))
    if extra:
        raise InputError(f"{folder / extra[0]} must be a class of the training folder, {', '.join(classes[:5])}.")
    paths, labels = [], []
    for k, name in enumerate(classes):
        found = folders.images(folder / name)
        if not found:
            raise InputError(f"Class folder {folder / name} holds no images; add some or remove it.")
        paths += found
        labels += [k] * len(found)
    return paths, torch.tensor(labels)
