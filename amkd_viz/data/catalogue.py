"""Every data set by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.data.cifar import load_cifar
from amkd_viz.data.dataset import Dataset
from amkd_viz.data.digits import load_digits
from amkd_viz.data.folder import load_folder
from amkd_viz.data.points import PROBLEMS, load_points
from amkd_viz.data.tiny_imagenet import load_tiny_imagenet
from amkd_viz.data.where import FOLDERS, data_root

__all__ = ["dataset_names", "load", "parse_name", "short_name"]


def dataset_names() -> list[str]:
    """The names that :func:`load` knows, besides ``folder:PATH``."""
    return [*PROBLEMS, "digits", *FOLDERS]


def load(
    name: str,
    root: str | Path | None = None,
    download: bool = False,
    seed: int = 0,
    **options: int | float,
) -> Dataset:
    """Load a data set into memory.

    Args:
        name: one of :func:`dataset_names`, or ``folder:PATH`` for class subfolders of images; a 2-D problem may carry
            its options: ``spirals:noise=0.2,classes=4``.
        root: where the official archives are unpacked; by default the environment variable AMKD_VIZ_DATA, else
            ``~/.cache/amkd_viz/data``.
        download: fetch CIFAR if it is missing.
        seed: which tenth of the training samples validates, and which points are drawn. Never changes the test split.
        options: ``n``, ``noise`` and ``classes`` of the 2-D problems; ``size`` of an image folder.

    Raises:
        InputError: an unknown name or option, or data that is missing, damaged or cannot be split.

    >>> load("moons", n=200)
    Dataset(moons: 2 classes, points (2,), 180 train, 20 val, 200 test)
    """
    own, named = parse_name(name)
    source = _source(own, data_root(root), download)
    allowed = _options(source)
    for option in options:
        if option not in allowed:
            raise unknown(f"option of {own}", option, allowed or ["none"])
    return source(seed=seed, **{**named, **options})


def parse_name(name: str) -> tuple[str, dict[str, int | float]]:
    """A data set's own name, and the options that stand behind a colon.

    Raises:
        InputError: an unknown data set or option, or a value that is no number.

    >>> parse_name("spirals:noise=0.2,classes=4")
    ('spirals', {'noise': 0.2, 'classes': 4})
    """
    if not isinstance(name, str):
        raise InputError(f"A data set is named by a text, such as 'digits', not by {name!r}.")
    own, colon, words = name.partition(":")
    if own == "folder" and colon:
        if not words.strip():  # the empty path is the current folder
            raise InputError(f"{name!r} names no folder; give folder:PATH with one subfolder of images a class.")
        return name, {}
    if own not in dataset_names():
        raise unknown("data set", own, [*dataset_names(), "folder:PATH"])
    options: dict[str, int | float] = {}
    allowed = _options(load_points) if own in PROBLEMS else []
    for word in words.split(",") if colon else []:
        option, _, value = word.partition("=")
        if option not in allowed:
            raise unknown(f"option of {own}", option, allowed or ["none"])
        try:
            options[option] = float(value) if option == "noise" else int(value)
        except ValueError as error:
            raise InputError(f"{option} of {own} must be a number, not {value!r}.") from error
    return own, options


def short_name(name: str) -> str:
    """A data set's name for a file or a title: without options, and of a folder its last part.

    >>> short_name("spirals:noise=0.2"), short_name("folder:pictures/pets")
    ('spirals', 'pets')
    """
    own, _, rest = name.partition(":")
    return Path(rest).name if own == "folder" else own


def _options(source: Callable[..., Dataset]) -> list[str]:
    return [p.name for p in inspect.signature(source).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _source(name: str, root: Path, download: bool) -> Callable[..., Dataset]:
    if name.startswith("folder:"):
        return partial(load_folder, name.removeprefix("folder:"))
    if name in PROBLEMS:
        return partial(load_points, name)
    if name == "digits":
        return load_digits
    if name == "tiny-imagenet":
        return partial(load_tiny_imagenet, root, download)
    if name in FOLDERS:
        return partial(load_cifar, name, root, download)
    raise unknown("data set", name, [*dataset_names(), "folder:PATH"])
