"""Images in Parquet files, as the Hugging Face hub hands out data sets for image classification."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import files_below, readable
from amkd_viz.core.memory import check_memory
from amkd_viz.data.checks import require
from amkd_viz.data.dataset import Dataset
from amkd_viz.data.decode import WHITE, Packed
from amkd_viz.data.folder import PARTS
from amkd_viz.data.listing import Files, Listing

__all__ = ["list_parquet", "load_parquet"]

IMAGES = ("image", "img")
LABELS = ("label", "labels", "fine_label")


def load_parquet(path: str | Path, seed: int = 0, *, size: int | None = None, background: int = WHITE) -> Dataset:
    """Load uint8 images (N, 3, size, size) as ``load_folder`` does; raises as ``list_parquet`` and ``decode``."""
    return list_parquet(path, size, background).load(seed)


def list_parquet(path: str | Path, size: int | None = None, background: int = WHITE) -> Listing:
    """List the images of one Parquet file, or of all below a folder.

    Each row has an image file's bytes in the column ``image`` (or ``img``) and a class in ``label`` (or ``labels``,
    ``fine_label``): a number from 0, or a name. A file belongs to the split that its name begins with, as in
    ``test-00000-of-00001.parquet``, or that its folder is called; without one, to the training split. The names of
    numbered classes are read from the metadata that the ``datasets`` library writes.

    Args:
        size, background: see ``list_folder``.

    Raises:
        InputError: pyarrow or the file is missing, a file is damaged or lacks a column, or its labels are not classes.
    """
    root = Path(os.path.expanduser(path))
    with readable(root):
        found = [root] if root.is_file() else [file for file in files_below(root) if file.suffix == ".parquet"]
    if not found:
        raise InputError(
            f"{root} is not a Parquet file and holds none; give parquet:PATH with columns image and label."
        )
    check_memory(sum(file.stat().st_size for file in found), f"{root}", "use fewer images")
    images: dict[str, list[Packed]] = {}
    labels: dict[str, list[Any]] = {}
    names: list[str] = []
    for file in found:
        part = _part(file)
        own_images, own_labels, own_names = _rows(file)
        if names and own_names and own_names != names:
            raise InputError(f"{file} must have the classes of the files before it, {', '.join(names[:5])}.")
        names = names or own_names
        images.setdefault(part, []).extend(own_images)
        labels.setdefault(part, []).extend(own_labels)
    if "train" not in images:
        raise InputError(f"{root} must hold rows for training, got {' and '.join(images)} alone.")
    every = {label for own in labels.values() for label in own}
    if all(isinstance(label, str) for label in every):
        names = sorted(every)
        labels = {part: [names.index(label) for label in own] for part, own in labels.items()}
    elif not all(type(label) is int and 0 <= label < 10**6 for label in every):
        odd = next(label for label in every if type(label) is not int or not 0 <= label < 10**6)
        raise InputError(f"The labels of {root} must be class names or whole numbers from 0, got {odd!r}.")
    else:
        names = names or [str(k) for k in range(max(every, default=0) + 1)]
        if max(every, default=0) >= len(names):
            raise InputError(f"The labels of {root} must be below its {len(names)} classes, got {max(every)}.")
    if len(names) < 2:
        raise InputError(f"{root} must hold at least 2 classes, got {len(names)}.")
    train = Files.labelled(images.pop("train"), torch.tensor(labels["train"]), size, background)
    others = {
        part: Files.labelled(own, torch.tensor(labels[part]), train.size, background) for part, own in images.items()
    }
    return Listing(f"parquet:{path}", tuple(names), train, others.get("test"), others.get("val"))


def _part(file: Path) -> str:
    for name in (re.split(r"[-_.]", file.stem)[0], file.parent.name):
        if name.lower() in PARTS:
            return PARTS[name.lower()]
    return "train"


def _rows(file: Path) -> tuple[list[Packed], list[Any], list[str]]:
    """Return images, labels and the names of the classes (none where the file does not tell) of one file."""
    parquet = require("pyarrow.parquet", "pyarrow", "Reading Parquet files")
    with readable(file):
        file.open("rb").close()
    try:
        schema = parquet.read_schema(file)
        image = next((name for name in IMAGES if name in schema.names), None)
        label = next((name for name in LABELS if name in schema.names), None)
        if image is None or label is None:
            raise InputError(f"{file} must have columns image and label, got {', '.join(schema.names) or 'none'}.")
        table = parquet.read_table(file, columns=[image, label])
        cells, labels = table[image].to_pylist(), table[label].to_pylist()
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = [str(name) for name in about.get("info", {}).get("features", {}).get(label, {}).get("names", [])]
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes pyarrow raise
        why = " ".join(str(error).split())[:120]
        raise InputError(f"{file} cannot be read as a Parquet file ({why}).") from error
    images = []
    for row, cell in enumerate(cells):
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise InputError(f"Row {row} of {file} must hold the bytes of an image file, got {type(content).__name__}.")
        images.append(Packed(file, row, content))
    return images, labels, names
