"""Layouts in two dimensions by PCA or UMAP, each net's layout aligned to the first."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.data.checks import require
from amkd_viz.views.quality import Aligned, procrustes

__all__ = ["PROJECTIONS", "joint_layout", "pca"]

Array = NDArray[np.floating[Any]]
PROJECTIONS = ("umap", "pca")
ONE_FIT = threading.Lock()
FEWEST = 5  # points below which UMAP cannot build neighbourhoods


def pca(x: Array) -> Array:
    """Return (N, 2) coordinates along the two principal directions of (N, D); their largest weights are positive."""
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
        first: (N, 2) layout of the first space, if known already; the result is the same without.

    Raises:
        InputError: no points, or values that are not finite.
    """
    if how not in PROJECTIONS:
        raise unknown("projection", how, PROJECTIONS)
    if not len(spaces) or not len(spaces[0]):
        raise InputError("spaces must hold at least one point.")
    if not all(np.isfinite(space).all() for space in spaces):
        raise InputError("An embedding holds NaN or infinity: the net has diverged.")
    found: list[Aligned] = []
    if first is not None:
        found.append(Aligned(first, 0.0))
    for space in spaces[len(found) :]:
        # UMAP needs neighbourhoods: some points, not all at one place
        small = how == "pca" or len(space) < FEWEST or not np.ptp(space, axis=0).any()
        points = pca(space) if small else _umap(space, found[-1].points if found else None, seed, neighbours)
        found.append(procrustes(found[0].points, points) if found else Aligned(points, 0.0))
    return found


def _umap(space: Array, start: Array | None, seed: int, neighbours: int) -> Array:
    umap = require("umap", "umap-learn", "A layout by UMAP")  # compiles for seconds when first used

    if start is None:
        start = pca(space)
    # UMAP expects a start of about ten units, and divides by its spread along each axis
    start = 10 * (start - start.min(0)) / max(float(np.ptp(start)), 1e-12)
    if not np.ptp(start.astype(np.float32), axis=0).all():
        return pca(space)
    fit = umap.UMAP(
        n_neighbors=min(neighbours, len(space) - 1),
        min_dist=0.3,  # with less, a well learned class shrinks to a dot
        init=start.astype(np.float32),
        random_state=seed,
        n_jobs=1,
    )
    # One fit at a time: warning filters belong to the process, and of two overlapping fits the later one would restore
    # the filters of the earlier, which ignore everything.
    with ONE_FIT, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about n_jobs, and about equal points
        return np.asarray(fit.fit_transform(np.asarray(space, np.float32)), np.float64)
