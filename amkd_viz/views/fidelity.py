"""How far a picture in two dimensions may be trusted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amkd_viz.errors import InputError

__all__ = ["Aligned", "procrustes", "rank_order", "squared", "triplets_kept", "trustworthiness"]

Array = NDArray[np.floating[Any]]


def squared(x: Array) -> Array:
    """(N, N) squared Euclidean distances between the rows of (N, D), float64, 0 on the diagonal."""
    x = np.asarray(x, np.float64)
    norms = (x**2).sum(1)
    distances = np.maximum(norms[:, None] + norms[None] - 2 * x @ x.T, 0)
    np.fill_diagonal(distances, 0)
    return distances


def rank_order(distances: Array) -> NDArray[np.int64]:
    """(N, N) rank of j among the neighbours of i, 1 for the nearest, 0 for i itself."""
    own_first = distances.copy()
    np.fill_diagonal(own_first, -1)
    order = own_first.argsort(1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(len(order)), order.shape), 1)
    return ranks


def trustworthiness(high: Array, low: Array, k: int = 15) -> float:
    r"""How many of the neighbours that a picture shows are true ones, in [0, 1] (Venna and Kaski, 2001):

    .. math:: T(k) = 1 - \frac{2}{N k (2N - 3k - 1)} \sum_i \sum_{j \in U_k(i)} (r(i, j) - k)

    with U_k(i) the points among the k nearest of i in the picture but not in the original space, and r the rank there.

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
    near = rank_order(squared(low))
    true = rank_order(squared(high))
    intruders = (near <= k) & (near > 0) & (true > k)
    return float(1 - (true[intruders] - k).sum() * 2 / (n * k * (2 * n - 3 * k - 1)))


class Aligned(NamedTuple):
    """``points`` (N, 2) laid onto the reference; ``residual`` in [0, 1], the share of the spread that stays apart."""

    points: Array
    residual: float


def procrustes(reference: Array, points: Array) -> Aligned:
    """Move, turn and mirror ``points`` onto ``reference`` (N, 2), at the same spread, so that distances are least.

    The residual is that of Gower (1975) after both are centred and scaled to unit norm: 0 for the same shape. (Its
    own scale would shrink a layout that fits badly to a dot; here a bad fit stays visible.)
    Where one of the two is a single point, nothing can be aligned: the residual is NaN.
    """
    a, b = np.asarray(reference, np.float64), np.asarray(points, np.float64)
    if a.shape != b.shape:
        raise InputError(f"procrustes needs as many points in both layouts, not {a.shape} and {b.shape}.")
    middle, a, b = a.mean(0), a - a.mean(0), b - b.mean(0)
    size_a, size_b = np.linalg.norm(a), np.linalg.norm(b)
    if size_a == 0 or size_b == 0:
        return Aligned(b + middle, float("nan"))
    u, s, v = np.linalg.svd(a.T @ b)
    turned = b @ v.T @ u.T * (size_a / size_b)
    return Aligned(turned + middle, float(max(0.0, 1 - (s.sum() / (size_a * size_b)) ** 2)))


def triplets_kept(high: Array, low: Array, triplets: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """(T,) whether the order of d(a, p) and d(a, n) is the same in the picture as in truth, for (T, 3) indices."""

    def order(x: Array) -> NDArray[np.bool_]:
        a, p, n = (np.asarray(x, np.float64)[triplets[:, i]] for i in range(3))
        return np.asarray(((a - p) ** 2).sum(1) < ((a - n) ** 2).sum(1))

    return order(high) == order(low)
