"""Data sets by name."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.registry import Registry
from amkd_viz.data.arrays import load_npz
from amkd_viz.data.cifar import load_cifar
from amkd_viz.data.dataset import Dataset
from amkd_viz.data.digits import load_digits
from amkd_viz.data.folder import list_folder, load_folder
from amkd_viz.data.listing import Listing
from amkd_viz.data.pack import load_pack
from amkd_viz.data.parquet import list_parquet, load_parquet
from amkd_viz.data.points import PROBLEMS, load_points
from amkd_viz.data.shared import in_use, stamp
from amkd_viz.data.tiny_imagenet import list_tiny_imagenet, load_tiny_imagenet
from amkd_viz.data.where import FOLDERS, PARTS, data_root

__all__ = [
    "PATH_KINDS",
    "data_fingerprint",
    "datasets",
    "listed",
    "load",
    "moved",
    "parse_name",
    "path_kind",
    "register",
    "short_name",
    "with_size",
]

Source = Callable[..., Dataset]
LISTED = {"folder:": list_folder, "parquet:": list_parquet}  # options after the path
NPZ, PACK = "npz:", "pack:"
PATH_KINDS = (*LISTED, NPZ, PACK)
OF_FILES = re.compile(r"(?P<path>.*?)(?P<options>(,(size|background)=[^,]*)*)", re.DOTALL)
GIVEN = ("seed", "root", "download")  # passed to a source that has the parameter; keyword-only ones are its options


def _source(name: str, source: Any) -> Source:
    if not callable(source) or "seed" not in inspect.signature(source).parameters:
        raise InputError(f"Data set {name!r} must be a function that takes seed=..., got {source!r}.")
    return source


datasets: Registry[Source] = Registry("data set", _source, "data.register")
register = datasets.register
for _name in PROBLEMS:
    datasets.add(_name, partial(load_points, _name))
datasets.add("digits", load_digits)
for _name in ("cifar10", "cifar100"):
    datasets.add(_name, partial(load_cifar, _name))
datasets.add("tiny-imagenet", load_tiny_imagenet)
IN_MEMORY = frozenset(datasets) - {"tiny-imagenet"}  # sources that do not share what they load by themselves


def load(
    name: str,
    root: str | Path | None = None,
    download: bool = False,
    seed: int = 0,
    **options: int | float | str,
) -> Dataset:
    """Load a data set into memory. One that is in use already is returned again, with the same tensors.

    Args:
        name: one of ``datasets()``, with options after a colon (``spirals:noise=0.2,classes=4``), or ``folder:PATH``
            for images in one subfolder per class, also in an archive (``folder:PATH,size=96,background=0``),
            ``parquet:PATH`` for columns image and label, ``npz:PATH`` for the arrays x and y of a file, or
            ``pack:PATH`` for images that stay on disk.
        root: folder of the unpacked official archives; default: the environment variable AMKD_VIZ_DATA, else
            ``~/.cache/amkd_viz/data``.
        download: fetch CIFAR if it is missing.
        seed: chooses the tenth of the training samples used for validation, and the points of 2-D problems. The test
            split never depends on it.
        options: override those in ``name``: ``n``, ``noise``, ``classes`` and ``extra`` of a 2-D problem, ``size`` and
            ``background`` of image files, ``size`` of Tiny ImageNet, and the keyword-only parameters of a registered
            data set.

    Raises:
        InputError: the name or an option is unknown, or the data are missing, damaged or cannot be split.

    >>> load("moons", n=200)
    Dataset(moons: 2 classes, points (2,), 180 train, 20 val, 200 test)
    """
    base, named = parse_name(name)
    source = _find(base)
    for option in options:
        _check_option(base, source, option)
    given = {"seed": seed, "root": data_root(root), "download": download}
    taken, options = inspect.signature(source).parameters, {**named, **options}
    make = partial(source, **{key: given[key] for key in GIVEN if key in taken}, **options)
    if download or base not in IN_MEMORY:
        return make()
    files = stamp(data_root(root) / FOLDERS[base] / part for part in PARTS[base]) if base in PARTS else ""
    shared: Dataset = in_use.get((base, seed, *sorted(options.items()), files), make)
    return shared


def data_fingerprint(name: str, root: str | Path | None = None, seed: int = 0) -> str:
    """Return ``load(...).fingerprint``; image files that were decoded before are not decoded again for it.

    Raises:
        InputError: see ``load``.
    """
    if path_kind(name) in LISTED or parse_name(name)[0] == "tiny-imagenet":
        return listed(name, root).fingerprint(seed)
    return load(name, root, seed=seed).fingerprint


def listed(name: str, root: str | Path | None = None) -> Listing:
    """Return the image files of a data set that has some, which ``pack`` writes.

    Raises:
        InputError: it has none, or see ``load``.
    """
    base, options = parse_name(name)
    kind = path_kind(base)
    if kind in LISTED:
        return LISTED[kind](base.removeprefix(kind), **options)
    if base == "tiny-imagenet":
        return list_tiny_imagenet(data_root(root), **options)
    raise InputError(f"A pack is made of image files: give folder:PATH, parquet:PATH or tiny-imagenet, not {name!r}.")


def parse_name(name: str) -> tuple[str, dict[str, Any]]:
    """Split a data set's name from its options.

    Raises:
        InputError: the data set or an option is unknown, or a value is not a number where the option is not a text.

    >>> parse_name("spirals:noise=0.2,classes=4")
    ('spirals', {'noise': 0.2, 'classes': 4})
    >>> parse_name("folder:pets, big,size=96")
    ('folder:pets, big', {'size': 96})
    """
    if not isinstance(name, str):
        raise InputError(f"A data set's name must be a string such as 'digits', got {name!r}.")
    kind = path_kind(name)
    if kind:
        split = OF_FILES.fullmatch(name.removeprefix(kind))
        assert split is not None
        path = split["path"] if kind in LISTED else name.removeprefix(kind)
        if not path.strip():  # the empty path is the current folder
            raise InputError(f"{name!r} must name a path: {kind}PATH.")
        base = kind + path
        colon = words = name.removeprefix(base).removeprefix(",")
    else:
        base, colon, words = name.partition(":")
    source, options = _find(base), {}
    for word in words.split(",") if colon else []:
        option, _, value = word.partition("=")
        _check_option(base, source, option)
        text = isinstance(inspect.signature(source).parameters[option].default, str)
        options[option] = value if text else _number(base, option, value)
    return base, options


def path_kind(name: str) -> str:
    """Return which of ``PATH_KINDS`` the name of a data set begins with, else an empty string."""
    return next((kind for kind in PATH_KINDS if name.startswith(kind)), "")


def short_name(name: str) -> str:
    """Return a data set's name for a file or a title: without options, and of a path its last part.

    >>> short_name("spirals:noise=0.2"), short_name("folder:pictures/pets,size=32"), short_name("npz:a/b.npz")
    ('spirals', 'pets', 'b')
    """
    kind = path_kind(name)
    if not kind:
        return name.partition(":")[0]
    # the last part of "." is that of the folder which it names
    path = Path(os.path.abspath(parse_name(name)[0].removeprefix(kind)))
    return (path.name.split(".")[0] if path.is_file() or kind == NPZ else path.name) or "folder"


def moved(name: str, move: Callable[[str], str]) -> str:
    """Return a data set's name with another path, if it has one.

    >>> moved("folder:pets,size=32", lambda path: f"/data/{path}"), moved("digits", str.upper)
    ('folder:/data/pets,size=32', 'digits')
    """
    kind = path_kind(name)
    if not kind:
        return name
    path = parse_name(name)[0].removeprefix(kind)
    return kind + move(path) + name.removeprefix(kind + path)


def with_size(name: str, size: int | None = None) -> str:
    """Return a data set's name with the size at which its images are read, if it is that of files without one.

    Args:
        size: in pixels; by default the smaller of 64 and the median short side of the images.

    Raises:
        InputError: see ``list_folder`` and ``list_parquet``.
    """
    (base, options), kind = parse_name(name), path_kind(name)
    if kind not in LISTED or "size" in options:
        return name
    return f"{name},size={size or LISTED[kind](base.removeprefix(kind)).train.size}"


def _find(name: str) -> Source:
    match path_kind(name):
        case "folder:":
            return partial(load_folder, name.removeprefix("folder:"))
        case "parquet:":
            return partial(load_parquet, name.removeprefix("parquet:"))
        case "npz:":
            return partial(_shared_npz, name.removeprefix(NPZ))
        case "pack:":
            return partial(load_pack, name.removeprefix(PACK))
    if name not in datasets:
        raise unknown("data set", name, [*datasets, "folder:PATH", "parquet:PATH", "npz:PATH", "pack:PATH"])
    return datasets[name]


def _shared_npz(path: str, seed: int = 0) -> Dataset:
    file = Path(os.path.expanduser(path))
    made: Dataset = in_use.get((NPZ, os.path.abspath(file), seed, stamp([file])), lambda: load_npz(path, seed))
    return made


def _check_option(name: str, source: Source, option: str) -> None:
    allowed = [p.name for p in inspect.signature(source).parameters.values() if p.kind is p.KEYWORD_ONLY]
    allowed = [option for option in allowed if option not in GIVEN]
    if option not in allowed:
        raise unknown(f"option of {name}", option, allowed or ["none"])


def _number(name: str, option: str, text: str) -> int | float:
    try:
        value = float(text)
        return int(text if text.strip("+-").isdecimal() else value) if value.is_integer() else value
    except ValueError as error:
        raise InputError(f"{option} of {name} must be a number, got {text!r}.") from error
