"""Decode image files into one uint8 tensor."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable
from amkd_viz.data.checks import require

__all__ = ["WHITE", "Packed", "decode", "short_side"]

LARGEST = 2**26  # pixels of one file: some tens of MB of PNG can unpack to gigabytes
THREADS = 8
WHITE = 255
SPARE = 2  # a JPEG is decoded at a reduced size that leaves this factor for the resize
SLOW = 2.0  # seconds of decoding after which a progress bar is shown


@dataclass(frozen=True)
class Packed:
    """An image file inside another file, which is its path.

    Attributes:
        file: the outer file. row: its place there, from 0. content: its bytes.
    """

    file: Path
    row: int
    content: bytes = field(repr=False)

    def __fspath__(self) -> str:
        return str(self.file)

    def __str__(self) -> str:
        return f"Row {self.row} of {self.file}"


def decode(paths: Sequence[Path | Packed], size: int, background: int = WHITE) -> Tensor:
    """Decode images as RGB, resize the short side and crop the centre: uint8 (N, 3, size, size).

    Large JPEG files are decoded at a reduced size. What takes longer than two seconds shows a progress bar.

    Args:
        background: grey level behind transparent pixels.

    Raises:
        InputError: a file (named in the message) is missing, damaged or not an 8-bit image, or Pillow is missing.
    """
    image, ops = _pillow("Image"), _pillow("ImageOps")
    pixels = np.empty((len(paths), 3, size, size), np.uint8)

    def read(position: int) -> None:
        path = paths[position]
        with _opened(path) as opened:
            if opened.mode.startswith(("I", "F")):  # Pillow would clip these to 255, not scale them
                raise InputError(f"{path} must have 8 bits per channel, got mode {opened.mode}; save it with 8 bits.")
            if opened.width * opened.height > LARGEST:
                words = f"{opened.width:,} x {opened.height:,}"
                raise InputError(f"{path} must have at most {LARGEST:,} pixels, got {words}; make it smaller.")
            opened.draft("RGB", (SPARE * size, SPARE * size))
            upright = ops.exif_transpose(opened)
            if "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
                ground = image.new("RGBA", upright.size, (background,) * 3 + (WHITE,))
                upright = image.alpha_composite(ground, upright.convert("RGBA"))
            fitted = ops.fit(upright.convert("RGB"), (size, size), image.Resampling.BICUBIC)
        pixels[position] = np.asarray(fitted).transpose(2, 0, 1)

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:  # Pillow lets others run while it decodes
        for _ in _shown(pool.map(read, range(len(paths))), len(paths)):
            pass  # raises what a thread raised
    return torch.from_numpy(pixels)


def short_side(path: Path | Packed) -> int:
    """Return the smaller of an image's height and width in pixels, from its header.

    Raises:
        InputError: see ``decode``.
    """
    with _opened(path) as opened:
        return int(min(opened.size))


def _pillow(part: str) -> Any:
    return require(f"PIL.{part}", "pillow", "Reading image files")


@contextmanager
def _opened(path: Path | Packed) -> Iterator[Any]:
    """Open an image with Pillow; whatever a damaged file makes it raise becomes an InputError."""
    image = _pillow("Image")
    try:
        with image.open(io.BytesIO(path.content) if isinstance(path, Packed) else path) as opened:
            yield opened
    except (OSError, SyntaxError, ValueError, struct.error, image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        if isinstance(error, PermissionError):  # the image itself may be fine
            with readable(Path(path)):
                raise
        raise InputError(f"{path} cannot be read as an image ({error}); replace or remove it.") from error


def _shown(results: Iterator[None], count: int) -> Iterator[None]:
    try:
        from tqdm import tqdm
    except ImportError:
        return results
    return iter(tqdm(results, "decoding images", count, delay=SLOW, leave=False, unit=" images"))
