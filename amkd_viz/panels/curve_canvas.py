"""Curves on canvases in the page: small axes beside each other, over one range of epochs.

Measured in Chromium on two busy cores, 8 axes with 2 curves of 500 points: a plotly FigureWidget appeared after 24 s
and took 580 to 780 ms of the page for an update; these canvases appeared after 0.6 to 2.7 s and took 70 to 160 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import traitlets

from amkd_viz.panels.view_widget import ViewWidget, float_bytes
from amkd_viz.views.curves import MOST_POINTS
from amkd_viz.views.layout import keep

__all__ = ["Curve", "CurveCanvas"]


class Curve(NamedTuple):
    """Points (epoch, value) on the axis with index ``axis``; ``colour`` as hex, by default that of text."""

    axis: int
    name: str
    points: Sequence[tuple[float, float]]
    colour: str = ""
    faint: bool = False


class CurveCanvas(ViewWidget, scripts=["axis.js", "svg_pen.js", "pen.js", "curves.js"]):
    """Small axes, each with its own unit, over one range of epochs.

    Attributes:
        axes: title and unit of each.
        series, events: curves and overrides, as :meth:`show` sends them.
        end: the last planned epoch.
        height: of one axis in CSS pixels.
    """

    axes = traitlets.List(traitlets.Dict()).tag(sync=True)
    series = traitlets.List(traitlets.Dict()).tag(sync=True)
    events = traitlets.List(traitlets.Dict()).tag(sync=True)
    end = traitlets.Float(1.0).tag(sync=True)
    height = traitlets.Int(120).tag(sync=True)
    empty = traitlets.Unicode("Curves appear after the first epoch.").tag(sync=True)

    def show(
        self,
        axes: Sequence[tuple[str, str]],
        curves: Sequence[Curve],
        events: Sequence[tuple[float, str]] = (),
        end: float = 1.0,
    ) -> None:
        """Draw at most 500 points of each curve.

        Args:
            axes: (title, unit) of each axis.
            events: (epoch, words) of the overrides.
            end: the last planned epoch.
        """
        sent: list[dict[str, Any]] = []
        for axis, name, points, colour, faint in curves:
            x, y = np.asarray([points[i] for i in keep(len(points), MOST_POINTS)]).reshape(-1, 2).T
            about = {"axis": axis, "name": name, "colour": colour, "faint": faint}
            sent.append(about | {"x": float_bytes(x), "y": float_bytes(y)})
        with self.hold_sync():
            self.axes = [{"title": title, "unit": unit} for title, unit in axes]
            self.series, self.end = sent, float(end)
            self.events = [{"x": float(x), "text": text} for x, text in events]
