"""Where one method is ahead of another: a map of gains over data, student and number of labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from amkd_viz.core.errors import InputError
from amkd_viz.views.labels import plural, safe
from amkd_viz.views.layout import blank
from amkd_viz.views.theme import LIGHT
from amkd_viz.views.view import View

__all__ = ["Regime", "regimes"]

BEHIND, AHEAD = "#f0a35e", "#7fb4e6"  # readable beneath ink in both themes
ROW, COLUMN = 60, 124  # pixels
LINES = 7  # of a hatched cell


class Regime(NamedTuple):
    """A gain in percentage points: of the one method over the other, in one regime.

    Attributes:
        labels: labelled training samples per class. points: the mean difference. low, high: its 95 % interval.
        shown: whether a test tells it from 0 (Holm's procedure, where several are tested).
    """

    data: str
    student: str
    labels: float
    points: float
    low: float
    high: float
    shown: bool


def regimes(cells: Sequence[Regime], what: str) -> View:
    """Draw the gain in each regime with its interval: labels per class upwards, data and student from left to right.

    A cell is hatched where no difference is shown. This does not prove that the methods are equal: read its interval.

    Args:
        cells: at least one, each regime once.
        what: the difference, such as "bss - kd".

    Returns:
        arrays ``points``, ``low``, ``high`` and ``shown`` (R, C), NaN (False) where there is no regime; notes ``rows``
        (labels per class), ``columns`` and ``shown``, how many cells are.

    Raises:
        InputError: there is no cell, one is there twice, or one's interval does not contain its difference.
    """
    if not cells:
        raise InputError("regimes draws the gains of one or more regimes, got none.")
    rows = sorted({cell.labels for cell in cells})
    order = list(dict.fromkeys(cell.data for cell in cells))
    columns = sorted(dict.fromkeys((cell.data, cell.student) for cell in cells), key=lambda own: order.index(own[0]))
    points, low, high = (np.full((len(rows), len(columns)), np.nan) for _ in range(3))
    shown = np.zeros(points.shape, bool)
    for cell in cells:
        if not cell.low <= cell.points <= cell.high:
            raise InputError(
                f"The interval of a regime must contain its difference, got {cell.points:g} in [{cell.low:g}, "
                f"{cell.high:g}] for {cell.data} with {cell.labels:g} labels per class."
            )
        at = rows.index(cell.labels), columns.index((cell.data, cell.student))
        if not math.isnan(points[at]):
            raise InputError(f"{cell.data}, {cell.student} with {cell.labels:g} labels per class is there twice.")
        points[at], low[at], high[at], shown[at] = cell.points, cell.low, cell.high, cell.shown

    present = np.isfinite(points)
    most = float(np.abs(points[present]).max()) or 1.0
    figure = blank(
        height=ROW * len(rows) + 130,
        width=COLUMN * len(columns) + 190,
        margin={"t": 20, "b": 70, "l": 80, "r": 110},
        showlegend=False,
    )
    figure.add_heatmap(
        z=points,
        zmin=-most,
        zmax=most,
        colorscale=[[0, BEHIND], [0.5, LIGHT.paper], [1, AHEAD]],
        colorbar={"title": {"text": "points"}, "thickness": 12},
        xgap=3,
        ygap=3,
        text=[
            [f"<b>{p:+.2f}</b><br>[{a:+.2f}, {b:+.2f}]" if ok else "" for p, a, b, ok in zip(*row, strict=True)]
            for row in zip(points, low, high, present, strict=True)
        ],
        texttemplate="%{text}",
        hoverinfo="skip",
    )
    for r, c in np.argwhere(present & ~shown):
        figure.add_shape(_hatching(float(c), float(r)))
    names = [f"{safe(data)}<br>{safe(student)}" for data, student in columns]
    figure.update_xaxes(tickvals=list(range(len(columns))), ticktext=names, showgrid=False, zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[f"{labels:.0f}" if labels >= 10 else f"{labels:g}" for labels in rows],
        title="labels per class",
        showgrid=False,
        zeroline=False,
    )
    found, total = int(shown.sum()), int(present.sum())
    hatched = total - found
    return View(
        figure,
        {"points": points, "low": low, "high": high, "shown": shown},
        {"rows": rows, "columns": [", ".join(column) for column in columns], "shown": found},
        f"{what}, in percentage points of test accuracy, with 95 % intervals. A difference is shown in {found} of "
        f"{plural(total, 'regime')}"
        + (
            f"; {hatched} hatched: a difference is not shown there, which does not prove that the methods are equal."
            if hatched
            else "."
        ),
        f"Where is it ahead: {what}",
    )


def _hatching(x: float, y: float) -> dict[str, Any]:
    """Return diagonal lines across the cell whose centre is (x, y)."""
    parts = []
    for k in range(1, 2 * LINES):
        across = k / LINES  # where the line leaves the lower or right edge, and enters the left or upper one
        x0, y0 = max(0.0, across - 1), min(1.0, across)
        parts.append(f"M {x - 0.5 + x0} {y - 0.5 + y0} L {x - 0.5 + y0} {y - 0.5 + x0}")
    return {
        "type": "path",
        "path": " ".join(parts),
        "line": {"color": LIGHT.line, "width": 1},
        "layer": "above",
        "opacity": 0.5,
    }
