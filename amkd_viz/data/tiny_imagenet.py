"""Tiny ImageNet, or a subset of its classes, in the official folder layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import files_below, readable
from amkd_viz.data.dataset import Dataset
from amkd_viz.data.listing import Files, Listing
from amkd_viz.data.where import ELSEWHERE, FOLDERS, VARIABLE, find

__all__ = ["list_tiny_imagenet", "load_tiny_imagenet"]

SIZE = 64


def load_tiny_imagenet(root: Path, download: bool = False, seed: int = 0, *, size: int = SIZE) -> Dataset:
    """Load uint8 images (N, 3, size, size); raises as ``list_tiny_imagenet`` and ``decode``."""
    return list_tiny_imagenet(root, download, size).load(seed)


def list_tiny_imagenet(root: Path, download: bool = False, size: int = SIZE) -> Listing:
    """List the images. The official validation images are the test split (the test set is unlabelled).

    ``wnids.txt`` gives the classes and their order, ``words.txt`` their names. A validation folder that was rearranged
    into one folder per class gives the same data set.

    Args:
        size: height and width in pixels to which the images of 64 x 64 are resized.

    Raises:
        InputError: the data or a part of it is missing or unreadable, or ``size`` is out of range.
    """
    folder = find("tiny-imagenet", root)
    if folder is None:
        name = FOLDERS["tiny-imagenet"]
        refusal = "automatic download is not supported: " if download else ""
        raise InputError(
            f"tiny-imagenet was not found (looked for {root / name}); {refusal}download the archive from its authors' "
            f"page and unpack it there, or set {VARIABLE} to the folder that holds {name}."
        )
    wnids = [line.strip() for line in _lines(folder / "wnids.txt")]
    if len(wnids) < 2:
        raise InputError(f"{folder / 'wnids.txt'} must name at least 2 classes, got {len(wnids)}.")
    words = dict(line.split("\t", 1) for line in _lines(folder / "words.txt") if "\t" in line)
    classes = tuple(words.get(wnid, wnid).split(",")[0] for wnid in wnids)

    train = [(path, k) for k, wnid in enumerate(wnids) for path in _images(folder / "train" / wnid)]
    number = {wnid: k for k, wnid in enumerate(wnids)}
    test = _validation(folder / "val", number)
    return Listing("tiny-imagenet", classes, _files(train, size), _files(test, size))


def _validation(folder: Path, number: Mapping[str, int]) -> list[tuple[Path, int]]:
    with readable(folder):
        rearranged = [wnid for wnid in number if (folder / wnid).is_dir()]
    if rearranged:
        samples = [(path, number[wnid]) for wnid in rearranged for path in _images(folder / wnid)]
        return sorted(samples, key=lambda sample: _natural(sample[0]))  # the order of the official annotations
    annotations = folder / "val_annotations.txt"
    rows = [line.split("\t") for line in _lines(annotations)]
    found = [(folder / "images" / row[0], number[row[1]]) for row in rows if len(row) > 1 and row[1] in number]
    if not found:
        raise InputError(f"{annotations} names no image of the classes in wnids.txt.")
    return found


def _files(samples: list[tuple[Path, int]], size: int) -> Files:
    paths, labels = zip(*samples, strict=True)
    return Files.labelled(paths, torch.tensor(labels), size)


def _images(folder: Path) -> list[Path]:
    """Return the images of one class in natural order."""
    found = sorted((path for path in files_below(folder) if path.suffix == ".JPEG"), key=_natural)
    if not found:
        raise InputError(f"{folder} holds no .JPEG images; {ELSEWHERE}.")
    return found


def _natural(path: Path) -> tuple[int, str]:
    """Sort n01_2.JPEG before n01_10.JPEG."""
    return len(path.name), path.name


def _lines(path: Path) -> list[str]:
    with readable(path):
        try:
            return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (FileNotFoundError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error}); {ELSEWHERE}.") from error
