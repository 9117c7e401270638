"""Curves on canvases in the page: a point more is some bytes, not a figure drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets

from amkd_viz.panels.view_widget import script
from amkd_viz.views.curves import MOST_POINTS
from amkd_viz.views.layout import keep

__all__ = ["Curve", "CurveCanvas"]


class Curve(NamedTuple):
    """Points (epoch, value) on the axis with number ``axis``; ``colour`` as hex, by default that of text."""

    axis: int
    name: str
    points: Sequence[tuple[float, float]]
    colour: str = ""
    dash: bool = False
    faint: bool = False


class CurveCanvas(anywidget.AnyWidget):
    """Small axes, each with its own unit, over one range of epochs.

    Attributes:
        axes: title and unit of each. series, events: what :meth:`show` sends. end: the last epoch that is planned.
        height: of one axis in CSS pixels. empty: what stands here while there is no axis.
    """

    _esm = script("page.js", "axis.js", "curves.js")
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
        """Draw, in one message; of each curve at most 500 points.

        Args:
            axes: (title, unit) each. events: (epoch, words) of what a person changed. end: last epoch planned.
        """
        sent: list[dict[str, Any]] = []
        for curve in curves:
            points = np.asarray([curve.points[i] for i in keep(len(curve.points), MOST_POINTS)], np.float32)
            x, y = points.reshape(-1, 2).T
            about = {"axis": curve.axis, "name": curve.name, "colour": curve.colour, "dash": curve.dash}
            sent.append(about | {"faint": curve.faint, "x": x.tobytes(), "y": y.tobytes()})
        with self.hold_sync():
            self.axes = [{"title": title, "unit": unit} for title, unit in axes]
            self.series, self.end = sent, float(end)
            self.events = [{"x": float(x), "text": text} for x, text in events]
