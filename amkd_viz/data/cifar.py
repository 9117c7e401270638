"""CIFAR-10 and CIFAR-100 from the official files, read by torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable
from amkd_viz.data.checks import require
from amkd_viz.data.dataset import Dataset, Split
from amkd_viz.data.where import FOLDERS, VARIABLE

__all__ = ["load_cifar"]


def load_cifar(name: str, root: Path, download: bool = False, seed: int = 0) -> Dataset:
    """Load uint8 images (N, 3, 32, 32): 45,000 for training, 5,000 for validation and 10,000 for testing.

    Unpacks the official archive if ``root`` holds it.

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
            raise _diagnosis(name, source, root, download, error) from error
    return Dataset.assemble(name, tuple(train.classes), _split(train), _split(test), seed=seed)


def _split(source: Any) -> Split:
    x = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Split(x, torch.tensor(source.targets), torch.arange(len(x)))


def _archive_is_whole(source: Any, root: Path) -> bool:
    """Return whether ``root`` holds the official archive; raise InputError if its checksum differs."""
    archive: Path = root / source.filename
    if archive.is_file() and not _matches(archive, source.tgz_md5):
        raise InputError(f"{archive} is truncated or altered (md5 differs); delete it and fetch it again.")
    return archive.is_file()


def _diagnosis(name: str, source: Any, root: Path, download: bool, error: Exception) -> InputError:
    """Return the error for a failed load: the file at fault, and what to do."""
    folder = root / source.base_folder
    listed = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    missing = [file for file, _ in listed if not (folder / file).is_file()]
    if download and missing:
        return InputError(
            f"{name} could not be downloaded to {root} ({error}); unpack the official archive there yourself."
        )
    if len(missing) == len(listed):
        return InputError(
            f"{name} was not found (looked for {folder}); fetch it with load({name!r}, download=True) or --download, "
            f"or set {VARIABLE} to the folder that holds {source.base_folder}."
        )
    altered = [file for file, md5 in listed if file not in missing and not _matches(folder / file, md5)]
    for file in missing + altered:
        fault = "missing" if file in missing else "truncated or altered (md5 differs)"
        return InputError(f"{folder / file} is {fault}; delete {folder} and unpack the official archive again.")
    return InputError(f"{name} could not be read from {folder}: {error}")


def _matches(path: Path, md5: str) -> bool:
    return bool(require("torchvision.datasets.utils", "torchvision", "CIFAR").check_integrity(path, md5))
