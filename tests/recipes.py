"""Recipes that train in a moment, runs without a training, and what tests ask of two nets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import equal, nn

from amkd_viz.runs import Run
from amkd_viz.training import Recipe

POINTS = Recipe(
    dataset="blobs",
    teacher="mlp-small",
    student="mlp-tiny",
    method="amkd",
    epochs=4,
    teacher_epochs=5,
    num_train=48,
    batch_size=16,
    teacher_batch_size=16,
    max_boundary_samples=8,
    magsim_samples=20,
    device="cpu",
)
IMAGES = Recipe(
    dataset="digits",
    teacher="cnn-tiny",
    student="cnn-tiny",
    epochs=2,
    teacher_epochs=2,
    num_train=60,
    batch_size=30,
    max_boundary_samples=8,
    device="cpu",
)
ONE_EPOCH = POINTS.replace(method="ce", epochs=1, teacher_epochs=1, magsim_samples=0)


def flags(recipe: Recipe) -> list[str]:
    """Return the words of the command line that give this recipe."""
    usual, given = Recipe().to_json(), recipe.to_json()
    changed = {name: value for name, value in given.items() if value != usual[name]}
    return [word for name, value in changed.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def same(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two nets have the same weights and buffers, bit by bit."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)


class Finished(Run):
    """A finished run without a folder. ``config`` replaces entries of config.json."""

    _count = itertools.count()

    def __init__(
        self, recipe: Recipe, lines: Sequence[dict[str, Any]] = (), config: Any = None, **summary: Any
    ) -> None:
        values = {"recipe": recipe.to_json(), "objective": str(recipe.objective), "started": f"{next(self._count):09d}"}
        super().__init__(Path(f"/nowhere/{values['started']}"), values | (config or {}))
        self._lines, self._summary = list(lines), {"test_accuracy": 0.5, **summary}

    finished = True  # type: ignore[assignment]

    @property
    def summary(self) -> dict[str, Any]:
        return self._summary

    def lines(self) -> list[dict[str, Any]]:
        return self._lines
