"""What a map shows, independent of who paints it: panels with a raster each, and marks in data coordinates.

Three painters draw the same scene: ``figure.figure`` (Plotly), ``picture.picture`` (Pillow) and the panels' canvas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amkd_viz.views.decisions import Decisions, agreement
from amkd_viz.views.labels import percent
from amkd_viz.views.raster import class_pixels, warm_pixels

__all__ = ["SIGNS", "Area", "Mark", "Panel", "Scene", "compared", "differing"]

Area = tuple[float, float, float, float]
SIGNS = {  # what a mark, or a line or hatching of a panel, means in a legend
    "dots": "data points",
    "triangle": "added by hand",
    "path": "path of the attack",
    "dash": "on the student",
    "ring": "boundary sample",
    "cross": "enters another class",
    "box": "valid pixel range",
    "margin": "margin",
    "apart": "the nets differ",
}


@dataclass(frozen=True, eq=False)
class Mark:
    """Something drawn on the maps.

    Attributes:
        kind: "dots", "ring", "cross", "diamond", "square" or "triangle" at each point; "path" through the points,
            interrupted where one is NaN; "box", a polygon outside which the map is veiled; "image" or "label" beside
            one point.
        xy: (N, 2) points in data units.
        k: (N,) classes that colour the points; without, they have the colour of text.
        text: words shown on hovering over each point, or the one text of a label.
        pixels: (H, W, 4) RGBA of an image.
        panel: index of the only panel that shows the mark; None for all.
        size: radius in CSS pixels; by default that of the kind.
        dash: whether a path is dashed. numbered: whether its points after the first have a dot and a number.
        left, below: on which side of its point an image or a label stands.
    """

    kind: str
    xy: Any
    k: Any = None
    text: Sequence[str] = ()
    pixels: NDArray[np.uint8] | None = None
    panel: int | None = None
    size: float = 0
    dash: bool = False
    numbered: bool = False
    left: bool = False
    below: bool = False

    @property
    def points(self) -> NDArray[np.float64]:
        """(N, 2), whatever shape ``xy`` has."""
        return np.asarray(self.xy, np.float64).reshape(-1, 2)

    def on(self, panel: int) -> Mark:
        """Return the same mark on one panel only."""
        return replace(self, panel=panel)


@dataclass(frozen=True, eq=False)
class Panel:
    """One square of a scene: a decision map, a disagreement, or neither.

    Attributes:
        title: a few words; note: what follows them, less prominent.
        map: what a net decides, (R, R), row 0 at the bottom.
        apart: (R, R) where two nets differ, in place of a map.
        margins: draw dotted lines on which the two largest probabilities differ by these much.
    """

    title: str = ""
    note: str = ""
    map: Decisions | None = None
    apart: NDArray[np.bool_] | None = None
    margins: Sequence[float] = ()

    @cached_property
    def pixels(self) -> NDArray[np.uint8] | None:
        """(R, R, 4) RGBA, row 0 on top."""
        if self.map is not None:
            return class_pixels(self.map.winner, self.map.confidence)[::-1]
        return None if self.apart is None else warm_pixels(self.apart)[::-1]


@dataclass(frozen=True, eq=False)
class Scene:
    """Panels of one area.

    Attributes:
        area: (x0, x1, y0, y1) in data units.
        classes: names of the classes.
        units: words beside the x axes of the last row and the first y axis.
        columns: panels in a row; by default all in one row up to four, else two rows.
        legend: classes that the legend names where there are too many to name all.
    """

    panels: Sequence[Panel]
    area: Area
    marks: Sequence[Mark] = ()
    classes: Sequence[str] = ()
    units: tuple[str, str] = ("", "")
    columns: int | None = None
    legend: Sequence[int] = ()


def compared(
    maps: Mapping[str, Decisions], inside: NDArray[np.bool_] | None = None, margins: Sequence[float] = ()
) -> tuple[list[Panel], dict[str, float]]:
    """Make a panel of each net's map; the first net is the reference.

    Args:
        inside: (R, R) the valid pixel range, over which agreement is counted a second time.
        margins: see :class:`Panel`.

    Returns:
        the panels, whose notes give the agreement (in range, if there is one) or the undecided share; and by name
        ``NAME.undecided``, ``NAME.agreement`` with the first net, and with ``inside`` also ``NAME.agreement_inside``.
    """
    reference = next(iter(maps.values()))
    panels, notes = [], {}
    for name, found in maps.items():
        notes[f"{name}.undecided"] = undecided = float((found.winner < 0).mean())
        note = ""
        if found is not reference:
            notes[f"{name}.agreement"] = agreement(reference, found)
            note = f"agrees on {percent(notes[f'{name}.agreement'])} of the map"
            if inside is not None:
                notes[f"{name}.agreement_inside"] = agreement(reference, found, where=inside)
                note = f"agrees on {percent(notes[f'{name}.agreement_inside'])} in range"
        panels.append(Panel(name, f"undecided {percent(undecided)}" if undecided else note, found, margins=margins))
    return panels, notes


def differing(one: Decisions, other: Decisions, note: str = "") -> Panel:
    """Make the panel that shows where two nets differ; where one is undecided, they do."""
    apart = (one.winner != other.winner) | (one.winner < 0)
    return Panel("disagreement", note or percent(float(apart.mean())), apart=apart)
