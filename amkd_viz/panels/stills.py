"""A still picture of a panel, for readers without a kernel: a web viewer, an exported page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from amkd_viz.views.decisions import Decisions
from amkd_viz.views.raster import class_pixels

__all__ = ["map_still"]

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
