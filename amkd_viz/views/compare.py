"""Methods side by side: every seed a dot, mean and standard deviation beside it, the teacher as a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from amkd_viz.errors import InputError
from amkd_viz.training.comparison import groups
from amkd_viz.views.labels import mean_sd, percent, safe
from amkd_viz.views.layout import blank
from amkd_viz.views.theme import LIGHT, method_colour
from amkd_viz.views.view import View

if TYPE_CHECKING:
    from amkd_viz.training import Run

__all__ = ["compare"]

ROW = 46  # pixels a method

NAMES = {"test_accuracy": "test accuracy", "test_agreement": "agreement with the teacher"}


def compare(runs: Sequence[Run], number: str = "test_accuracy") -> View:
    """One row a method: its seeds as dots, their mean as a bar, one standard deviation to each side as a line.

    Args:
        runs: finished runs of one data set.
        number: a share in the run's summary, "test_accuracy" (last epoch) or "test_agreement".

    Returns:
        arrays ``METHOD`` (seeds,), shares in [0, 1]; notes ``METHOD.mean``, ``METHOD.sd`` (None for one seed) and
        ``teacher``.

    Raises:
        InputError: no run that has the number.
    """
    values: dict[str, list[tuple[int, float]]] = {}
    teachers = []
    for label, own in groups(runs).items():
        for run in own:
            summary = run.summary
            if summary.get(number) is not None:
                values.setdefault(label, []).append((run.recipe.seed, float(summary[number])))
                teachers.append(summary.get("teacher_test_accuracy"))
    if not values:
        raise InputError(f"None of the runs has {number}; finish one first.")
    teacher = next((t for t in teachers if t is not None), None) if number == "test_accuracy" else None

    figure = blank(height=ROW * len(values) + 84, showlegend=False, margin={"t": 30, "b": 46, "l": 10, "r": 142})
    notes: dict[str, Any] = {"teacher": teacher}
    for row, (method, found) in enumerate(values.items()):
        shares = 100 * np.array([share for _, share in found])
        mean, sd = shares.mean(), shares.std(ddof=1) if len(shares) > 1 else None
        notes |= {f"{method}.mean": mean / 100, f"{method}.sd": None if sd is None else sd / 100}
        colour = method_colour(method)
        if sd is not None:
            figure.add_shape(
                type="line", x0=mean - sd, x1=mean + sd, y0=row, y1=row, line={"color": colour, "width": 2}
            )
        figure.add_shape(type="line", x0=mean, x1=mean, y0=row - 0.3, y1=row + 0.3, line={"color": colour, "width": 4})
        figure.add_scatter(
            x=shares,
            y=row + 0.09 * (np.arange(len(shares)) - (len(shares) - 1) / 2),  # equal values stay apart
            mode="markers",
            marker={"size": 9, "color": colour, "line": {"color": LIGHT.paper, "width": 1.2}},
            text=[f"seed {seed}" for seed, _ in found],
            hovertemplate=f"{safe(method)}, %{{text}}: %{{x:.2f}} %<extra></extra>",
        )
        figure.add_annotation(
            x=1,
            xref="x domain",
            xanchor="left",
            xshift=12,
            y=row,
            text=f"<b>{mean_sd(mean, sd)}</b> %",
            showarrow=False,
            font={"size": 14},
        )
    figure.update_yaxes(
        tickvals=list(range(len(values))),
        ticktext=[f"<b>{safe(method)}</b>" for method in values],
        tickfont={"size": 14, "color": LIGHT.ink},
        range=[len(values) - 0.4, -0.6],
        showgrid=False,
    )
    figure.update_xaxes(title=f"{NAMES.get(number, safe(number))}, % of test, last epoch")
    if teacher is not None:
        figure.add_vline(100 * teacher, line={"color": LIGHT.ink, "width": 1.2})
        text = f"teacher {percent(teacher, 2)}"
        figure.add_annotation(x=100 * teacher, y=1, yref="y domain", yanchor="bottom", text=text, showarrow=False)
    seeds = max(map(len, values.values()))
    spread = ", bars are means, lines one standard deviation to each side" if seeds > 1 else ""
    return View(
        figure,
        {method: np.array([share for _, share in found]) for method, found in values.items()},
        notes,
        f"Dots are seeds{spread}. The axis does not start at 0.",
        f"Methods by {NAMES.get(number, number)}",
    )
