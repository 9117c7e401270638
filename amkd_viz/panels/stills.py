"""A still picture of an embedding panel, for readers without a kernel: a web viewer, an exported page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from amkd_viz.views.picture import picture
from amkd_viz.views.scene import Mark, Panel, Scene

__all__ = ["scatter_still"]


def scatter_still(layouts: Sequence[NDArray[Any]], label: NDArray[Any], boundary: NDArray[Any]) -> Image.Image:
    """Draw layouts (N, 2) of the same samples side by side; boundary samples are ringed."""
    low, high = np.min([p.min(0) for p in layouts], 0), np.max([p.max(0) for p in layouts], 0)
    half = max(float((high - low).max()), 1e-9) * 0.54
    (x, y) = (low + high) / 2
    marks = [Mark("dots", points, label, panel=n, size=2.5) for n, points in enumerate(layouts)]
    marks += [Mark("ring", points[boundary], panel=n) for n, points in enumerate(layouts)]
    return picture(Scene([Panel()] * len(layouts), (x - half, x + half, y - half, y + half), marks))
