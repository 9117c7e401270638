"""Two-dimensional problems with any number of classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.memory import check_memory
from amkd_viz.core.rng import generator
from amkd_viz.data.dataset import Dataset, Split

__all__ = ["PROBLEMS", "load_points"]

BYTES = 100  # for each n: points of three splits, while they are drawn; two nets' logits come on top


class Problem(NamedTuple):
    """A family of curves: ``curve(t, k, classes)`` maps t in [0, 1] (N,) and classes k (N,) to points (N, 2)."""

    curve: Callable[[Tensor, Tensor, int], Tensor]
    classes: int
    noise: float


def moons(t: Tensor, k: Tensor, classes: int) -> Tensor:
    """Return points on a chain of interleaved half circles, alternately up and down."""
    up = 1 - 2.0 * (k % 2)
    # 1.25 apart where two classic moons are 1 apart: at 1, the first and the third would touch.
    x = torch.cos(math.pi * t) + 1.25 * (k - (classes - 1) / 2)
    return torch.stack([x, up * (torch.sin(math.pi * t) - 0.25)], 1)


def circles(t: Tensor, k: Tensor, classes: int) -> Tensor:
    """Return points on concentric rings, half a unit apart."""
    return _polar((k + 1) / 2, 2 * math.pi * t)


def spirals(t: Tensor, k: Tensor, classes: int) -> Tensor:
    """Return points on spiral arms of one turn each; the square root makes their density uniform."""
    r = 0.1 + 0.9 * t.sqrt()
    return _polar(2 * r, 2 * math.pi * (r + k / classes))


def blobs(t: Tensor, k: Tensor, classes: int) -> Tensor:
    """Return centres on a circle, two units apart; the noise makes the blobs."""
    return _polar(torch.full_like(t, 1 / math.sin(math.pi / classes)), 2 * math.pi * k / classes)


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 1)


PROBLEMS = {
    "moons": Problem(moons, classes=2, noise=0.1),
    "circles": Problem(circles, classes=2, noise=0.1),
    "spirals": Problem(spirals, classes=3, noise=0.1),
    "blobs": Problem(blobs, classes=4, noise=0.4),
}


def load_points(
    name: str, seed: int = 0, *, n: int = 1000, noise: float | None = None, classes: int | None = None
) -> Dataset:
    """Draw ``n`` points for training and validation by ``seed``, and ``n`` test points independent of it.

    Args:
        name: a key of ``PROBLEMS``.
        n: number of points, at least two per class.
        noise: standard deviation of the noise on each coordinate, >= 0; default: see ``PROBLEMS``.
        classes: number of classes, >= 2; default: see ``PROBLEMS``.

    Raises:
        InputError: a value is out of range.
    """
    problem = PROBLEMS[name]
    noise = problem.noise if noise is None else noise
    classes = problem.classes if classes is None else classes
    if not isinstance(classes, Integral) or classes < 2:
        raise InputError(f"classes of {name} must be an integer of at least 2, got {classes}.")
    if not isinstance(n, Integral) or n < 2 * classes:
        raise InputError(f"n of {name} with {classes} classes must be an integer of at least {2 * classes}, got {n}.")
    check_memory(n * (BYTES + 8 * classes), f"{name}:n={n}", "choose a smaller n")
    if not 0 <= noise < math.inf:
        raise InputError(f"noise of {name} must be finite and at least 0, got {noise}.")

    def draw(*stream: int | str) -> Split:
        source = generator("cpu", name, *stream)
        y = torch.randperm(n, generator=source) % classes
        clean = problem.curve(torch.rand(n, generator=source), y, classes)
        return Split(clean + noise * torch.randn(n, 2, generator=source), y, torch.arange(n))

    names = tuple(f"{name[:-1]} {k + 1}" for k in range(classes))
    return Dataset.assemble(name, names, draw("train", seed), draw("test"), seed=seed)
