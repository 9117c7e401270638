"""What an experiment gives: its runs and one view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from amkd_viz.runs import Run
from amkd_viz.views.labels import safe
from amkd_viz.views.layout import blank
from amkd_viz.views.theme import LIGHT, class_colour
from amkd_viz.views.view import View

__all__ = ["Experiment", "accuracy_of", "heat", "kendall", "lines"]

HEIGHT = 380  # pixels of a figure


@dataclass(frozen=True)
class Experiment:
    """The runs of an experiment and its one view; it displays the view in a notebook.

    Attributes:
        runs: finished runs, by name. view: what they show, with the numbers as arrays and notes.
    """

    view: View
    runs: Mapping[str, Run] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Experiment({len(self.runs)} runs; {self.view!r})"

    def _ipython_display_(self) -> None:
        self.view._ipython_display_()


def accuracy_of(run: Run) -> float:
    """Return the last-epoch test accuracy of a finished run."""
    return float(run.summary["test_accuracy"])


def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    x: str,
    y: str,
    *,
    text: Mapping[str, Sequence[str]] | None = None,
    joined: bool = True,
    log: bool = False,
) -> go.Figure:
    """Return a figure of points (x, y) by name, joined by lines.

    Args:
        series: name -> (x, y), each (N,). x, y: titles of the axes, with units.
        text: name -> the words beside each point. log: whether x is logarithmic.
    """
    figure = blank(height=HEIGHT, margin={"t": 24, "b": 50, "l": 62, "r": 16})
    for place, (name, (across, up)) in enumerate(series.items()):
        words = [safe(word) for word in (text or {}).get(name, ())]
        figure.add_scatter(
            x=np.asarray(across),
            y=np.asarray(up),
            name=safe(name),
            mode="+".join([*(["lines"] if joined else []), "markers", *(["text"] if words else [])]),
            text=words or None,
            textposition="top center",
            marker={"size": 8, "color": class_colour(place), "line": {"color": LIGHT.paper, "width": 1}},
            line={"color": class_colour(place), "width": 1.6},
        )
    figure.update_layout(showlegend=len(series) > 1, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title=x, type="log" if log else "linear")
    figure.update_yaxes(title=y)
    return figure


def heat(matrices: Mapping[str, ArrayLike], names: Sequence[str], low: float, high: float) -> go.Figure:
    """Return a figure of matrices side by side on one colour scale.

    Args:
        matrices: title -> (K, K). names: (K,) of rows and columns.
    """
    figure = blank(height=HEIGHT, margin={"t": 40, "b": 60, "l": 70, "r": 10})
    labels, count = [safe(name) for name in names], len(matrices)
    for place, (title, matrix) in enumerate(matrices.items()):
        number = "" if place == 0 else str(place + 1)
        domain = [place / count + (0.03 if place else 0), (place + 1) / count - 0.03]
        shown = {"zmin": low, "zmax": high, "colorscale": "RdBu", "showscale": place + 1 == count}
        figure.add_heatmap(z=np.asarray(matrix), x=labels, y=labels, xaxis=f"x{number}", yaxis="y", **shown)
        figure.update_layout({f"xaxis{number}": {"domain": domain, "anchor": "y"}})
        figure.add_annotation(
            x=sum(domain) / 2, y=1, xref="paper", yref="paper", yanchor="bottom", text=safe(title), showarrow=False
        )
    # as categories, since names such as "0" look like numbers: one tick per class, the first at the top
    figure.update_xaxes(type="category", dtick=1).update_yaxes(type="category", dtick=1, autorange="reversed")
    return figure


def kendall(a: ArrayLike, b: ArrayLike) -> float:
    """Return Kendall's tau-b of two lists of numbers, in [-1, 1]; NaN where one of them is constant.

    >>> kendall([1, 2, 3, 4], [1, 3, 2, 4])
    0.6666666666666666
    """
    x, y = (np.sign(np.subtract.outer(v, v)) for v in (np.asarray(a, float), np.asarray(b, float)))
    scale = np.sqrt(np.square(x).sum() * np.square(y).sum())
    return float((x * y).sum() / scale) if scale else float("nan")
