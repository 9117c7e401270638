"""Checks of inputs that a network or an attack would otherwise accept silently."""

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

    Synchronizes with a GPU, so call it at the entry of a public function, not in inner loops.

    Raises:
        InputError: ``x`` has the wrong type, dtype or shape, is empty, or holds NaN or a value outside [0, 1].
    """
    _check_floats(x, name, "images (N, C, H, W)", 4)
    low, high = _extremes(x, name)
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        hint = "divide by 255" if low >= 0 and 1.5 < high <= 255 else "undo the normalisation or clamp"
        raise InputError(f"{name} must lie in [0, 1], got values from {low:.4g} to {high:.4g}; {hint}.")


def check_inputs(x: Tensor, name: str = "x") -> None:
    """Check that ``x`` is a batch of images as in :func:`check_images`, or of finite points (N, 2).

    Raises:
        InputError: it is not.
    """
    if not isinstance(x, Tensor) or x.ndim != 2:
        return check_images(x, name)
    _check_floats(x, name, "points (N, 2)", 2)
    if x.shape[1] != 2:
        raise InputError(f"{name} must have shape (N, 2) for points or (N, C, H, W) for images, got {tuple(x.shape)}.")
    low, high = _extremes(x, name)
    if max(-low, high) == float("inf"):
        raise InputError(f"{name} must be finite, got infinite coordinates.")


def require(module: str, package: str, purpose: str) -> Any:
    """Import ``module``, which the installable ``package`` provides.

    Raises:
        InputError: the import failed; the message names ``purpose`` and how to install ``package``.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{purpose} needs {package} ({error}); install it with 'pip install {package}'.") from error


def _check_floats(x: Tensor, name: str, wanted: str, ndim: int) -> None:
    if not isinstance(x, Tensor):
        raise InputError(f"{name} must be a torch tensor of {wanted}, got {type(x).__name__}.")
    if not x.is_floating_point():
        raise InputError(f"{name} must be floating point, got {x.dtype}; divide by 255 (Split.floats does).")
    if x.ndim != ndim:
        raise InputError(f"{name} must be a batch of {wanted}, got shape {tuple(x.shape)}.")
    if not x.numel():
        raise InputError(f"{name} must hold at least one sample, got shape {tuple(x.shape)}.")


def _extremes(x: Tensor, name: str) -> tuple[float, float]:
    low, high = torch.stack(x.detach().aminmax()).tolist()  # one synchronization; aminmax propagates NaN
    if low != low:
        raise InputError(f"{name} must be finite, got NaN; check for a division by zero or an overflow.")
    return low, high
