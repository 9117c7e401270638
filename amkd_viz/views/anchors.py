"""Distances in variant A of AMKD: the teacher on a sample is the anchor, the student on it the positive, the student
on samples of other classes the negatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import boundary_triplet
from amkd_viz.views.chosen import Chosen

__all__ = ["MARGIN", "Anchored", "anchored", "nearest_negatives"]

MARGIN = boundary_triplet().margin
ROWS = 500  # anchors per block: a table of all pairs of 5,000 samples takes 200 MB


class Anchored(NamedTuple):
    """One anchor's triplets, nearest negative first; distances are squared, of unit embeddings, in [0, 4].

    Attributes:
        d_ap: from the anchor to the positive.
        negative: (V,) positions of the valid negatives.
        d_an: (V,) from the anchor to each.
        active: (V,) bool, nearer than d_ap + margin: the hinge pulls.
        misleads: (V,) bool, the layout puts it on the wrong side of the positive.
    """

    d_ap: float
    negative: NDArray[np.int64]
    d_an: NDArray[np.float64]
    active: NDArray[np.bool_]
    misleads: NDArray[np.bool_]


def anchored(high: NDArray[Any], low: NDArray[Any], valid: NDArray[np.bool_], margin: float = MARGIN) -> Anchored:
    """Return the true distances of one anchor, and whether a layout keeps their order.

    Args:
        high: (2 + N, D) unit embeddings: the anchor, the positive, then the candidates.
        low: (2 + N, 2), the same in the layout.
        valid: (N,) which candidates are negatives.

    Raises:
        InputError: there is no negative.
    """
    if not valid.any():
        raise InputError("No sample belongs to a class other than base and target, so there is no negative.")
    true, seen = _from_first(high), _from_first(low)
    negative = np.flatnonzero(valid)
    negative = negative[true[2:][negative].argsort(kind="stable")]
    d_ap, d_an = float(true[1]), true[2:][negative]
    misleads = (d_an < d_ap) != (seen[2:][negative] < seen[1])
    return Anchored(d_ap, negative, d_an, d_an < d_ap + margin, misleads)


def nearest_negatives(
    teacher: NDArray[Any], student: NDArray[Any], chosen: Chosen
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return d(a, p), and d(a, n) of the nearest valid negative, for each sample as an anchor, (N,) each.

    Args:
        teacher, student: (N, D) unit embeddings. If their widths differ, distances are undefined: all NaN.

    Returns:
        squared distances in [0, 4]; d(a, n) is NaN for a sample without a negative.
    """
    nothing = np.full(len(teacher), np.nan)
    if teacher.shape[1] != student.shape[1]:
        return nothing, nothing.copy()
    teacher, student = teacher.astype(np.float64), student.astype(np.float64)
    d_ap, d_an = ((teacher - student) ** 2).sum(1), nothing.copy()
    label, target = chosen.label, chosen.target
    for start in range(0, len(teacher), ROWS):
        rows = slice(start, start + ROWS)
        pairs = (teacher[rows] ** 2).sum(1)[:, None] + (student**2).sum(1)[None] - 2 * teacher[rows] @ student.T
        bad = (label[None] == label[rows, None]) | (label[None] == target[rows, None]) | chosen.boundary[None]
        nearest = np.where(bad, np.inf, pairs).min(1)
        d_an[rows] = np.where(np.isfinite(nearest), np.maximum(nearest, 0), np.nan)
    return d_ap, d_an


def _from_first(x: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) squared distances from row 0."""
    x = np.asarray(x, np.float64)
    return np.asarray(((x - x[:1]) ** 2).sum(1))
