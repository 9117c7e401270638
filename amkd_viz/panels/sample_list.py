"""Beside the joint map: gallery and table of the samples, and the bars of one sample's triplets. They keep no selection
of their own: in the page they read and write that of the map's model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from amkd_viz.panels.scatter import ScatterCanvas
from amkd_viz.panels.status import STATIC, script
from amkd_viz.views.anchors import Anchored

__all__ = ["DistanceBars", "SampleList"]


class SampleList(anywidget.AnyWidget):
    """Gallery and table of what is selected on a map, or of all samples while nothing is."""

    _esm = script("page.js", "samples.js")
    _css = STATIC / "samples.css"
    map = traitlets.Instance(ScatterCanvas).tag(sync=True, **widgets.widget_serialization)


class DistanceBars(anywidget.AnyWidget):
    """True squared distances from one anchor to its positive and its nearest negatives, with the margin band.

    Attributes:
        d_ap: to the positive. margin: m; negatives nearer than d_ap + m are active.
        rows: [identity, d(a, n), active, misleads], nearest first. title: whose they are.
        empty: what stands here while there are none.
    """

    _esm = script("page.js", "bars.js")
    _css = STATIC / "samples.css"
    map = traitlets.Instance(ScatterCanvas).tag(sync=True, **widgets.widget_serialization)
    d_ap = traitlets.Float(0.0).tag(sync=True)
    margin = traitlets.Float(0.0).tag(sync=True)
    rows = traitlets.List(traitlets.List()).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    empty = traitlets.Unicode("").tag(sync=True)

    def show(self, found: Anchored, ids: Sequence[int], margin: float, title: str, most: int = 12) -> None:
        """The positive and the ``most`` nearest negatives; ids (N,) are the identities of the candidates."""
        near: list[list[Any]] = [
            [int(ids[j]), float(d), bool(active), bool(wrong)]
            for j, d, active, wrong in zip(
                found.negative[:most], found.d_an[:most], found.active[:most], found.misleads[:most], strict=True
            )
        ]
        with self.hold_sync():
            self.d_ap, self.margin, self.rows, self.title, self.empty = found.d_ap, margin, near, title, ""

    def clear(self, why: str) -> None:
        """No bars, and a sentence in their place."""
        with self.hold_sync():
            self.rows, self.empty = [], why
