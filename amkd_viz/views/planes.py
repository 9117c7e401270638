"""The plane through three images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amkd_viz.core.errors import InputError

__all__ = ["Plane"]

Array = NDArray[np.float64]
FLAT = 1e-4  # least relative distance of the third image from the line through the others
EDGE = 1e-6  # tolerance: a clamped pixel lies on the edge of the valid range and belongs to it


@dataclass(frozen=True)
class Plane:
    """An orthonormal frame in image space; coordinates are L2 lengths in units of pixel values in [0, 1].

    Attributes:
        origin: (D,) the first image. axes: (2, D), orthonormal. shape: of one image.
        anchors: (3, 2) coordinates of the three images: (0, 0), (side, 0) and a point with a positive second one.
    """

    origin: Array
    axes: Array
    shape: tuple[int, ...]
    anchors: Array

    @classmethod
    def through(cls, images: Tensor | Sequence[Tensor]) -> Plane:
        """Return the plane through three images (3, ...), floats.

        Raises:
            InputError: not three images, values that are not finite, or images on one line.
        """
        stack = torch.stack(list(images)) if not isinstance(images, Tensor) else images
        if len(stack) != 3:
            raise InputError(f"A plane needs three images, got {len(stack)}.")
        flat = _flat(stack)
        if not np.isfinite(flat).all():
            raise InputError("Anchors must be finite, got NaN or infinity.")
        first, second = flat[1] - flat[0], flat[2] - flat[0]
        side = float(np.linalg.norm(first))
        size = max(side, float(np.linalg.norm(second)))
        if side <= FLAT * size or size == 0:
            raise InputError("The first two images are the same, so they span no plane; choose another one.")
        u = first / side
        along = float(second @ u)
        rest = second - along * u
        rest -= (rest @ u) * u  # once more, against rounding
        height = float(np.linalg.norm(rest))
        if height <= FLAT * size:
            raise InputError(
                "The three images lie on one line, so they span no plane; choose a third one off that line."
            )
        anchors = np.array([[0, 0], [side, 0], [along, height]])
        return cls(flat[0], np.stack([u, rest / height]), tuple(stack.shape[1:]), anchors)

    def images(self, coordinates: NDArray[Any]) -> Tensor:
        """Return float32 images (N, ...) at coordinates (N, 2)."""
        flat = self.origin + np.asarray(coordinates, np.float64) @ self.axes
        return torch.from_numpy(flat.astype(np.float32)).reshape(-1, *self.shape)

    def coordinates(self, images: Tensor) -> Array:
        """Return (N, 2) coordinates of the points nearest to images (N, ...)."""
        return np.asarray((_flat(images) - self.origin) @ self.axes.T)

    def distance(self, images: Tensor) -> Array:
        """Return (N,) L2 distances of images from the plane."""
        flat = _flat(images) - self.origin
        return np.asarray(np.linalg.norm(flat - flat @ self.axes.T @ self.axes, axis=1))

    def box(self, area: tuple[float, float, float, float]) -> tuple[Array, Array]:
        """Return the part of ``area`` (x0, x1, y0, y1) whose pixels all lie in [0, 1]: a convex polygon.

        Returns:
            its corners (V, 2), counter-clockwise, V = 0 if it is empty, and the half-planes (F, 3) that bound it:
            a x + b y + c >= 0 inside.
        """
        x0, x1, y0, y1 = area
        # value >= 0 and 1 - value >= 0 for every pixel: two half-planes each
        lower = np.column_stack([self.axes.T, self.origin])
        faces = np.concatenate([lower, np.array([0, 0, 1]) - lower])
        moves = np.abs(faces[:, :2]).max(1) > 1e-12
        if (faces[~moves, 2] < -EDGE).any():  # a pixel that is constant on the plane, and outside
            return np.zeros((0, 2)), np.array([[0.0, 0.0, -1.0]])
        faces = faces[moves]
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        kept = []
        while len(corners) and len(faces):  # clip by the most violated face first: then few of thousands clip at all
            value = corners @ faces[:, :2].T + faces[:, 2]
            worst = int(value.min(0).argmin())
            if value[:, worst].min() >= -EDGE:
                break
            kept.append(faces[worst])
            corners = _clip(corners, value[:, worst])
        return corners, np.array(kept).reshape(-1, 3)

    def inside(self, coordinates: NDArray[Any], faces: Array) -> NDArray[np.bool_]:
        """Return (N,) whether images at coordinates (N, 2) are in the valid pixel range; ``faces`` from :meth:`box`."""
        points = np.column_stack([coordinates, np.ones(len(coordinates))])
        return np.asarray((points @ faces.T >= -EDGE).all(1))


def _flat(images: Tensor) -> Array:
    return np.asarray(images.detach().cpu().double().flatten(1).numpy())


def _clip(corners: Array, value: Array) -> Array:
    """Clip a convex polygon at value >= 0, given at its corners (Sutherland and Hodgman)."""
    kept = []
    for i in range(len(corners)):
        j = (i + 1) % len(corners)
        if value[i] >= 0:
            kept.append(corners[i])
        if (value[i] >= 0) != (value[j] >= 0):
            kept.append(corners[i] + (corners[j] - corners[i]) * value[i] / (value[i] - value[j]))
    return np.array(kept).reshape(-1, 2)
