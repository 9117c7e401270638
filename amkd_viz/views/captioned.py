"""A figure with its caption beneath: a picture in a paper or on a slide has no page around it that could say it."""

from __future__ import annotations

import math
import textwrap

import plotly.graph_objects as go

from amkd_viz.views.labels import safe
from amkd_viz.views.layout import height_of
from amkd_viz.views.theme import LIGHT

__all__ = ["captioned", "wrapped"]

SIZE, LINE, EDGE, GAP = 12, 15.6, 10, 8  # pixels: letters, a line as Plotly sets it, paper around and above the words
LETTER = 6.6  # pixels of a letter on average, in a wide font: no line may end outside
LONGEST = 150  # letters that an eye follows along one line


def wrapped(caption: str, width: float) -> list[str]:
    """The lines of a caption in a picture of so many pixels.

    >>> wrapped("one two three", 80)
    ['one two', 'three']
    """
    return textwrap.wrap(caption, max(8, min(LONGEST, int((width - 2 * EDGE) / LETTER))), break_on_hyphens=False)


def captioned(figure: go.Figure, caption: str, width: float) -> go.Figure:
    """A copy in the light theme, of its own height at this width and as much more as the caption needs."""
    lines, height = wrapped(caption, width), height_of(figure, width)
    found = go.Figure(figure).update_layout(height=height, meta=None)
    if not lines:
        return found
    room = GAP + math.ceil(LINE * len(lines)) + EDGE
    layout = found.layout
    below = [layout.margin.b, layout.template.layout.margin.b, 80]  # its own, our template's, Plotly's
    bottom = next(b for b in below if b is not None)
    legend = layout.legend
    if legend.yref == "container" and legend.y is not None:  # stays where it is on what was the whole picture
        legend.y = (legend.y * height + room) / (height + room)
    found.update_layout(height=height + room, margin={"b": bottom + room})
    words = {"text": "<br>".join(map(safe, lines)), "font": {"size": SIZE, "color": LIGHT.muted}, "xanchor": "left"}
    if layout.title.text:  # whose place is taken: measured from the plot, not from the picture's edge
        at = {"x": 0, "y": 0, "xref": "paper", "yref": "paper", "yanchor": "top", "yshift": -bottom - GAP}
        found.add_annotation(words | at, showarrow=False, align="left")
    else:
        at = {"x": 0, "y": 0, "xref": "container", "yref": "container", "yanchor": "bottom"}  # of the first line
        pad = {"l": EDGE, "b": EDGE + LINE * (len(lines) - 1)}
        found.update_layout(title=words | at | {"pad": pad})
    return found
