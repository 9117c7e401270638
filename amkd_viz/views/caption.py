"""A caption: as HTML beneath a figure, two lines and the rest on request; as lines of a picture without a page.

A caption begins with what every reader needs. Its further sentences are behind the word "more".
"""

from __future__ import annotations

import math
import re
import textwrap

import plotly.graph_objects as go

from amkd_viz.views.labels import safe
from amkd_viz.views.layout import height_of
from amkd_viz.views.theme import LIGHT

__all__ = ["captioned", "folded", "html_caption", "in_two", "wrapped"]

# The colour follows JupyterLab's theme; pages without such a variable, light or dark, give their own.
STYLE = "max-width:60em;margin:0 0 .8em;line-height:1.45;color:var(--jp-ui-font-color1,inherit)"
SIZE, LINE, EDGE, GAP = 12, 15.6, 10, 8  # pixels: letters, a line as Plotly sets it, paper around and above the words
LETTER = 6.6  # average pixels per letter in a wide font: no line may end outside
TWO_LINES = 210  # letters, in the width of a notebook
LONGEST = 150  # letters per line that are still easy to read


def html_caption(caption: str) -> str:
    """Return the HTML of a caption, "" if it is empty."""
    return f'<div style="{STYLE}">{folded(caption)}</div>' if caption else ""


def folded(caption: str) -> str:
    """Return a caption as HTML without a frame: two lines, and the rest behind "more"."""
    first, rest = in_two(caption)
    if not rest:
        return safe(first)
    more = '<summary style="display:inline;cursor:pointer;text-decoration:underline">more</summary>'
    return f'{safe(first)} <details class="amkd-more" style="display:inline;margin:0">{more} {safe(rest)}</details>'


def in_two(caption: str) -> tuple[str, str]:
    """Return the sentences that two lines hold, at least one, and the others.

    >>> in_two("Dots are seeds. The axis does not start at 0.")
    ('Dots are seeds. The axis does not start at 0.', '')
    >>> in_two(f"Dots are seeds. {'X' * 200}.")[0]
    'Dots are seeds.'
    """
    sentences = re.split(r"(?<=[.!?]) +(?=[A-Z])", caption)
    count = 1
    while count < len(sentences) and len(" ".join(sentences[: count + 1])) <= TWO_LINES:
        count += 1
    return " ".join(sentences[:count]), " ".join(sentences[count:])


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
