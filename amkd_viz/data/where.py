"""Locations of data sets on disk, and which of them are present."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable
from amkd_viz.data.points import PROBLEMS

__all__ = ["ELSEWHERE", "FOLDERS", "PARTS", "Status", "cache_folder", "data_root", "find", "status"]

VARIABLE = "AMKD_VIZ_DATA"
# advice for a damaged data set: what a person has is never overwritten
ELSEWHERE = "unpack the official archive into another folder and name that one by root or --root"

# folder that each official archive unpacks to
FOLDERS = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "tiny-imagenet": "tiny-imagenet-200",
}
# files and folders in it that loading needs
PARTS = {
    "cifar10": (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"),
    "cifar100": ("train", "test", "meta"),
    "tiny-imagenet": ("wnids.txt", "words.txt", "train", "val"),
}


class Status(NamedTuple):
    """Whether a data set can be loaded, and from where or why not: one line of ``doctor``."""

    name: str
    found: bool
    note: str


def cache_folder() -> Path:
    """Return ``AMKD_VIZ_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("AMKD_VIZ_CACHE") or "~/.cache/amkd_viz").expanduser()


def data_root(root: str | Path | None = None) -> Path:
    """Return ``root`` if given, else the environment variable AMKD_VIZ_DATA, else ``~/.cache/amkd_viz/data``."""
    return Path(os.path.expanduser(root or os.environ.get(VARIABLE) or "~/.cache/amkd_viz/data"))


def find(name: str, root: str | Path | None = None) -> Path | None:
    """Return the folder under ``root`` that holds an official data set, or None; its content is not checked.

    Returns None for data sets without files (2-D problems, digits).

    Raises:
        InputError: ``root`` cannot be read.
    """
    if name not in FOLDERS:
        return None
    folder = data_root(root) / FOLDERS[name]
    with readable(folder):
        return folder if folder.is_dir() else None


def status(root: str | Path | None = None) -> list[Status]:
    """Return the status of each data set of the library under ``root``."""
    sklearn = importlib.util.find_spec("sklearn") is not None
    lines = [Status(name, True, "generated on demand") for name in PROBLEMS]
    lines.append(Status("digits", sklearn, "ships with scikit-learn" if sklearn else "scikit-learn is not installed"))
    return lines + [_status(name, root) for name in FOLDERS]


def _status(name: str, root: str | Path | None) -> Status:
    try:
        folder = find(name, root)
        if folder is None:
            return Status(name, False, f"{data_root(root) / FOLDERS[name]} does not exist")
        with readable(folder):
            absent = [part for part in PARTS[name] if not (folder / part).exists()]
    except InputError as error:
        return Status(name, False, str(error))
    return Status(name, not absent, f"{folder} lacks {', '.join(absent)}" if absent else str(folder))
