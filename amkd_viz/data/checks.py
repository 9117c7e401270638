"""Refusing what a network or an attack would silently turn into nonsense."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError

__all__ = ["check_images", "check_inputs", "require"]

TOLERANCE = 1e-6  # rounding in a resize or a colour conversion, not a real excursion


def check_images(x: Tensor, name: str = "x") -> None:
    """Check that ``x`` is a batch of float images (N, C, H, W) in [0, 1].

    Reads the extremes back, so on a GPU it waits for the device: for the way in, not for inner loops.

    Raises:
        InputError: wrong type, dtype or shape, no image, NaN, or a value outside [0, 1].
    """
    _check_floats(x, name, "images (N, C, H, W)", 4)
    low, high = _extremes(x, name)
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        hint = "divide by 255" if low >= 0 and 1.5 < high <= 255 else "undo the normalisation or clamp"
        raise InputError(f"{name} has values from {low:.4g} to {high:.4g}; images lie in [0, 1], so {hint}.")


def check_inputs(x: Tensor, name: str = "x") -> None:
    """Check that ``x`` is what a data set here yields: images as in :func:`check_images`, or finite points (N, 2).

    Raises:
        InputError: neither of the two.
    """
    if not isinstance(x, Tensor) or x.ndim != 2:
        return check_images(x, name)
    _check_floats(x, name, "points (N, 2)", 2)
    if x.shape[1] != 2:
        raise InputError(f"{name} has shape {tuple(x.shape)}; points are (N, 2) and images (N, C, H, W).")
    low, high = _extremes(x, name)
    if max(-low, high) == float("inf"):
        raise InputError(f"{name} has infinite coordinates; points must be finite.")


def require(module: str, package: str, purpose: str) -> Any:
    """Import ``module`` now, when it is needed; ``package`` is what to install where it is missing.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{purpose} needs {package} ({error}); install it with 'pip install {package}'.") from error


def _check_floats(x: Tensor, name: str, wanted: str, ndim: int) -> None:
    if not isinstance(x, Tensor):
        raise InputError(f"{name} is a {type(x).__name__}; give a torch tensor of {wanted}.")
    if not x.is_floating_point():
        raise InputError(f"{name} is {x.dtype}; convert to float and divide by 255 (Split.floats does).")
    if x.ndim != ndim:
        raise InputError(f"{name} has shape {tuple(x.shape)}; give a batch of {wanted}.")
    if not x.numel():
        raise InputError(f"{name} has shape {tuple(x.shape)} and so holds nothing; give at least one sample.")


def _extremes(x: Tensor, name: str) -> tuple[float, float]:
    low, high = torch.stack(x.detach().aminmax()).tolist()  # one read-back; NaN comes through aminmax
    if low != low:
        raise InputError(f"{name} contains NaN; look for a division by zero or an overflow where it was made.")
    return low, high
