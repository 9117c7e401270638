"""A decision map from a tenth of its evaluations: coarse everywhere, fine only near boundaries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.views.decisions import Decisions, decisions

__all__ = ["Refined", "adaptive_levels", "check_resolution"]

CELLS = 12  # first cells along a side, at least
SMALL = 48  # grids of a lower resolution are evaluated completely
ENOUGH = 1800  # evaluations always allowed
FINEST = 2  # side of the last cells
CAUTION = 0.12  # split a cell whose smallest logit gap is below this share of the change of its logits
FINE = 4096  # the finest grid: R * R places are kept
DOUBT = 0.15  # evaluate a point whose interpolated gap is below this share of the change around it
QUARTERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])

Ask = Callable[[NDArray[np.int64]], Tensor]


class Refined(NamedTuple):
    """A map: ``decisions`` (R, R); ``evaluated`` (R, R) bool, where the net was evaluated; ``evaluations``, how often;
    ``logits`` (R, R, K), evaluated or interpolated, from which confidences at any temperature follow."""

    decisions: Decisions
    evaluated: NDArray[np.bool_]
    evaluations: int
    logits: Tensor


def check_resolution(resolution: int) -> None:
    """Refuse a grid that no picture shows and no memory holds.

    Raises:
        InputError: ``resolution`` is not between 2 and 4,096.
    """
    if not 2 <= resolution <= FINE:
        raise InputError(f"resolution must be between 2 and {FINE}, got {resolution}.")


def adaptive_levels(ask: Ask, resolution: int, *, budget: int | None = None) -> Iterator[Refined]:
    """Fill a grid of R x R points, evaluating the net only where its prediction is uncertain; yield the map after each
    round of evaluations, coarse first, the final one last. No point is evaluated twice.

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
    side = -(-(resolution - 1) // coarse) * coarse + 1
    known = np.zeros((side, side), bool)
    starts = np.arange(0, side - 1, coarse)
    cells = np.stack(np.meshgrid(starts, starts, indexing="ij"), -1).reshape(-1, 2)
    logits, stride = torch.empty(0), coarse
    last = cells
    leaves: list[tuple[NDArray[np.int64], int]] = []
    while len(cells):
        corners = cells[:, None] + stride * QUARTERS
        wanted = np.unique(corners.reshape(-1, 2), axis=0)
        wanted = wanted[~known[wanted[:, 0], wanted[:, 1]]]
        if stride < coarse and known.sum() + len(wanted) > budget:
            leaves[-1] = (last, stride * 2)  # cells of that size are not split
            break
        answer = ask(wanted).float().cpu() if len(wanted) else torch.empty(0)
        if not len(logits):
            logits = torch.full((side, side, answer.shape[1]), torch.nan)
        _put(logits, known, wanted, answer)
        at = logits[corners[..., 0], corners[..., 1]]
        # Cells with a non-finite corner are split to the end: they cannot be interpolated.
        split = (_in_doubt(at) | _broken(at) if stride > FINEST else _broken(at) & (stride > 1)).numpy()
        leaves.append((cells[~split], stride))
        last, whole, stride = cells, cells[split], stride // 2
        cells = (whole[:, None] + stride * QUARTERS).reshape(-1, 2)
        if len(cells):
            so_far = logits.clone()
            for own, size in [*leaves, (whole, 2 * stride)]:
                _interpolate(so_far, own, size, known)
            yield _refined(so_far[:resolution, :resolution], known[:resolution, :resolution], int(known.sum()))
    beside = [points for own, size in leaves for points in _interpolate(logits, own, size, known)]
    logits, known, beyond = logits[:resolution, :resolution], known[:resolution, :resolution], int(known.sum())
    beyond -= int(known.sum())
    edge = np.concatenate([np.zeros((0, 2), np.int64), *beside])
    points = np.concatenate([_around(edge, known), _doubtful(logits, known)])
    points = points[np.sort(np.unique(points, axis=0, return_index=True)[1])]
    while len(points := points[: max(0, budget - beyond - int(known.sum()))]):
        guess = logits[points[:, 0], points[:, 1]].argmax(1)
        _put(logits, known, points, ask(points).float().cpu())
        wrong = (logits[points[:, 0], points[:, 1]].argmax(1) != guess).numpy()
        points = _around(points[wrong], known)
    yield _refined(logits, known, beyond + int(known.sum()))


def _refined(logits: Tensor, known: NDArray[np.bool_], evaluations: int) -> Refined:
    found = decisions(logits.flatten(0, 1)).shaped(*known.shape)
    return Refined(found, known.copy(), evaluations, logits)


def _put(logits: Tensor, known: NDArray[np.bool_], points: NDArray[np.int64], answer: Tensor) -> None:
    if len(points):
        logits[points[:, 0], points[:, 1]] = answer
        known[points[:, 0], points[:, 1]] = True


def _in_doubt(at: Tensor) -> Tensor:
    """(N,) bool of cells with corner logits (N, 4, K)."""
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


def _doubtful(logits: Tensor, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N, 2) interpolated points of (R, R, K) logits, the most doubtful first."""
    planes = logits.nan_to_num(0, 0, 0).permute(2, 0, 1)[None]
    change = (F.max_pool2d(planes, 5, 1, 2) + F.max_pool2d(-planes, 5, 1, 2))[0].amax(0)
    doubt = (_gap(logits.nan_to_num(0, 0, 0)) / change.clamp_min(1e-12)).numpy()
    rows, columns = np.nonzero((doubt < DOUBT) & ~known)
    order = np.argsort(doubt[rows, columns], kind="stable")
    return np.stack([rows, columns], 1)[order]


def _around(points: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N, 2) unknown points at most two cells from ``points``."""
    near = np.zeros_like(known)
    for i in range(-2, 3):
        for j in range(-2, 3):
            rows, columns = points[:, 0] + i, points[:, 1] + j
            there = (rows >= 0) & (columns >= 0) & (rows < known.shape[0]) & (columns < known.shape[1])
            near[rows[there], columns[there]] = True
    return np.argwhere(near & ~known)


def _interpolate(
    logits: Tensor, cells: NDArray[np.int64], size: int, known: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    """Fill the points of cells from their corners; known points stay.

    Returns:
        (N, 2) arrays of known points on edges shared with smaller cells whose class differs from the interpolated one.
    """
    wrong = []
    a, b, c, d = (logits[cells[:, 0] + i, cells[:, 1] + j] for i in (0, size) for j in (0, size))
    for i in range(size + 1):
        for j in range(size + 1):
            rows, columns = cells[:, 0] + i, cells[:, 1] + j
            open_ = ~known[rows, columns]
            t, s = i / size, j / size
            value = (1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * c + s * d)
            logits[rows[open_], columns[open_]] = value[torch.from_numpy(open_)]
            other = ~open_ & (logits[rows, columns].argmax(1) != value.argmax(1)).numpy()
            wrong.append(np.stack([rows[other], columns[other]], 1))
    return wrong
