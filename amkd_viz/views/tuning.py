"""The best setting so far over the trials of a tuning, one curve per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amkd_viz.core.errors import InputError
from amkd_viz.views.layout import blank
from amkd_viz.views.theme import LIGHT, method_colours
from amkd_viz.views.view import View

if TYPE_CHECKING:
    from amkd_viz.runs.tune import Tuned

__all__ = ["tuning"]


def tuning(tuned: Sequence[Tuned]) -> View:
    """Draw the best validation accuracy so far over the trials of each method, and every trial as a dot.

    Returns:
        arrays ``METHOD`` (trials,), the accuracy of each trial in [0, 1], NaN where it was stopped early, and
        ``METHOD.best``; notes ``METHOD.epochs``, what its trials trained.

    Raises:
        InputError: there is no method.
    """
    if not tuned:
        raise InputError("tuning draws the trials of one or more methods, got none.")
    colours = method_colours({one.method: one.method for one in tuned})
    figure = blank(height=360, margin={"t": 30, "b": 50, "l": 60, "r": 20})
    arrays: dict[str, NDArray[Any]] = {}
    notes: dict[str, Any] = {}
    for one in tuned:
        shares = np.array([np.nan if trial.accuracy is None else trial.accuracy for trial in one.trials])
        best = np.fmax.accumulate(shares)
        number = np.arange(1, len(shares) + 1)
        colour = colours[one.method]
        figure.add_scatter(x=number, y=100 * best, mode="lines", line={"color": colour, "shape": "hv"}, name=one.method)
        figure.add_scatter(
            x=number,
            y=100 * shares,
            mode="markers",
            marker={"color": colour, "size": 6},
            showlegend=False,
            hovertemplate=f"{one.method}, trial %{{x}}: %{{y:.2f}} %<extra></extra>",
        )
        arrays |= {one.method: shares, f"{one.method}.best": best}
        notes[f"{one.method}.epochs"] = sum(trial.epochs for trial in one.trials)
    figure.update_xaxes(title="trial", gridcolor=LIGHT.line)
    figure.update_yaxes(title="validation accuracy, %", gridcolor=LIGHT.line)
    budget = ", ".join(f"{one.method} {notes[f'{one.method}.epochs']:,}" for one in tuned)
    return View(
        figure,
        arrays,
        notes,
        f"Dots are trials, the line is the best so far. Epochs trained: {budget}. Trials that were stopped early have "
        "no dot. The best of many trials is too high an estimate: compare methods by fresh seeds on the test split.",
        "Tuning",
    )
