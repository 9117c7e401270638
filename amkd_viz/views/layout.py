"""Square panels side by side, and the marks that mean the same in every view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.views.decisions import DISTINCT
from amkd_viz.views.labels import class_label, class_letter, class_name, safe
from amkd_viz.views.theme import APART, LIGHT, class_colour, template

__all__ = [
    "CROSS",
    "DASHES",
    "DOTTED",
    "LEAST",
    "RING",
    "NAMED",
    "SYMBOLS",
    "alike",
    "axes",
    "blank",
    "class_legend",
    "height_of",
    "keep",
    "segments",
    "largest_only",
    "named",
    "squares",
    "with_bar",
]

# Teacher first: solid line and circle; student: dashed and diamond; boundary sample: ring; crossing: small cross.
SYMBOLS = ("circle", "diamond")
DASHES = ("solid", "dash")
DOTTED = "1.5px,3px"  # as on the panels' canvas; Plotly's own "dot" is dashes of 3 px on a thin line
RING = {"symbol": "circle-open", "size": 9, "color": LIGHT.ink, "line": {"width": 1.6}}
CROSS = {"symbol": "x-thin", "size": 7, "color": LIGHT.ink, "line": {"width": 1.6, "color": LIGHT.ink}}

NAMED = 12  # classes that a legend names

TITLE, TICKS, UNIT, LEGEND = 34, 22, 18, 30  # pixels: titles above panels, numbers and units below, a legend line
BAR = 28  # pixels: Plotly's mode bar
LEAST = 245  # pixels of one of several panels: what its title needs; a narrower page scrolls


def named(nets: nn.Module | Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return nets by name, in order; a single one is called "net".

    Raises:
        InputError: no net is given.
    """
    found = {"net": nets} if isinstance(nets, nn.Module) else dict(nets)
    if not found:
        raise InputError("nets must hold at least one net.")
    return found


def axes(number: int) -> str:
    """Return the suffix of the axes of panel ``number`` (from 0) in Plotly's names: "", "2", "3", ..."""
    return "" if number == 0 else str(number + 1)


def blank(**layout: Any) -> go.Figure:
    """Return an empty figure in the library's template."""
    return go.Figure(layout={"template": template(), **layout})


def squares(
    titles: Sequence[str], *, columns: int | None = None, ranges: Any = None, unit: str = "", gap: float = 0.025
) -> go.Figure:
    """Return panels with equal units in x and y and a title (already escaped) above each.

    Args:
        columns: by default all in one row up to four panels, else two rows.
        ranges: ((x0, x1), (y0, y1)) of every panel.
        unit: written below the panels of the last row.
    """
    count = len(titles)
    columns = columns or (count if count <= 4 else math.ceil(count / 2))
    rows = math.ceil(count / columns)
    figure = make_subplots(
        rows, columns, horizontal_spacing=gap, vertical_spacing=0.18 / rows if rows > 1 else 0, subplot_titles=titles
    )
    bottom = TICKS + (UNIT if unit else 0)
    figure.update_layout(template=template(), showlegend=False, margin={"l": 4, "r": 4, "t": TITLE, "b": bottom})
    gaps = (rows - 1) * (TITLE + TICKS)
    sides = {"aspect": rows / columns, "extra": TITLE + bottom + gaps, "high": min(680 * rows, 980)}
    figure.layout.meta = {**sides, "least": LEAST * columns if columns > 1 else 0}
    for number in range(count - columns, count) if unit else ():
        figure.layout[f"xaxis{axes(number)}"].title = {"text": unit, "standoff": 2}
    for number, note in enumerate(figure.layout.annotations):
        # in units of the panel, which stays square whatever the width of the page
        note.update(x=0, y=1, xref=f"x{axes(number)} domain", yref=f"y{axes(number)} domain", xanchor="left")
        note.update(align="left", font={"size": 13}, yshift=2)
    for update, ends in zip((figure.update_xaxes, figure.update_yaxes), ranges or (None, None), strict=True):
        update(showgrid=False, constrain="domain", showticklabels=False, nticks=6, range=ends)
    for number in range(count):
        # numbers only on the outside: left of the first column, below the last panel of each column
        figure.layout[f"xaxis{axes(number)}"].showticklabels = number + columns >= count
        figure.layout[f"yaxis{axes(number)}"].showticklabels = number % columns == 0
        if not number:
            figure.layout.yaxis.update(scaleanchor="x", scaleratio=1)
        else:  # panels move together, the same place in each net's map, and so share the scale
            figure.layout[f"xaxis{axes(number)}"].matches = "x"
            figure.layout[f"yaxis{axes(number)}"].matches = "y"
    return figure


def class_legend(
    figure: go.Figure,
    classes: Sequence[str],
    shown: Sequence[int] | None = None,
    signs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Add a legend below the panels: of class colours, all classes up to a dozen, else those ``shown``; and of the
    marks: words -> the look of a trace."""
    if len(classes) <= NAMED:
        shown = range(len(classes))
    entries: list[tuple[str, Any]] = [
        (_entry(classes, k), {"marker": {"size": 10, "symbol": "square", "color": class_colour(k)}})
        for k in shown or ()
    ]
    entries += (signs or {}).items()
    if not entries:
        return
    figure.update_traces(showlegend=False)
    for words, look in entries:
        mode = "markers" if "marker" in look else "lines"
        figure.add_scatter(x=[None], y=[None], mode=mode, **look, name=words, showlegend=True)
    lines = 1 + sum(len(words) + 6 for words, _ in entries) // 130
    figure.update_layout(
        showlegend=True,
        legend={"y": 0, "yref": "container", "yanchor": "bottom", "x": 0, "itemclick": False},
        margin={"b": (figure.layout.margin.b or 0) + LEGEND * lines},
        meta={**figure.layout.meta, "extra": figure.layout.meta["extra"] + LEGEND * lines},
    )


def _entry(classes: Sequence[str], k: int) -> str:
    """Return the name of a class, after what stands for it on a map of many."""
    name, letter = class_label(classes, k, 24), class_letter(classes, k)
    return name if len(classes) <= DISTINCT or letter == class_name(classes, k) else f"<b>{safe(letter)}</b> {name}"


def alike(classes: Sequence[str], hover: str) -> str:
    """Return what a caption says of more classes than a legend names, else "".

    >>> alike(["cat", "dog"], "a dot"), alike([""] * 20, "a dot")
    ('', ' Hover over a dot to read its class.')
    """
    if len(classes) <= NAMED:
        return ""
    return f" {_similar(len(classes))}Hover over {hover} to read its class."


def _similar(classes: int) -> str:
    return f"Some of the {classes} classes have nearly the same colour. " if classes > APART else ""


def largest_only(classes: int, present: int) -> str:
    """Return what a caption says of a legend that names only the largest regions, "" if it names all classes."""
    if classes <= NAMED:
        return ""
    shown = f"the {present} that occur here" if present <= NAMED else f"the {NAMED} largest regions of {present}"
    return f"{_similar(classes)}The legend names {shown}, largest first."


def segments(starts: Any, ends: Any) -> NDArray[np.float64]:
    """Return (3 N, 2): a line from each start to its end, both (N, 2), with NaN between the lines."""
    starts, ends = np.broadcast_arrays(starts, ends)
    return np.stack([starts, ends, np.full_like(ends, np.nan)], 1).reshape(-1, 2)


def height_of(figure: go.Figure, width: float) -> int:
    """Return pixels: the figure's height, or what its panels need at this width (``figures.js`` computes the same)."""
    meta = figure.layout.meta or {}
    if "aspect" not in meta:
        return int(figure.layout.height or 420)
    return round(min(meta["high"], width * meta["aspect"] + meta["extra"]))


def with_bar(figure: go.Figure) -> go.Figure:
    """Return a copy with room above all words for Plotly's mode bar, which appears there under the pointer."""
    made = go.Figure(figure)
    top = made.layout.margin.t
    made.update_layout(margin={"t": BAR + (made.layout.template.layout.margin.t or 100 if top is None else top)})
    if "aspect" in (meta := made.layout.meta or {}):
        made.update_layout(meta={**meta, "extra": meta["extra"] + BAR, "high": meta["high"] + BAR})
        return made
    height = height_of(figure, 0)
    if made.layout.legend.yref == "container" and made.layout.legend.y is not None:  # stays as far from the bottom
        made.update_layout(legend={"y": made.layout.legend.y * height / (height + BAR)})
    return made.update_layout(height=height + BAR)


def keep(count: int, most: int) -> list[int]:
    """Return at most ``most`` indices out of ``count``, evenly spread, the first and last included.

    >>> keep(10, 4)
    [0, 3, 6, 9]
    """
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / max(1, most - 1)) for i in range(most)})
