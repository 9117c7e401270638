"""A decision map from a tenth of its evaluations: coarse everywhere, fine only near boundaries."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.views.decisions import Decisions, decisions, joined

__all__ = ["Refined", "adaptive_levels", "check_resolution", "in_doubt"]

CELLS = 12  # first cells along a side, at least
SMALL = 48  # grids of a lower resolution are evaluated completely
ENOUGH = 1800  # evaluations always allowed
FINEST = 2  # side of the last cells
CAUTION = 0.12  # split a cell whose smallest logit gap is below this share of the change of its logits
FINE = 4096  # the finest grid: R * R places are kept
DOUBT = 0.15  # evaluate a point whose interpolated gap is below this share of the change around it
QUARTERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
AT_ONCE = 2**18  # logits that are interpolated at a time: with 200 classes a map has millions

Cells = NDArray[np.int64]
Ask = Callable[[Cells], Tensor]
Leaf = tuple[Cells, int]  # lower left corners (N, 2) of cells, and their side


class Refined(NamedTuple):
    """A map: ``decisions`` (R, R); ``evaluated`` (R, R) bool, where the net was evaluated; ``evaluations``, how often;
    ``again``, which gives the decisions with logits divided by a temperature."""

    decisions: Decisions
    evaluated: NDArray[np.bool_]
    evaluations: int
    again: Callable[[float], Decisions]


def check_resolution(resolution: int) -> None:
    """Refuse a grid that no picture shows and no memory holds.

    Raises:
        InputError: ``resolution`` is not between 2 and 4,096.
    """
    if not 2 <= resolution <= FINE:
        raise InputError(f"resolution must be between 2 and {FINE}, got {resolution}.")


def adaptive_levels(ask: Ask, resolution: int, *, budget: int | None = None) -> Iterator[Refined]:
    """Fill a grid of R x R points, evaluating the net only where its prediction is uncertain; yield the map after each
    round of evaluations, coarse first, the final one last. No point is evaluated twice, and logits are kept of the
    evaluated points alone.

    1. The corners of coarse cells are evaluated, and a cell is split in four where its corners disagree, where one is
       not finite, or where the gap between the two largest logits is small against their change over the cell.
    2. In the cells that are left, logits are interpolated bilinearly: a net of ReLUs is linear in small pieces.
    3. Where the interpolated gap is small against the change around the point, the net is evaluated; and where it
       predicts another class than interpolated, around that point too, so that slivers are followed.

    Args:
        ask: rows and columns of grid points, int64 (N, 2) -> logits (N, K). Up to 15 points beyond the end of a
            grid of 200 x 200 are asked for, so that cells there need no special case.
        resolution: R, 2 to 4,096.
        budget: maximum number of evaluations; by default a tenth of R x R, or 1,800 if that is more.
    """
    check_resolution(resolution)
    budget = max(resolution**2 // 10, ENOUGH) if budget is None else budget
    coarse = 1 if resolution < SMALL else 2 ** int(math.log2(resolution / CELLS))
    grid = _Grid(-(-(resolution - 1) // coarse) * coarse + 1, resolution)
    starts = np.arange(0, grid.side - 1, coarse)
    cells = np.stack(np.meshgrid(starts, starts, indexing="ij"), -1).reshape(-1, 2)
    stride, last = coarse, cells
    leaves: list[Leaf] = []
    while len(cells):
        wanted = np.unique((cells[:, None] + stride * QUARTERS).reshape(-1, 2), axis=0)
        wanted = wanted[~grid.known[wanted[:, 0], wanted[:, 1]]]
        if stride < coarse and grid.evaluations + len(wanted) > budget:
            leaves[-1] = (last, stride * 2)  # cells of that size are not split
            break
        if len(wanted):
            grid.add(wanted, ask(wanted))
        split = grid.to_split(cells, stride)
        leaves.append((cells[~split], stride))
        last, whole, stride = cells, cells[split], stride // 2
        cells = (whole[:, None] + stride * QUARTERS).reshape(-1, 2)
        if len(cells):
            grid.lay([*leaves, (whole, 2 * stride)])
            yield grid.refined()
    grid.lay(leaves)
    beyond = grid.evaluations - int(grid.inside.sum())
    points = np.concatenate([grid.around(grid.wrong(leaves)), grid.doubtful()])
    points = points[np.sort(np.unique(points, axis=0, return_index=True)[1])]
    while len(points := points[: max(0, budget - beyond - int(grid.inside.sum()))]):
        guess = grid.winners(points)
        grid.add(points, ask(points))
        points = grid.around(points[grid.winners(points) != guess])
    yield grid.refined()


class _Grid:
    """Logits at (side, side) points: of some the net's, of the others interpolated from the corners of their cell.

    Attributes:
        side: points per side; resolution: those that are shown. known: (side, side) bool, where the net was evaluated.
    """

    def __init__(self, side: int, resolution: int) -> None:
        self.side, self.resolution = side, resolution
        self._logits = torch.empty(0, 0)  # (N, K) of the evaluated points
        self._place = np.full((side, side), -1)  # of a point in these
        self._cell = np.full((side, side), -1)  # in which a point is interpolated
        self._corner, self._size = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)  # of the cells

    @property
    def known(self) -> NDArray[np.bool_]:
        return self._place >= 0

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(R, R) ``known`` of the points that are shown."""
        return self.known[: self.resolution, : self.resolution]

    @property
    def evaluations(self) -> int:
        return len(self._logits)

    def add(self, points: Cells, answer: Tensor) -> None:
        """Take the net's logits (N, K) at ``points``."""
        place, count = self._place.copy(), self.evaluations  # maps that were yielded keep theirs
        place[points[:, 0], points[:, 1]] = count + np.arange(len(points))
        answer = answer.float().cpu()
        self._place, self._logits = place, torch.cat([self._logits, answer]) if count else answer

    def lay(self, leaves: list[Leaf]) -> None:
        """Interpolate in these cells; on an edge of two the later one counts."""
        self._corner = np.concatenate([corners for corners, _ in leaves])
        self._size = np.concatenate([np.full(len(corners), size) for corners, size in leaves])
        self._cell, first = np.full_like(self._place, -1), 0
        for corners, size in leaves:
            numbers = first + np.arange(len(corners))
            for i in range(size + 1):
                for j in range(size + 1):
                    self._cell[corners[:, 0] + i, corners[:, 1] + j] = numbers
            first += len(corners)

    def logits(self, points: Cells) -> Tensor:
        """Return (N, K) logits at some points."""
        place = self._place[points[:, 0], points[:, 1]]
        if (place >= 0).all():
            return self._logits[place]
        found, open_ = self._logits[place], np.flatnonzero(place < 0)
        cells = self._cell[points[open_, 0], points[open_, 1]]
        found[open_] = self._between(points[open_], self._corner[cells], self._size[cells])
        return found

    def _between(self, points: Cells, corners: Cells, sizes: NDArray[np.int64]) -> Tensor:
        """Return (N, K) logits interpolated at points in cells with these corners (N, 2) and sides (N,)."""
        ends = corners[:, None] + sizes[:, None, None] * QUARTERS
        a, b, c, d = self._logits[self._place[ends[..., 0], ends[..., 1]]].unbind(1)
        t, s = torch.from_numpy(((points - corners) / sizes[:, None]).astype(np.float32)).split(1, 1)
        return (1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * c + s * d)

    def _pieces(self, count: int, each: int = 1) -> Iterator[slice]:
        """Yield slices of ``count`` rows of ``each`` points, few enough to hold their logits."""
        step = max(1, AT_ONCE // (each * self._logits.shape[1]))
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def winners(self, points: Cells) -> NDArray[np.int64]:
        """Return (N,) classes at points."""
        parts = [self.logits(points[part]).argmax(1).numpy() for part in self._pieces(len(points))]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def _rows(self, start: int, stop: int) -> Tensor:
        """Return (stop - start, R, K) logits of rows that are shown."""
        rows, columns = np.arange(start, stop), np.arange(self.resolution)
        points = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        return self.logits(points).unflatten(0, (len(rows), len(columns)))

    def decisions(self, temperature: float = 1.0) -> Decisions:
        """Return (R, R) decisions at logits divided by a temperature."""
        pieces = self._pieces(self.resolution, self.resolution)
        parts = [decisions(self._rows(rows.start, rows.stop).flatten(0, 1) / temperature) for rows in pieces]
        return joined(parts).shaped(self.resolution, self.resolution)

    def refined(self) -> Refined:
        now = copy.copy(self)
        return Refined(now.decisions(), now.inside, now.evaluations, now.decisions)

    def to_split(self, cells: Cells, size: int) -> NDArray[np.bool_]:
        """Return (N,) which cells to split in four.

        Those with a non-finite corner are split to the end: they cannot be interpolated."""
        parts = [np.zeros(0, bool)]
        for part in self._pieces(len(cells), 4):
            ends = cells[part, None] + size * QUARTERS
            at = self._logits[self._place[ends[..., 0], ends[..., 1]]]
            split = in_doubt(at) | _broken(at) if size > FINEST else _broken(at) & (size > 1)
            parts.append(split.numpy())
        return np.concatenate(parts)

    def wrong(self, leaves: list[Leaf]) -> Cells:
        """Return (N, 2) evaluated points of cells whose class is not the interpolated one: on edges that they share
        with smaller cells."""
        found = [np.zeros((0, 2), np.int64)]
        for corners, size in leaves:
            for shift in np.ndindex(size + 1, size + 1):
                points = corners + shift
                there = self.known[points[:, 0], points[:, 1]]
                points, own = points[there], corners[there]
                for part in self._pieces(len(points)):
                    guess = self._between(points[part], own[part], np.full(len(own[part]), size)).argmax(1)
                    found.append(points[part][self.winners(points[part]) != guess.numpy()])
        return np.concatenate(found)

    def doubtful(self) -> Cells:
        """Return (N, 2) interpolated points, the most doubtful first."""
        doubt = np.empty((self.resolution, self.resolution), np.float32)
        for rows in self._pieces(self.resolution, self.resolution):
            start, stop = max(0, rows.start - 2), min(self.resolution, rows.stop + 2)
            logits, own = self._rows(start, stop).nan_to_num(0, 0, 0), slice(rows.start - start, rows.stop - start)
            planes = logits.permute(2, 0, 1)[None]
            change = (F.max_pool2d(planes, 5, 1, 2) + F.max_pool2d(-planes, 5, 1, 2))[0].amax(0)
            doubt[rows] = (_gap(logits) / change.clamp_min(1e-12))[own].numpy()
        points = np.argwhere((doubt < DOUBT) & ~self.inside)
        return points[np.argsort(doubt[points[:, 0], points[:, 1]], kind="stable")]

    def around(self, points: Cells) -> Cells:
        """Return (N, 2) unknown points at most two cells from ``points``."""
        near = np.zeros_like(self.inside)
        for i in range(-2, 3):
            for j in range(-2, 3):
                rows, columns = points[:, 0] + i, points[:, 1] + j
                there = (rows >= 0) & (columns >= 0) & (rows < near.shape[0]) & (columns < near.shape[1])
                near[rows[there], columns[there]] = True
        return np.argwhere(near & ~self.inside)


def in_doubt(at: Tensor) -> Tensor:
    """Return (N,) bool: which cells with corner logits (N, C, K) to split."""
    winner = at.argmax(2)
    change = (at.amax(1) - at.amin(1)).amax(1)
    return (winner != winner[:, :1]).any(1) | (_gap(at).amin(1) < CAUTION * change)


def _gap(logits: Tensor) -> Tensor:
    top = logits.topk(min(2, logits.shape[-1])).values
    return top[..., 0] - top[..., -1]


def _broken(at: Tensor) -> Tensor:
    """(N,) bool: some corners are finite and some are not; a cell whose corners all are not is left as it is."""
    finite = at.isfinite().all(2)
    return finite.any(1) & ~finite.all(1)
