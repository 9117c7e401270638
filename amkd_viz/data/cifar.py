"""CIFAR-10 and CIFAR-100 from the official files, read by torchvision."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable
from amkd_viz.data.checks import require
from amkd_viz.data.dataset import Dataset, Split
from amkd_viz.data.where import ELSEWHERE, FOLDERS, VARIABLE

__all__ = ["load_cifar"]

SIDE = 32
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}


def load_cifar(name: str, root: Path, download: bool = False, seed: int = 0) -> Dataset:
    """Load uint8 images (N, 3, 32, 32): 45,000 for training, 5,000 for validation and 10,000 for testing.

    Unpacks the official archive if ``root`` holds it. Files in the official form that are not the official ones, such
    as those with the rows in another order, are read too, and a note of the data set says so.

    Raises:
        InputError: torchvision or the data are missing, the download failed, or a file is truncated, altered or
            unreadable (the message names it).
    """
    datasets = require("torchvision.datasets", "torchvision", f"The data set {name!r}")
    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    with readable(root):
        if not (root / FOLDERS[name]).is_dir():
            download = _archive_is_whole(source, root) or download
    try:
        # The official files are pickles, which can run code when read: torchvision opens each one only after its
        # md5 has matched the published one.
        train = source(root, train=True, download=download)
        test = source(root, train=False)
    except (RuntimeError, OSError) as error:
        with readable(root):
            folder, absent = root / source.base_folder, _absent(source, root / source.base_folder)
            for file in set(_listed(source)) - set(absent):
                (folder / file).open("rb").close()  # one without the right to be read says so
            if absent:
                raise _diagnosis(name, source, root, download, error) from error
            return _unofficial(name, source, folder, seed)
    return Dataset.assemble(name, tuple(train.classes), _split(train), _split(test), seed=seed)


def _unofficial(name: str, source: Any, folder: Path, seed: int) -> Dataset:
    """Read files of the official form whose md5 is not the published one, without running code."""
    listed = [[file for file, _ in files] for files in (source.train_list, source.test_list)]
    meta = _plain(folder / source.meta["filename"])
    try:
        classes = tuple(text(label) for label in meta[source.meta["key"]])
    except (KeyError, TypeError) as error:
        raise _damaged(folder / source.meta["filename"], f"it has no {source.meta['key']}") from error
    train, test = (_rows([folder / file for file in files], len(classes)) for files in listed)
    made = Dataset.assemble(name, classes, train, test, seed=seed)
    altered = [
        file
        for files in (source.train_list, source.test_list)
        for file, md5 in files
        if not _matches(folder / file, md5)
    ]
    note = (
        f"{', '.join(altered)} of {name} are not the official files (other md5): positions of images differ from them."
    )
    return replace(made, notes=(note,))


def _rows(files: list[Path], classes: int) -> Split:
    images, labels = [], []
    for file in files:
        content = _plain(file)
        data, y = content.get("data"), content.get("labels", content.get("fine_labels"))
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE**2:
            raise _damaged(file, "its data are not rows of 3 x 32 x 32 bytes")
        if not isinstance(y, list) or len(y) != len(data) or not all(type(k) is int and 0 <= k < classes for k in y):
            raise _damaged(file, f"its labels are not one class from 0 to {classes - 1} for each row")
        images.append(torch.from_numpy(data.reshape(-1, 3, SIDE, SIDE).copy()))
        labels += y
    x = torch.cat(images)
    return Split(x, torch.tensor(labels), torch.arange(len(x)))


class _Plain(pickle.Unpickler):
    """Reads containers, texts, numbers and NumPy arrays, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) in ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _plain(file: Path) -> dict[str, Any]:
    """Return the content of a pickle of plain data, its keys as text.

    Raises:
        InputError: it is damaged, or asks for more than plain data.
    """
    try:
        content = _Plain(io.BytesIO(file.read_bytes()), encoding="latin1").load()
        return {text(key): value for key, value in content.items()}
    except OSError:
        raise
    except Exception as error:  # whatever a damaged pickle makes the reader raise
        raise _damaged(file, str(error)) from error


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _damaged(file: Path, why: str) -> InputError:
    short = " ".join(why.split())[:120]
    return InputError(f"{file} is truncated or altered (md5 differs) and cannot be read: {short}; {ELSEWHERE}.")


def _split(source: Any) -> Split:
    x = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Split(x, torch.tensor(source.targets), torch.arange(len(x)))


def _archive_is_whole(source: Any, root: Path) -> bool:
    """Return whether ``root`` holds the official archive; raise InputError if its checksum differs."""
    archive: Path = root / source.filename
    if archive.is_file() and not _matches(archive, source.tgz_md5):
        raise InputError(f"{archive} is truncated or altered (md5 differs); fetch it again into another folder.")
    return archive.is_file()


def _diagnosis(name: str, source: Any, root: Path, download: bool, error: Exception) -> InputError:
    """Return the error for a failed load: the file at fault, and what to do."""
    folder = root / source.base_folder
    missing = _absent(source, folder)
    if download and missing:
        return InputError(
            f"{name} could not be downloaded to {root} ({error}); unpack the official archive there yourself."
        )
    if len(missing) == len(_listed(source)):
        return InputError(
            f"{name} was not found (looked for {folder}); fetch it with load({name!r}, download=True) or --download, "
            f"or set {VARIABLE} to the folder that holds {source.base_folder}."
        )
    return InputError(f"{folder / missing[0]} is missing; {ELSEWHERE}.")


def _listed(source: Any) -> list[str]:
    return [file for file, _ in (*source.train_list, *source.test_list)] + [source.meta["filename"]]


def _absent(source: Any, folder: Path) -> list[str]:
    return [file for file in _listed(source) if not (folder / file).is_file()]


def _matches(path: Path, md5: str) -> bool:
    return bool(require("torchvision.datasets.utils", "torchvision", "CIFAR").check_integrity(path, md5))
