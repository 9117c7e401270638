"""Two-dimensional problems with any number of classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.memory import check_memory
from amkd_viz.core.rng import generator
from amkd_viz.data.dataset import Dataset, Split

__all__ = ["PROBLEMS", "extra_points", "extra_text", "load_points"]

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


def extra_points(text: str) -> list[tuple[float, float, int]]:
    """Read the points that a person adds, as ``extra_text`` writes them: (x1, x2, class) of each.

    Raises:
        InputError: the text does not hold two finite numbers and a class for each point.

    >>> extra_points("0.5/-1.25/2+0/1/0")
    [(0.5, -1.25, 2), (0.0, 1.0, 0)]
    """
    points = []
    for word in text.split("+") if text else []:
        try:
            x, y, k = word.split("/")
            points.append((float(x), float(y), int(k)))
        except ValueError:
            points.append((math.nan, math.nan, -1))
        if not (math.isfinite(points[-1][0]) and math.isfinite(points[-1][1]) and points[-1][2] >= 0):
            raise InputError(f"extra must give X1/X2/CLASS of each point, joined by +, as in 0.5/-1.2/0, got {word!r}.")
    return points


def extra_text(points: Iterable[Sequence[float]]) -> str:
    """Write points (x1, x2, class) for the option ``extra`` of a data set's name; coordinates get three decimals."""
    return "+".join(f"{round(x, 3) + 0:.12g}/{round(y, 3) + 0:.12g}/{int(k)}" for x, y, k in points)


def load_points(
    name: str,
    seed: int = 0,
    *,
    n: int = 1000,
    noise: float | None = None,
    classes: int | None = None,
    extra: str = "",
) -> Dataset:
    """Draw ``n`` points for training and validation by ``seed``, and ``n`` test points independent of it.

    Args:
        name: a key of ``PROBLEMS``.
        n: number of points, at least two per class.
        noise: standard deviation of the noise on each coordinate, >= 0; default: see ``PROBLEMS``.
        classes: number of classes, >= 2; default: see ``PROBLEMS``.
        extra: further training points, "X1/X2/CLASS" of each, joined by "+"; every subset of the training split has
            them.

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
    more = extra_points(extra)
    for x, y, k in more:
        if k >= classes:
            raise InputError(
                f"extra of {name} must have classes from 0 to {classes - 1}, got {k} in {extra_text([(x, y, k)])}; "
                "remove the point, or choose more classes."
            )

    def draw(*stream: int | str) -> Split:
        source = generator("cpu", name, *stream)
        y = torch.randperm(n, generator=source) % classes
        clean = problem.curve(torch.rand(n, generator=source), y, classes)
        return Split(clean + noise * torch.randn(n, 2, generator=source), y, torch.arange(n))

    names = tuple(f"{name[:-1]} {k + 1}" for k in range(classes))
    data = Dataset.assemble(name, names, draw("train", seed), draw("test"), seed=seed)
    if not more:
        return data
    y = torch.tensor([k for *_, k in more])
    added = Split(torch.tensor([point[:2] for point in more]), y, torch.arange(n, n + len(more)))
    return data.with_extra(added)
