"""Points in two dimensions: PCA at once, UMAP with patience, each net's layout laid onto the one before."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.views.fidelity import Aligned, procrustes

__all__ = ["PROJECTIONS", "joint_layout", "pca"]

Array = NDArray[np.floating[Any]]
PROJECTIONS = ("umap", "pca")
ONE_FIT = threading.Lock()
FEWEST = 5  # points below which UMAP has no neighbourhoods to draw


def pca(x: Array) -> Array:
    """(N, 2) coordinates of (N, D) along its two widest directions; the sign makes the largest weight positive."""
    centred = np.asarray(x, np.float64) - np.mean(x, 0, dtype=np.float64)
    if len(centred) < 2 or centred.shape[1] < 2:
        return np.pad(centred, ((0, 0), (0, 2)))[:, :2]
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    directions = np.pad(directions, ((0, max(0, 2 - len(directions))), (0, 0)))[:2]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1, keepdims=True), 1)
    return np.asarray(centred @ (directions * np.where(largest < 0, -1, 1)).T)


def joint_layout(
    spaces: Sequence[Array], how: str = "umap", seed: int = 0, neighbours: int = 15, first: Array | None = None
) -> list[Aligned]:
    """Lay the same N points of several spaces out in two dimensions without jumps.

    The first space is fitted alone. Each further one starts where the one before ended (UMAP) and is then moved onto
    the first by Procrustes.

    Args:
        spaces: (N, D_i) each, the same N points.
        how: "umap" or "pca".
        seed: of UMAP; the same seed gives the same layout on the same machine.
        first: (N, 2) of the first space, where it was laid out before; the result is the same without.

    Raises:
        InputError: nothing to lay out, or values that are not finite.
    """
    if how not in PROJECTIONS:
        raise unknown("projection", how, PROJECTIONS)
    if not len(spaces) or not len(spaces[0]):
        raise InputError("There is no point to lay out; give at least one.")
    if not all(np.isfinite(space).all() for space in spaces):
        raise InputError("An embedding holds NaN or infinity; the net diverged, so there is nothing true to draw.")
    found: list[Aligned] = []
    if first is not None:
        found.append(Aligned(first, 0.0))
    for space in spaces[len(found) :]:
        # UMAP needs neighbourhoods: some points, and not all at one place
        small = how == "pca" or len(space) < FEWEST or not np.ptp(space, axis=0).any()
        points = pca(space) if small else _umap(space, found[-1].points if found else None, seed, neighbours)
        found.append(procrustes(found[0].points, points) if found else Aligned(points, 0.0))
    return found


def _umap(space: Array, start: Array | None, seed: int, neighbours: int) -> Array:
    import umap  # compiles for seconds when first used

    if start is None:
        start = pca(space)
    # UMAP wants a start of about ten units; a spread of 0 (all points equal) must not divide
    start = 10 * (start - start.min(0)) / max(float(np.ptp(start)), 1e-12)
    fit = umap.UMAP(
        n_neighbors=min(neighbours, len(space) - 1),
        min_dist=0.3,  # with less, a class that is well learned shrinks to a dot
        init=start.astype(np.float32),
        random_state=seed,
        n_jobs=1,
    )
    # One fit at a time: warnings' filters are the process's, and of two that overlap the later one would put back
    # those of the earlier, which ignore everything.
    with ONE_FIT, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # n_jobs, and points without neighbours where all are equal
        return np.asarray(fit.fit_transform(np.asarray(space, np.float32)), np.float64)
