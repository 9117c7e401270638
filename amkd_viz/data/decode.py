"""Decode image files into one uint8 tensor."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable
from amkd_viz.data.checks import require

__all__ = ["decode"]

LARGEST = 2**26  # pixels of one file: some tens of MB of PNG can unpack to gigabytes
THREADS = 8


def decode(paths: Sequence[Path], size: int) -> Tensor:
    """Decode images as RGB, resize the short side and crop the centre: uint8 (N, 3, size, size).

    Raises:
        InputError: a file (named in the message) is missing, damaged or not an 8-bit image, or Pillow is missing.
    """
    image, ops = (require(f"PIL.{part}", "pillow", "Reading image files") for part in ("Image", "ImageOps"))
    pixels = np.empty((len(paths), 3, size, size), np.uint8)

    def read(position: int) -> None:
        path = paths[position]
        try:
            with image.open(path) as opened:
                if opened.mode.startswith(("I", "F")):  # Pillow would clip these to 255, not scale them
                    raise InputError(f"{path} must have 8 bits per channel, got mode {opened.mode}.")
                if opened.width * opened.height > LARGEST:
                    words = f"{opened.width:,} x {opened.height:,}"
                    raise InputError(f"{path} must have at most {LARGEST:,} pixels, got {words}; make it smaller.")
                whole = ops.exif_transpose(opened).convert("RGB")
        except (OSError, SyntaxError, ValueError, struct.error, image.DecompressionBombError) as error:
            if isinstance(error, InputError):
                raise
            if isinstance(error, PermissionError):  # the image itself may be fine
                with readable(path):
                    raise
            raise InputError(f"{path} cannot be read as an image ({error}); replace or remove it.") from error
        pixels[position] = np.asarray(ops.fit(whole, (size, size), image.Resampling.BICUBIC)).transpose(2, 0, 1)

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:  # Pillow lets others run while it decodes
        for _ in pool.map(read, range(len(paths))):
            pass  # raises what a thread raised
    return torch.from_numpy(pixels)
