"""Decoded images that are kept over processes: what took long to decode is read back in a moment."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import write_atomic
from amkd_viz.data.decode import SLOW, Packed, decode
from amkd_viz.data.shared import stamp
from amkd_viz.data.where import cache_folder

__all__ = ["decoded"]

LARGEST = 10**9  # bytes of one array that is kept
TOTAL = 4 * 10**9  # bytes of all: the ones that were not read for longest are removed


def decoded(paths: Sequence[Path | Packed], size: int, background: int) -> Tensor:
    """Return ``decode(paths, size, background)``, from the cache folder where the same files were decoded before.

    Files are known by their names, sizes and times of change. What decodes within two seconds is not kept.

    Raises:
        InputError: see ``decode``.
    """
    about = f"{stamp(paths)} {[path.row for path in paths if isinstance(path, Packed)]} {size} {background}"
    file = cache_folder() / "decoded" / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.npy"
    shape = (len(paths), 3, size, size)
    with suppress(OSError, ValueError, EOFError):  # not kept, or damaged
        kept = np.load(file, allow_pickle=False)
        if (kept.dtype, kept.shape) == (np.uint8, shape):
            os.utime(file)
            return torch.from_numpy(kept)
    begun = time.monotonic()
    pixels = decode(paths, size, background)
    if time.monotonic() - begun > SLOW and pixels.nbytes <= LARGEST:
        content = io.BytesIO()
        np.save(content, pixels.numpy())
        with suppress(InputError, OSError):  # a full disk: then it is decoded again
            write_atomic(file, content.getvalue(), flush=False)
            _remove_oldest(file.parent)
    return pixels


def _remove_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > TOTAL:
            file.unlink()
