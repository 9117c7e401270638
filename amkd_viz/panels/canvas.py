"""Decision maps on a canvas in the page: some kilobytes a picture, dragged and hovered without the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from amkd_viz.panels.view_widget import script
from amkd_viz.views.decisions import Decisions
from amkd_viz.views.theme import class_colour

__all__ = ["MapCanvas", "mark"]

NO_CLASS = 255  # in one byte; beyond 254 classes two bytes are sent
Area = tuple[float, float, float, float]
_serials = count(1)


class MapCanvas(anywidget.AnyWidget):
    """One or several decision maps of the same area, side by side, with marks on them.

    Attributes:
        frame: what :meth:`show` sends. marks: of :func:`mark`.
        names: of the classes. palette: their colours, by class index.
        levels: of the probability margin at which a dotted line is drawn.
        point: (x, y) that a person drags, clicks or moves by arrow keys, or (). released: how often it was let go.
        interactive: whether the point can be moved. empty: what stands here while there is no map.
        facts: of each map in turn, {"colour": hex or "", "rows": [[words, value], ...]}, set beneath it.
        note: what stands under the maps while nothing is pointed at.
        least: width in CSS pixels below which maps go to the next row. columns: at most so many maps in one.
    """

    _esm = script("page.js", "axis.js", "map.js")
    frame = traitlets.Dict().tag(sync=True)
    marks = traitlets.List(traitlets.Dict()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    palette = traitlets.List(traitlets.Unicode(), ["#3f90da"]).tag(sync=True)
    levels = traitlets.List(traitlets.Float()).tag(sync=True)
    point = traitlets.List(traitlets.Float()).tag(sync=True)
    released = traitlets.Int(0).tag(sync=True)
    interactive = traitlets.Bool(False).tag(sync=True)
    facts = traitlets.List(traitlets.Dict()).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    least = traitlets.Int(210).tag(sync=True)
    columns = traitlets.Int(9).tag(sync=True)
    empty = traitlets.Unicode("Nothing to draw yet.").tag(sync=True)

    def classes(self, names: Sequence[str]) -> None:
        """The classes of the problem: their names, and their colours by index."""
        with self.hold_sync():
            self.names = [name or f"class {k}" for k, name in enumerate(names)]
            self.palette = [class_colour(k) for k in range(max(1, len(names)))]

    def show(
        self,
        maps: Mapping[str, Decisions],
        area: Area,
        *,
        notes: Mapping[str, str] | None = None,
        disagreement: str | None = None,
        margin: bool = False,
    ) -> int:
        """Draw maps (R, R), row 0 at the bottom of ``area`` (x0, x1, y0, y1).

        Args:
            notes: some words beside a map's name.
            disagreement: words of a further map, of where the first two differ; None for no such map.
            margin: send what the lines at ``levels`` need.

        Returns:
            the serial number of the frame, which the page carries as ``data-serial`` once it has drawn it.
        """
        sent = []
        for name, found in maps.items():
            entry: dict[str, Any] = {
                "title": name,
                "note": (notes or {}).get(name, ""),
                "winner": class_bytes(found.winner),
                "confidence": unit_bytes(found.confidence),
            }
            if margin:
                entry["margin"] = unit_bytes(found.margin)
            sent.append(entry)
        serial = next(_serials)
        frame = {"serial": serial, "area": list(map(float, area)), "maps": sent}
        frame["side"] = len(next(iter(maps.values())).winner)
        if disagreement is not None:
            frame["disagreement"] = {"title": "disagreement", "note": disagreement}
        self.frame = frame
        return serial


def mark(kind: str, xy: Any, k: Any = None, **about: Any) -> dict[str, Any]:
    """Something drawn on the maps: dots, ring, cross, diamond, square at points xy (N, 2); path through them; box
    (a polygon, veiled outside); image (src, side) or label (text) at a point.

    Args:
        k: (N,) classes that colour the points; without, they are drawn in the colour of text.
        about: map (index of the only map that shows it), size, width, dash, text, src, side, left, below.
    """
    made = {"kind": kind, "xy": np.asarray(xy, np.float32).reshape(-1, 2).tobytes()} | about
    return made if k is None else made | {"k": class_bytes(np.asarray(k))}


def class_bytes(winner: NDArray[Any]) -> bytes:
    """One byte a class (255: none), or two where there are more than 254."""
    if winner.max(initial=0) < NO_CLASS:
        return np.where(winner < 0, NO_CLASS, winner).astype(np.uint8).tobytes()
    return np.where(winner < 0, 65535, winner).astype("<u2").tobytes()


def unit_bytes(values: NDArray[Any]) -> bytes:
    """[0, 1] as 0 .. 255."""
    return (np.clip(np.nan_to_num(values), 0, 1) * 255 + 0.5).astype(np.uint8).tobytes()
