"""A still picture of a panel, for readers without a kernel: a web viewer, an exported page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from amkd_viz.views.decisions import Decisions
from amkd_viz.views.raster import class_pixels
from amkd_viz.views.theme import LIGHT, class_colour

__all__ = ["map_still", "scatter_still"]

SIDE, GAP = 300, 12


def map_still(maps: Mapping[str, Decisions]) -> Image.Image | None:
    """Decision maps (R, R) side by side on white, or None where there are none."""
    if not maps:
        return None
    picture = Image.new("RGB", (len(maps) * (SIDE + GAP) - GAP, SIDE), "white")
    for number, found in enumerate(maps.values()):
        pixels = np.ascontiguousarray(class_pixels(found.winner, found.confidence)[::-1])
        own = Image.fromarray(pixels, "RGBA").resize((SIDE, SIDE), Image.Resampling.NEAREST)
        picture.paste(own, (number * (SIDE + GAP), 0), own)
    return picture


def scatter_still(layouts: Sequence[NDArray[Any]], label: NDArray[Any], boundary: NDArray[Any]) -> Image.Image:
    """Layouts (N, 2) of the same samples side by side on white; boundary samples are ringed."""
    low, high = np.min([p.min(0) for p in layouts], 0), np.max([p.max(0) for p in layouts], 0)
    scale = (SIDE - 24) / max(float((high - low).max()), 1e-9)
    picture = Image.new("RGB", (len(layouts) * (SIDE + GAP) - GAP, SIDE), "white")
    pen = ImageDraw.Draw(picture)
    for number, points in enumerate(layouts):
        at = (points - (low + high) / 2) * (scale, -scale) + SIDE / 2 + (number * (SIDE + GAP), 0)
        for (x, y), k, ring in zip(at, label, boundary, strict=True):
            pen.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=class_colour(int(k)))
            if ring:
                pen.ellipse((x - 5, y - 5, x + 5, y + 5), outline=LIGHT.ink)
    return picture
