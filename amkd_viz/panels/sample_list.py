"""Beside the joint map: gallery and table of the samples, and bars of one sample's triplets. In the page they read and
write the map's selection; they have none themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import traitlets

from amkd_viz.panels.scatter import ScatterCanvas
from amkd_viz.panels.view_widget import ViewWidget
from amkd_viz.views.anchors import Anchored

__all__ = ["DistanceBars", "SampleList"]


class SampleList(ViewWidget, scripts=["samples.js"], style="samples.css"):
    """Gallery and table of the samples that are selected on a map, or of all samples if none is."""

    map = traitlets.Instance(ScatterCanvas).tag(sync=True, **widgets.widget_serialization)


class DistanceBars(ViewWidget, scripts=["bars.js"], style="samples.css"):
    """True squared distances from one anchor to its positive and its nearest negatives, with the margin band.

    Attributes:
        d_ap: distance to the positive. margin: m; negatives nearer than d_ap + m are active.
        rows: [identity, d(a, n), active, misleads] per negative, nearest first. title: names the sample.
    """

    map = traitlets.Instance(ScatterCanvas).tag(sync=True, **widgets.widget_serialization)
    d_ap = traitlets.Float(0.0).tag(sync=True)
    margin = traitlets.Float(0.0).tag(sync=True)
    rows = traitlets.List(traitlets.List()).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)

    def show(self, anchored: Anchored, ids: Sequence[int], margin: float, title: str, most: int = 12) -> None:
        """Show the positive and the ``most`` nearest negatives; ids (N,) are the identities of the candidates."""
        columns = (anchored.negative, anchored.d_an, anchored.active, anchored.misleads)
        rows: list[list[Any]] = [
            [int(ids[j]), float(d), bool(active), bool(wrong)]
            for j, d, active, wrong in zip(*(column[:most] for column in columns), strict=True)
        ]
        with self.hold_sync():
            self.d_ap, self.margin, self.rows, self.title, self.empty = anchored.d_ap, margin, rows, title, ""

    def clear(self, why: str) -> None:
        """Show a sentence in place of the bars."""
        with self.hold_sync():
            self.rows, self.empty = [], why
