"""Projection quality: how far a layout in two dimensions can be trusted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amkd_viz.core.errors import InputError

__all__ = ["Aligned", "contradicted", "procrustes", "rank_order", "squared", "triplets_kept", "trustworthiness"]

Array = NDArray[np.floating[Any]]
ROWS = 1000  # per block: whole tables of ranks of 5,000 points would take a gigabyte


def squared(x: Array, rows: slice = slice(None)) -> Array:
    """Return (R, N) squared Euclidean distances from ``rows`` of (N, D) to all, float64, 0 to itself."""
    x = np.asarray(x, np.float64)
    norms = (x**2).sum(1)
    distances = np.maximum(norms[rows, None] + norms[None] - 2 * x[rows] @ x.T, 0)
    own = np.arange(len(x))[rows]
    distances[np.arange(len(own)), own] = 0
    return distances


def rank_order(distances: Array, first: int = 0) -> NDArray[np.int64]:
    """Return ranks (R, N) of j among the neighbours of sample ``first`` + i: 1 the nearest, 0 the sample itself."""
    own_first, rows = distances.copy(), np.arange(len(distances))
    own_first[rows, first + rows] = -1
    order = own_first.argsort(1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), 1)
    return ranks


def trustworthiness(high: Array, low: Array, k: int = 15) -> float:
    r"""Return how many of the neighbours in a layout are true ones, in [0, 1] (Venna and Kaski, 2001):

    .. math:: T(k) = 1 - \frac{2}{N k (2N - 3k - 1)} \sum_i \sum_{j \in U_k(i)} (r(i, j) - k)

    with U_k(i) the points among the k nearest of i in the layout but not in the original space, and r the rank there.

    Args:
        high: (N, D); low: (N, 2), the same points.
        k: neighbours; lowered to what N allows, k < N / 2.

    Returns:
        NaN for fewer than three points.
    """
    n = len(high)
    k = min(k, (n - 1) // 2)
    if k < 1:
        return float("nan")
    lost = 0
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        near, true = rank_order(squared(low, rows), start), rank_order(squared(high, rows), start)
        lost += int((true[(near <= k) & (near > 0) & (true > k)] - k).sum())
    return float(1 - lost * 2 / (n * k * (2 * n - 3 * k - 1)))


class Aligned(NamedTuple):
    """``points`` (N, 2) aligned to the reference; ``residual`` in [0, 1], the Procrustes disparity."""

    points: Array
    residual: float


def procrustes(reference: Array, points: Array) -> Aligned:
    """Move, rotate and mirror ``points`` (N, 2) onto ``reference``, at the same spread, with the least distances.

    The disparity is that of Gower (1975) after both are centred and scaled to unit norm: 0 for the same shape. (Its
    own scale would shrink a bad fit to a dot; here it stays visible.) It is NaN if one of the two is a single point.
    """
    a, b = np.asarray(reference, np.float64), np.asarray(points, np.float64)
    if a.shape != b.shape:
        raise InputError(f"procrustes needs layouts of equal shape, got {a.shape} and {b.shape}.")
    middle, a, b = a.mean(0), a - a.mean(0), b - b.mean(0)
    size_a, size_b = np.linalg.norm(a), np.linalg.norm(b)
    if size_a == 0 or size_b == 0:
        return Aligned(b + middle, float("nan"))
    u, s, v = np.linalg.svd(a.T @ b)
    turned = b @ v.T @ u.T * (size_a / size_b)
    return Aligned(turned + middle, float(max(0.0, 1 - (s.sum() / (size_a * size_b)) ** 2)))


def triplets_kept(high: Array, low: Array, triplets: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return (T,) whether the layout keeps the order of d(a, p) and d(a, n), for (T, 3) indices."""
    return (_gaps(high, triplets) < 0) == (_gaps(low, triplets) < 0)


def contradicted(
    high: Array, low: Array, triplets: NDArray[np.integer[Any]], most: int = 3
) -> NDArray[np.integer[Any]]:
    """Return (M, 3) triplets whose order the layout reverses, the clearest first, M <= ``most``, each anchor once."""
    wrong = triplets[~triplets_kept(high, low, triplets)]
    clearest = np.argsort(-np.abs(_gaps(high, wrong)), kind="stable")
    _, first = np.unique(wrong[clearest, 0], return_index=True)
    return np.asarray(wrong[clearest[np.sort(first)[:most]]])


def _gaps(x: Array, triplets: NDArray[np.integer[Any]]) -> Array:
    """Return (T,) squared d(a, p) minus squared d(a, n)."""
    a, p, n = (np.asarray(x, np.float64)[triplets[:, i]] for i in range(3))
    return np.asarray(((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1))
