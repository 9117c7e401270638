"""A caption as HTML beneath a notebook's figure, and as lines beneath a picture, which has no page around it."""

from __future__ import annotations

import math
import textwrap

import plotly.graph_objects as go

from amkd_viz.views.labels import safe
from amkd_viz.views.layout import height_of
from amkd_viz.views.theme import LIGHT

__all__ = ["captioned", "html_caption", "wrapped"]

# The colour follows JupyterLab's theme; pages without such a variable, light or dark, give their own.
STYLE = "max-width:60em;margin:0 0 .8em;line-height:1.45;color:var(--jp-ui-font-color1,inherit)"
SIZE, LINE, EDGE, GAP = 12, 15.6, 10, 8  # pixels: letters, a line as Plotly sets it, paper around and above the words
LETTER = 6.6  # average pixels per letter in a wide font: no line may end outside
LONGEST = 150  # letters per line that are still easy to read


def html_caption(caption: str) -> str:
    """Return the HTML of a caption, "" if it is empty."""
    return f'<div style="{STYLE}">{safe(caption)}</div>' if caption else ""


def wrapped(caption: str, width: float) -> list[str]:
    """Return the lines of a caption in a picture ``width`` pixels wide.

    >>> wrapped("one two three", 80)
    ['one two', 'three']
    """
    return textwrap.wrap(caption, max(8, min(LONGEST, int((width - 2 * EDGE) / LETTER))), break_on_hyphens=False)


def captioned(figure: go.Figure, caption: str, width: float) -> go.Figure:
    """Return a copy with the caption beneath, as much higher as the caption needs at this width."""
    lines, height = wrapped(caption, width), height_of(figure, width)
    found = go.Figure(figure).update_layout(height=height, meta=None)
    if not lines:
        return found
    room = GAP + math.ceil(LINE * len(lines)) + EDGE
    layout = found.layout
    margins = [layout.margin.b, layout.template.layout.margin.b, 80]  # the figure's, the template's, Plotly's
    bottom = next(b for b in margins if b is not None)
    legend = layout.legend
    if legend.yref == "container" and legend.y is not None:  # stays where it was in the lower picture
        legend.y = (legend.y * height + room) / (height + room)
    found.update_layout(height=height + room, margin={"b": bottom + room})
    words = {"text": "<br>".join(map(safe, lines)), "font": {"size": SIZE, "color": LIGHT.muted}, "xanchor": "left"}
    if layout.title.text:  # the title is taken: place the words relative to the plot, not the picture's edge
        at = {"x": 0, "y": 0, "xref": "paper", "yref": "paper", "yanchor": "top", "yshift": -bottom - GAP}
        found.add_annotation(words | at, showarrow=False, align="left")
    else:
        at = {"x": 0, "y": 0, "xref": "container", "yref": "container", "yanchor": "bottom"}  # of the first line
        found.update_layout(title=words | at | {"pad": {"l": EDGE, "b": EDGE + LINE * (len(lines) - 1)}})
    return found
