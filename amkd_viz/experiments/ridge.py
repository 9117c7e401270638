"""Self-distillation that can be seen: kernel ridge regression on eleven points, taught by itself again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amkd_viz.core.errors import InputError
from amkd_viz.experiments.result import Experiment, lines
from amkd_viz.views.theme import LIGHT
from amkd_viz.views.view import View

__all__ = ["Ridge", "best_weight", "ridge_generations"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ridge:
    """Kernel ridge regression with the kernel exp(-gamma (x - x')^2): exact solutions of all generations.

    Attributes:
        x, y: (N,) points. gamma, lam: width of the kernel, and the penalty.
    """

    x: Array
    y: Array
    gamma: float = 80.0
    lam: float = 0.2

    def kernel(self, at: Array) -> Array:
        """Return (M, N)."""
        made: Array = np.exp(-self.gamma * np.square(at[:, None] - self.x[None]))
        return made

    def predict(self, targets: Array, at: Array) -> Array:
        """Return predictions (M,) of the fit to ``targets`` (N,)."""
        penalty = self.lam * np.eye(len(self.x))
        made: Array = self.kernel(at) @ np.linalg.solve(self.kernel(self.x) + penalty, targets)
        return made

    def generations(self, at: Array, label_weight: float, count: int) -> Array:
        """Return predictions (count, M): each generation is fitted to ``label_weight`` labels and the rest of its
        predecessor's predictions (Borup and Andersen, NeurIPS 2021, arXiv 2102.13088)."""
        targets, made = self.y, []
        for _ in range(count):
            made.append(self.predict(targets, at))
            targets = label_weight * self.y + (1 - label_weight) * self.predict(targets, self.x)
        return np.array(made)

    def limit(self, at: Array, label_weight: float) -> Array:
        """Return what the generations tend to, (M,)."""
        k = self.kernel(self.x)
        if label_weight == 0:
            return np.zeros(len(at))
        inner = np.linalg.solve(label_weight * k + self.lam * np.eye(len(k)), self.y)
        made: Array = label_weight * self.kernel(at) @ inner
        return made


def best_weight(labels: Array, taught: Array, target: Array) -> float:
    """Return the label weight in [0, 1] whose prediction, linear in it, is nearest to ``target``.

    Args:
        labels, taught: predictions of a fit to labels alone and to the teacher alone. target: validation labels.
    """
    apart = (labels - taught).ravel()
    along = float(apart @ apart)
    if along == 0:
        return 1.0
    return min(1.0, max(0.0, float((target - taught).ravel() @ apart) / along))


def ridge_generations(label_weight: float = 0.0, count: int = 6, seed: int = 0) -> Experiment:
    """Fit eleven noisy points of a sine by kernel ridge regression, ``count`` generations of it.

    Args:
        label_weight: share of the labels in the targets of each generation but the first, in [0, 1].

    Returns:
        arrays ``predictions`` (count, 101), ``limit`` (101,) and ``mse`` (count,), mean squared distances to the sine.

    Raises:
        InputError: the weight is outside [0, 1], or the count is below 1.
    """
    if not 0 <= label_weight <= 1 or count < 1:
        raise InputError(f"label_weight must be in [0, 1] and count at least 1, got {label_weight} and {count}.")
    x, grid = np.linspace(0, 1, 11), np.linspace(0, 1, 101)
    y = np.sin(2 * np.pi * x) + np.random.default_rng(seed).normal(0, 0.5, 11)
    ridge, truth = Ridge(x, y), np.sin(2 * np.pi * grid)
    made, limit = ridge.generations(grid, label_weight, count), ridge.limit(grid, label_weight)
    mse = np.square(made - truth).mean(1)
    series = {"sine": (grid, truth)} | {f"generation {i}": (grid, row) for i, row in enumerate(made)}
    figure = lines(series | {"limit": (grid, limit)}, "x", "y")
    figure.update_traces(mode="lines")
    figure.update_traces(line={"color": LIGHT.ink, "dash": "dash", "width": 2.5}, selector={"name": "sine"})
    figure.add_scatter(x=x, y=y, mode="markers", name="labels", marker={"size": 9, "symbol": "x"})
    best = int(mse.argmin())
    caption = (
        f"Generation {best} is nearest to the sine: mean squared distance {mse[best]:.4f}, generation 0 {mse[0]:.4f}. "
        "Without labels the generations shrink to 0; with a share of them they tend to the limit that is drawn. "
        "The points are ours, drawn with seed "
        f"{seed}; arXiv 2102.13088 has the theory."
    )
    arrays = {"predictions": made, "limit": limit, "mse": mse}
    return Experiment(View(figure, arrays, {"best": best}, caption, "Generations of a ridge regression"))
