"""Inputs on which nets are compared: the window of a 2-D problem, or the plane through three images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.boundary import Status, bss, sample_targets
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset
from amkd_viz.training.evaluation import inputs_at_once
from amkd_viz.views.adaptive import Refined, adaptive_levels, check_resolution
from amkd_viz.views.decisions import Decisions, decide, decisions, joined, logits_at
from amkd_viz.views.labels import class_name
from amkd_viz.views.layout import keep
from amkd_viz.views.planes import Plane
from amkd_viz.views.raster import image_pixels
from amkd_viz.views.scene import Area, Mark

__all__ = [
    "NAMES",
    "Slice",
    "cell_centres",
    "exact_map",
    "grid_points",
    "plane_area",
    "plane_levels",
    "plane_regions",
    "telling_triple",
    "window",
]

NAMES = ("base", "boundary", "negative")  # the anchors of a plane across the boundary
RINGS = (NAMES[1], "attacked")  # names of anchors drawn as a ring


def window(dataset: Dataset, pad: float = 0.08) -> Area:
    """Return (x0, x1, y0, y1), a square around the training points, but for those that a person has added.

    It depends on the data alone, so maps of different nets and epochs can be laid over each other.
    """
    low, high = dataset.train.x[: len(dataset.train) - dataset.extra].aminmax(dim=0)
    return _square(low, high, pad)


def plane_area(plane: Plane, pad: float = 0.35) -> Area:
    """Return (x0, x1, y0, y1), a square around the three anchors, padded on each side by ``pad`` of their extent."""
    return _square(plane.anchors.min(0), plane.anchors.max(0), pad)


def _square(low: Any, high: Any, pad: float) -> Area:
    half = float((high - low).max()) * (0.5 + pad)
    x, y = ((low + high) / 2).tolist()
    return x - half, x + half, y - half, y + half


def cell_centres(area: Area, resolution: int, cells: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return the centres (N, 2) of the cells at rows and columns ``cells`` (N, 2).

    By default of all cells: row by row from the bottom, each from the left.
    """
    check_resolution(resolution)
    if cells is None:
        cells = _all_cells(resolution)
    x0, x1, y0, y1 = area
    share = (cells[:, ::-1] + 0.5) / resolution
    return np.asarray([x0, y0] + share * np.array([x1 - x0, y1 - y0]))


def _all_cells(resolution: int) -> NDArray[np.int64]:
    return np.stack(np.meshgrid(*[np.arange(resolution)] * 2, indexing="ij"), -1).reshape(-1, 2)


def grid_points(area: Area, resolution: int) -> Tensor:
    """Return all cell centres as a float32 tensor (R * R, 2)."""
    return torch.from_numpy(cell_centres(area, resolution).astype(np.float32))


def exact_map(model: nn.Module, area: Area, resolution: int = 200, temperature: float = 1.0) -> Decisions:
    """Evaluate a net of 2-D points at the centre of every cell; returns (R, R), row 0 at the bottom."""
    return decide(model, grid_points(area, resolution), 8192, temperature).shaped(resolution, resolution)


def plane_regions(net: nn.Module, plane: Plane, area: Area, resolution: int, exact: bool = False) -> Refined:
    """Return what ``net`` decides on a plane: every cell evaluated if ``exact``, else about a tenth of them."""
    *_, last = plane_levels(net, plane, area, resolution, exact)
    return last


def plane_levels(net: nn.Module, plane: Plane, area: Area, resolution: int, exact: bool = False) -> Iterator[Refined]:
    """Yield coarser maps of a plane after each round of evaluations, the final one last."""

    at_once = inputs_at_once(plane.shape, torch.device("cpu"))

    def ask(cells: NDArray[np.int64]) -> Iterator[Tensor]:
        for part in np.array_split(cells, -(-len(cells) // at_once)):
            yield logits_at(net, plane.images(cell_centres(area, resolution, part)))

    def every(temperature: float = 1.0) -> Decisions:
        found = joined(decisions(logits / temperature) for logits in ask(_all_cells(resolution)))
        return found.shaped(resolution, resolution)

    if exact:
        yield Refined(every(), np.ones((resolution, resolution), bool), resolution**2, every)
    else:
        yield from adaptive_levels(lambda cells: torch.cat(list(ask(cells))), resolution)


class Slice:
    """A square of inputs: a net can be evaluated at every point of it.

    Attributes:
        data: whose window this is, or whose images a plane goes through, where that is known.
        images: (3, C, H, W) that a plane goes through, or None for points. labels: their classes.
        area: (x0, x1, y0, y1). plane: through the images, or None.
    """

    def __init__(
        self,
        data: Dataset | None = None,
        images: Tensor | None = None,
        labels: Sequence[int] = (),
        area: Area | None = None,
    ) -> None:
        """
        Raises:
            InputError: neither 2-D points nor three images are given, or the images lie on one line.
        """
        self.data, self.images, self.labels = data, images, list(labels)
        self.plane: Plane | None = None
        if data is not None and data.kind == "points":
            self.area = area or window(data)
            return
        if images is None:
            name = "This data set" if data is None else data.name
            raise InputError(f"{name} has images: a map of them needs three to lay a plane through.")
        self.plane = Plane.through(images)
        self.area = area or plane_area(self.plane)

    @property
    def units(self) -> tuple[str, str]:
        """What the x axis and the y axis measure."""
        return ("x1", "x2") if self.plane is None else ("L2, pixel values in [0, 1]", "")

    def decisions(self, net: nn.Module, resolution: int, temperature: float = 1.0) -> Decisions:
        """Return what ``net`` decides, (R, R), row 0 at the bottom: exact for points, coarse to fine for images."""
        if self.plane is None:
            return exact_map(net, self.area, resolution, temperature)
        return plane_regions(net, self.plane, self.area, resolution).again(temperature)

    def outside(self, resolution: int = 100) -> float:
        """Return the share of the area outside the valid pixel range; 0 for points."""
        inside = self.arrays(resolution).get("inside")
        return 0.0 if inside is None else float(1 - inside.mean())

    def arrays(self, resolution: int) -> dict[str, NDArray[Any]]:
        """Return cell centres x, y (R,), and of a plane anchors (3, 2), box (V, 2) and inside (R, R)."""
        cells = cell_centres(self.area, resolution)
        at = cells.reshape(resolution, resolution, 2)
        x, y = at[0, :, 0], at[:, 0, 1]
        if self.plane is None:
            return {"x": x.astype(np.float32), "y": y.astype(np.float32)}
        corners, faces = self.plane.box(self.area)
        inside = self.plane.inside(cells, faces).reshape(resolution, resolution)
        return {"x": x, "y": y, "anchors": self.plane.anchors, "box": corners, "inside": inside}

    def marks(
        self, names: Sequence[str] = NAMES, *, split: str = "test", points: int = 400, size: float = 0
    ) -> list[Mark]:
        """Return the data points, or a plane's valid pixel range and its three anchors with their images.

        Args:
            names: of the anchors; one called "boundary" is drawn as a ring.
            split, points: which points are drawn, and at most how many.
            size: of the dots.
        """
        if self.plane is None or self.images is None:
            data = self.data
            assert data is not None
            part, extra = getattr(data, split), data.extra if split == "train" else 0
            drawn = len(part) - extra

            def mark(kind: str, shown: list[int], size: float = 0) -> Mark:
                label = part.y[shown].cpu().numpy()
                rows = zip(part.index[shown].tolist(), label.tolist(), strict=True)
                text = [f"{split} {i}: {class_name(data.classes, k)}" for i, k in rows]
                return Mark(kind, part.x[shown].cpu().numpy(), label, text, size=size)

            added = [mark("triangle", list(range(drawn, len(part))))] if extra else []
            return [mark("dots", keep(drawn, points), size), *added]
        anchors, corners = self.plane.anchors, self.plane.box(self.area)[0]
        marks = [Mark("box", corners)]
        middle = [(self.area[0] + self.area[1]) / 2, (self.area[2] + self.area[3]) / 2]
        # the first label is left of its point, the second right, where they cannot meet
        sides = (True, False, bool(anchors[2, 0] > middle[0]))
        for at, image, name, left in zip(anchors, self.images, names, sides, strict=True):
            pixels, (low, below) = image_pixels(image.detach().cpu().numpy()), [bool(v) for v in at < middle]
            marks.append(Mark("image", at, pixels=pixels, panel=0, left=low, below=below))
            marks.append(Mark("ring" if name.partition(":")[0] in RINGS else "square", at, text=(name,)))
            marks.append(Mark("label", at, text=(name,), left=left))
        return marks


def telling_triple(teacher: nn.Module, data: Dataset, *, tries: int = 32, **attack: Any) -> tuple[Tensor, list[int]]:
    """Choose three images that show what boundary samples are about: one that the teacher classifies correctly, its
    boundary sample, and a negative from a third class.

    Of ``tries`` evenly spread test images the one is chosen whose boundary sample is farthest away among those that
    reached their target and that the teacher classifies correctly; where there is none, among those that came nearest
    to that. With two classes the negative is any other image.

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
    distance = (found.x - x).flatten(1).norm(dim=1)
    # a teacher may be wrong on all of them: then one that crossed, or at least moved, still spans a plane
    rank = (distance > 0).long() + found.crossed + (found.status == Status.TARGET) * (1 + (found.base == y).long())
    best = int(distance.masked_fill(rank < rank.max(), -1).argmax())
    base, towards = int(found.base[best]), int(found.target[best])
    every = data.test.y.cpu()
    outside = ((every != base) & (every != towards)).nonzero()[:, 0].tolist()
    own = taken[best]  # of a third class itself where the teacher is wrong
    others = [i for i in outside if i != own] or [i for i in taken if i != own]
    negative = data.test.floats([others[0]])[0].cpu()
    return torch.stack([x[best], found.x[best], negative]), [base, towards, int(every[others[0]])]
