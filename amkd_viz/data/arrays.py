"""Images or points from the arrays of one .npz file."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable
from amkd_viz.core.memory import check_memory
from amkd_viz.data.alike import alike
from amkd_viz.data.dataset import Dataset, Split

__all__ = ["load_npz"]

# Names of the inputs and labels of each part, in any case: plain, as in Keras' files, and as in MedMNIST's.
NAMES = {
    "train": (("x", "y"), ("x_train", "y_train"), ("train_images", "train_labels")),
    "val": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}


def load_npz(path: str | Path, seed: int = 0) -> Dataset:
    """Load the arrays ``x`` and ``y`` of a file that ``numpy.savez`` wrote.

    ``x`` holds images, (N, H, W), (N, H, W, C) or (N, C, H, W) with one or three channels, uint8 or floats in
    [0, 1], or points (N, 2); ``y`` whole numbers from 0. ``x_train`` and ``y_train``, or ``train_images`` and
    ``train_labels``, are read as well, and so are given parts for validation and test; see ``Dataset.assemble`` for
    what is split off without them. ``classes`` may name the classes. A note names the arrays that were left out.

    Raises:
        InputError: the file is missing or damaged, needs a pickle, or its arrays have other shapes or values.
    """
    file = Path(os.path.expanduser(path))
    arrays = _arrays(file)
    by_name = {name.lower(): name for name in arrays}
    parts: dict[str, Split] = {}
    used = {by_name.get("classes", "")}
    for part, pairs in NAMES.items():
        held = [tuple(by_name[name] for name in pair) for pair in pairs if by_name.keys() >= set(pair)]
        if len(held) > 1:
            both = " and ".join(held[0] + held[1])
            raise InputError(f"{file} must hold the {part} split once, got {both}; remove one of them.")
        for x, y in held:
            parts[part] = _split(_inputs(arrays[x], file, x), _labels(arrays[y], file, y), file, x)
            used |= {x, y}
    if "train" not in parts:
        raise InputError(
            f"{file} must hold the arrays x and y (or x_train and y_train), got {', '.join(arrays) or 'none'}."
        )
    if any(part.x.shape[1:] != parts["train"].x.shape[1:] for part in parts.values()):
        raise InputError(f"The parts of {file} must have samples of one shape.")
    count = 1 + max(int(part.y.max()) for part in parts.values())
    named = arrays.get(by_name.get("classes", ""), range(count))
    classes = tuple(map(str, named))
    if not 2 <= count <= len(classes):
        raise InputError(
            f"{file} must hold at least 2 classes, and a name for each, got {count} and {len(classes)} names."
        )
    name = f"npz:{path}"
    dataset = Dataset.assemble(name, classes, parts["train"], parts.get("test"), seed=seed, val=parts.get("val"))
    others = ", ".join(name for name in arrays if name not in used)
    notes = (f"Left out of {file.name}: {others}.",) if others else ()
    return dataclasses.replace(dataset, notes=(*notes, *alike(dataset)))


def _arrays(file: Path) -> dict[str, Any]:
    with readable(file):
        if not file.is_file():
            raise InputError(f"File not found: {file}; give npz:PATH of a file with the arrays x and y.")
    try:
        with zipfile.ZipFile(file) as parts:
            check_memory(sum(part.file_size for part in parts.infolist()), f"{file}", "use fewer or smaller images")
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile or NumPy raise
        raise InputError(
            f"{file} is not a file of numpy.savez without pickles ({' '.join(str(error).split())[:120]})."
        ) from error


def _split(x: Tensor, y: Tensor, file: Path, name: str) -> Split:
    if len(x) != len(y):
        raise InputError(f"{name} of {file} must have one label for each sample, got {len(x)} and {len(y)} labels.")
    return Split(x, y, torch.arange(len(y)))


def _inputs(x: Any, file: Path, name: str) -> Tensor:
    if x.ndim == 2 and x.shape[1] == 2 and x.dtype.kind == "f":
        if not np.isfinite(x).all():
            raise InputError(f"{name} of {file} must be finite.")
        return torch.from_numpy(x.astype(np.float32))
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim == 4 and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not len(x):
        raise InputError(f"{name} of {file} must hold images with 1 or 3 channels, or points (N, 2), got {x.shape}.")
    if x.dtype == bool:
        x = x * np.uint8(255)
    if x.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(x))
    if x.dtype.kind not in "fiu" or not np.isfinite(x).all():
        raise InputError(f"{name} of {file} must be uint8, or finite floats in [0, 1], got {x.dtype}.")
    low, high = float(x.min()), float(x.max())
    if x.dtype.kind == "f" and low >= 0 and high <= 1:
        return torch.from_numpy(np.ascontiguousarray((x * 255).round().astype(np.uint8)))
    way = f"give {name}.astype('uint8')" if low >= 0 and 1 < high <= 255 else f"scale {name} to [0, 1]"
    if low >= -1 and low < 0 and high <= 1:
        way = f"give ({name} + 1) / 2"
    raise InputError(
        f"{name} of {file} must be uint8, or floats in [0, 1], got {x.dtype} from {low:.4g} to {high:.4g}; {way}."
    )


def _labels(y: Any, file: Path, name: str) -> Tensor:
    y = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y  # a column, as in Keras' files
    if y.ndim != 1 or y.dtype.kind not in "iu" or not len(y) or y.min() < 0 or y.max() > 10**6:
        way = "numpy.unique(y, return_inverse=True) gives classes from 0"
        if y.ndim == 2:
            way = f"{name}.argmax(1) gives the class of one-hot rows"
        elif y.dtype.kind == "f":
            way = f"give {name}.astype('int64') if these are whole numbers"
        raise InputError(
            f"{name} of {file} must hold one class from 0 for each sample, got {y.dtype} of shape {y.shape}; {way}."
        )
    return torch.from_numpy(y.astype(np.int64))
