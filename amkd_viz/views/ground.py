"""What two nets are compared on: the window of a 2-D problem, or the plane through three images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.boundary import bss, sample_targets
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset
from amkd_viz.views.boundary_map import exact_map, grid_points, window
from amkd_viz.views.decisions import Decisions
from amkd_viz.views.layout import keep
from amkd_viz.views.plane_map import plane_area, plane_grid, plane_regions
from amkd_viz.views.planes import Plane

__all__ = ["Ground", "telling_triple"]

MOST_POINTS = 300


class Ground:
    """A square of inputs: every point of it can be asked what a net would call it.

    Attributes:
        images: (3, C, H, W) that a plane goes through, or None for points. labels: their classes.
        area: (x0, x1, y0, y1). plane: of the images, or None.
    """

    def __init__(
        self,
        data: Dataset,
        images: Tensor | None = None,
        labels: Sequence[int] = (),
        area: tuple[float, float, float, float] | None = None,
    ) -> None:
        """
        Raises:
            InputError: images without three of them, or three on one line.
        """
        self.data, self.images, self.labels = data, images, list(labels)
        self.plane: Plane | None = None
        if data.kind == "points":
            self.area = area or window(data)
            return
        if images is None:
            raise InputError(f"{data.name} has images: a map of them needs three to lay a plane through.")
        self.plane = Plane.through(images)
        self.area = area or plane_area(self.plane)

    def decisions(self, net: nn.Module, resolution: int) -> Decisions:
        """(R, R), row 0 at the bottom: exact for points, coarse to fine for images."""
        if self.plane is None:
            return exact_map(net, self.area, resolution)[2]
        return plane_regions(net, self.plane, self.area, resolution).decisions

    def outside(self, resolution: int = 100) -> float:
        """Share of the square that lies outside the pixel box and so holds no pictures; 0 for points."""
        if self.plane is None:
            return 0.0
        inside = self.plane.inside(plane_grid(self.area, resolution), self.plane.box(self.area)[1])
        return float(1 - inside.mean())

    def arrays(self, resolution: int) -> dict[str, NDArray[Any]]:
        """Where the cells are: x, y (R,), and of a plane anchors (3, 2), box (V, 2) and inside (R, R)."""
        if self.plane is None:
            points = grid_points(self.area, resolution).numpy()
            return {"x": points[:resolution, 0], "y": points[::resolution, 1]}
        grid = plane_grid(self.area, resolution)
        corners, faces = self.plane.box(self.area)
        at = grid.reshape(resolution, resolution, 2)
        inside = self.plane.inside(grid, faces).reshape(resolution, resolution)
        return {"x": at[0, :, 0], "y": at[:, 0, 1], "anchors": self.plane.anchors, "box": corners, "inside": inside}

    def marks(self) -> dict[str, NDArray[Any]]:
        """What is drawn on it: area (4,), and test points with labels or three pictures (3, H, W, C) as uint8."""
        area = np.array(self.area)
        if self.images is None:
            chosen = keep(len(self.data.test), MOST_POINTS)
            points, labels = self.data.test.x[chosen], self.data.test.y[chosen]
            return {"area": area, "points": points.numpy(), "label": labels.numpy()}
        pictures = (self.images * 255).round().clamp(0, 255).permute(0, 2, 3, 1).numpy().astype(np.uint8)
        return {"area": area, "pictures": pictures}


def telling_triple(teacher: nn.Module, data: Dataset, *, tries: int = 32, **attack: Any) -> tuple[Tensor, list[int]]:
    """Three images that show what boundary samples are about: one that the teacher knows, its boundary sample, and a
    negative from a third class.

    Of ``tries`` test images, evenly spread, the one is taken whose boundary sample reached its target on the longest
    way. With two classes there is no third: the negative is then another image.

    Args:
        attack: options of ``bss``.

    Returns:
        images (3, C, H, W) in [0, 1], and their classes: label, target, label.
    """
    taken = keep(len(data.test), tries)
    x, y = data.test.floats(taken).cpu(), data.test.y[taken].cpu()
    with torch.no_grad():
        logits = teacher(x).float()
    target = sample_targets(logits, generator("cpu", "telling triple"))
    found = bss(teacher, x, target, **attack)
    way = (found.x - x).flatten(1).norm(dim=1) * (found.status == 1) * (found.base == y)
    best = int(way.argmax())
    base, towards = int(found.base[best]), int(found.target[best])
    every = data.test.y.cpu()
    others = ((every != base) & (every != towards)).nonzero()[:, 0].tolist() or [i for i in taken if i != taken[best]]
    negative = data.test.floats([others[0]])[0].cpu()
    return torch.stack([x[best], found.x[best], negative]), [base, towards, int(every[others[0]])]
