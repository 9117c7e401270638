"""Decision maps of the nets on show, side by side, and where the first two disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.panels.worker import Worker
from amkd_viz.views.decisions import Decisions, agreement
from amkd_viz.views.labels import percent
from amkd_viz.views.scene import Area, Mark

__all__ = ["NetMaps"]


class NetMaps:
    """One canvas with a map per net and a point to drag.

    Args:
        paint: the thread that writes widgets.
        empty: text while there is no map.

    Attributes:
        canvas: the widget. maps: (R, R) decisions on show, by net.
    """

    def __init__(self, paint: Worker, empty: str) -> None:
        self.canvas = MapCanvas(interactive=True, least=200, empty=empty)
        self.maps: dict[str, Decisions] = {}
        self._paint = paint

    def draw(
        self,
        maps: Mapping[str, Decisions],
        area: Area,
        marks: Sequence[Mark],
        inside: Any = None,
        margin: bool = False,
        notes: Mapping[str, str] | None = None,
    ) -> tuple[float, float]:
        """Draw decisions (R, R) per net, row 0 at the bottom of ``area``.

        Args:
            inside: (R, R) cells that the second agreement counts; by default all.
            margin: draw lines of equal margin. notes: words beside a map's name.

        Returns:
            the agreement of two nets on all cells and on those ``inside``; NaN for another number of nets.
        """
        self.maps, same, within, apart = dict(maps), nan, nan, None
        if len(maps) == 2:
            same, within = agreement(*maps.values()), agreement(*maps.values(), where=inside)
            apart = f"{percent(1 - within)} {'of the map' if inside is None else 'in range'}"

        def show() -> None:
            self.canvas.marks = list(marks)
            self.canvas.show(maps, area, notes=notes, disagreement=apart, margin=margin)

        self._paint.ask("maps", show)
        return same, within

    def clear(self, why: str) -> None:
        """Show no map, and the reason in its place."""
        self.maps = {}

        def show() -> None:
            self.canvas.empty, self.canvas.marks, self.canvas.frame, self.canvas.point = why, [], {}, []

        self._paint.ask("maps", show)
