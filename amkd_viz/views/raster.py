"""Arrays as pixels: the palette of decision maps, and PNGs that are shown as whole pixels, never smoothed."""

from __future__ import annotations

import base64
import io
import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from amkd_viz.views.theme import LIGHT, class_colour

__all__ = ["WARM", "class_pixels", "class_table", "image_pixels", "place", "png", "signed_pixels", "warm_pixels"]

LEVELS = 8  # of opacity; few, so that a map is a palette PNG of a few kilobytes
FAINT, FULL = 0.18, 0.72  # opacity at zero and full confidence; data points stand out on the strongest region
WARM = [int(LIGHT.warm[i : i + 2], 16) for i in (1, 3, 5)]  # of disagreement; in pixels, which no theme changes
POSITIVE, NEGATIVE = (231, 99, 0), (63, 144, 218)


@cache
def class_table(classes: int, levels: int = LEVELS) -> NDArray[np.uint8]:
    """Return RGBA (classes, levels, 4): the class gives the colour, the level of confidence the opacity."""
    colours = [[int(class_colour(k)[i : i + 2], 16) for i in (1, 3, 5)] for k in range(classes)]
    table = np.zeros((classes, levels, 4), np.uint8)
    table[..., :3] = np.array(colours, np.uint8).reshape(-1, 1, 3)
    table[..., 3] = 255 * (FAINT + (FULL - FAINT) * np.linspace(0, 1, levels))
    return table


def class_pixels(winner: NDArray[Any], confidence: NDArray[Any]) -> NDArray[np.uint8]:
    """Return RGBA (H, W, 4) of a decision map with confidence in [0, 1]; class -1 (undecided) is transparent."""
    level = np.floor(np.clip(np.nan_to_num(confidence), 0, 1) * (LEVELS - 1) + 0.5).astype(int)
    pixels = class_table(max(1, int(winner.max(initial=-1)) + 1))[winner, level]
    return np.where(winner[..., None] < 0, np.uint8(0), pixels)


def warm_pixels(apart: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return RGBA (H, W, 4): one neutral colour, visible on light and on dark, where two nets differ."""
    return np.where(apart[..., None], np.array([*WARM, 220]), 0).astype(np.uint8)


def image_pixels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return RGBA (H, W, 4) of one image (C, H, W) in [0, 1]; one channel is grey."""
    values = np.clip(np.nan_to_num(np.asarray(image, np.float32)), 0, 1).transpose(1, 2, 0)
    rgb = np.broadcast_to(values, (*values.shape[:2], 3)) if values.shape[2] == 1 else values[..., :3]
    return np.concatenate([(255 * rgb + 0.5).astype(np.uint8), np.full((*rgb.shape[:2], 1), 255, np.uint8)], -1)


def signed_pixels(difference: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    """Return RGBA (H, W, 4) of a difference (C, H, W), averaged over channels, times ``scale``: orange positive, blue
    negative."""
    mean = np.nan_to_num(np.asarray(difference, np.float32)).mean(0) * scale
    colour = np.where(mean[..., None] > 0, np.array(POSITIVE), np.array(NEGATIVE))
    return np.concatenate([colour, 255 * np.clip(np.abs(mean), 0, 1)[..., None]], -1).astype(np.uint8)


def png(pixels: NDArray[np.uint8], at_least: int = 192) -> str:
    """Return a data URI of RGBA pixels, each enlarged to a square of whole pixels so that no browser blurs it.

    Args:
        pixels: (H, W, 4), row 0 on top.
        at_least: the longer side has at least this many pixels.
    """
    factor = max(1, math.ceil(at_least / max(pixels.shape[:2])))
    colours, codes = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True)
    file = io.BytesIO()
    if len(colours) <= 256:  # a palette with opacity takes a tenth of the bytes
        indices = codes.reshape(pixels.shape[:2]).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)
        picture = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
        picture.putpalette(colours[:, :3].tobytes())
        picture.save(file, "PNG", optimize=True, transparency=colours[:, 3].tobytes())
    else:
        Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1)).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def place(source: str, x: float, y: float, width: float, height: float, axes: str = "") -> dict[str, Any]:
    """Return a Plotly layout image whose left lower corner is (x, y) in the data units of axes x1 y1, x2 y2, ..."""
    where = {"x": x, "y": y, "sizex": width, "sizey": height, "xref": f"x{axes}", "yref": f"y{axes}"}
    return {"source": source, "xanchor": "left", "yanchor": "bottom", "layer": "below"} | where
