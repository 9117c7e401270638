"""Decision maps on a canvas in the page: a few kilobytes per map, dragged and hovered without the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image

from amkd_viz.panels.view_widget import ViewWidget, class_names, float_bytes, palette, serial
from amkd_viz.views.decisions import Decisions, by_area, letters
from amkd_viz.views.picture import picture
from amkd_viz.views.raster import class_table, png
from amkd_viz.views.scene import SIGNS, Area, Mark, Panel, Scene, differing
from amkd_viz.views.theme import class_colour

__all__ = ["MapCanvas"]

NO_CLASS = 255  # in one byte; beyond 254 classes two bytes are sent
LEVELS = 32  # of confidence


class MapCanvas(ViewWidget, scripts=["axis.js", "svg_pen.js", "pen.js", "map.js"]):
    """One or several decision maps of the same area, side by side, with marks on them.

    Attributes:
        frame: what :meth:`show` sends. marks: drawn on the maps.
        names: of the classes. palette: their colours, by class index. table: RGBA by class and level of confidence.
        levels: probability margins at which a dotted line is drawn. signs: what each kind of mark means.
        point: (x, y) that is dragged, clicked or moved by arrow keys, or (). released: how often it was released.
        interactive: whether the point can be moved.
        facts: per map, {"colour": hex or "", "rows": [[words, value], ...]}, shown beneath it.
        note: words under the maps while the pointer is elsewhere.
        least: width in CSS pixels below which one of more than four maps goes to the next row.
        pair: indices of the two maps that an audience sees. units: names of the axes.
        step: of the attack paths, marked on them; -1 for none.
        own: (x, y, class) of each point that a person has added. adds: the class of the one that a click, or Enter at
            the point, adds; where one is already, it is removed. -1: a click moves the point.
    """

    frame = traitlets.Dict().tag(sync=True)
    marks = traitlets.List(traitlets.Instance(Mark)).tag(sync=True, to_json=lambda marks, _: list(map(_sent, marks)))
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    palette = traitlets.List(traitlets.Unicode(), [class_colour(0)]).tag(sync=True)
    table = traitlets.Bytes(class_table(1, LEVELS).tobytes()).tag(sync=True)
    levels = traitlets.List(traitlets.Float()).tag(sync=True)
    signs = traitlets.Dict(SIGNS).tag(sync=True)
    point = traitlets.List(traitlets.Float()).tag(sync=True)
    released = traitlets.Int(0).tag(sync=True)
    interactive = traitlets.Bool(False).tag(sync=True)
    facts = traitlets.List(traitlets.Dict()).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    step = traitlets.Int(-1).tag(sync=True)
    own = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    adds = traitlets.Int(-1).tag(sync=True)
    least = traitlets.Int(210).tag(sync=True)
    pair = traitlets.List(traitlets.Int(), [0, 1]).tag(sync=True)
    units = traitlets.List(traitlets.Unicode(), ["x₁", "x₂"]).tag(sync=True)

    def classes(self, names: Sequence[str]) -> None:
        """Set the classes of the problem: their names, and their colours by index."""
        with self.hold_sync():
            self.names, self.palette = class_names(names), palette(names)
            self.table = class_table(max(1, len(names)), LEVELS).tobytes()

    def show(
        self,
        maps: Mapping[str, Decisions],
        area: Area,
        *,
        notes: Mapping[str, str] | None = None,
        disagreement: str | None = None,
        margin: bool = False,
    ) -> None:
        """Draw maps (R, R), row 0 at the bottom of ``area`` (x0, x1, y0, y1).

        Args:
            notes: words beside a map's name.
            disagreement: words beside a further map, of where the first two differ; None for no such map.
            margin: send what the lines at ``levels`` need.
        """
        panels = [Panel(name, (notes or {}).get(name, ""), found) for name, found in maps.items()]
        frame: dict[str, Any] = {
            "serial": serial(),
            "area": list(map(float, area)),
            "side": len(next(iter(maps.values())).winner),
        }
        frame["maps"] = [_map(panel, margin) for panel in panels]
        for sent, places in zip(frame["maps"], letters(list(maps.values()), len(self.names)), strict=True):
            sent["letters"] = [(k, *place) for k, place in places.items()]
        frame["occur"] = by_area(list(maps.values()), len(self.names))
        if disagreement is not None:
            one, other = maps.values()
            panels.append(differing(one, other, disagreement))
            apart = np.asarray(panels[-1].apart, np.uint8).tobytes()
            frame["disagreement"] = {"title": panels[-1].title, "note": panels[-1].note, "apart": apart}
        self.scene, self.frame = Scene(panels, area), frame

    def still(self) -> Image.Image | None:
        """Return the maps and marks that are shown as a picture, for readers without a kernel; None without a map."""
        if not self.frame:
            return None
        own = np.reshape(self.own, (-1, 3))
        added = Mark("triangle", own[:, :2], own[:, 2].astype(int))
        marks = [*self.marks, added]
        return picture(Scene(self.scene.panels, self.scene.area, marks, self.names), titles=True)


def _map(panel: Panel, margin: bool) -> dict[str, Any]:
    found = panel.map
    assert found is not None
    sent = {"title": panel.title, "note": panel.note, "winner": _class_bytes(found.winner)}
    sent["confidence"] = _unit_bytes(found.confidence)
    return sent | ({"margin": _unit_bytes(found.margin)} if margin else {})


def _sent(mark: Mark) -> dict[str, Any]:
    """Return a mark as map.js reads it."""
    sent: dict[str, Any] = {"kind": mark.kind, "xy": float_bytes(mark.points), "size": mark.size}
    sent |= {"dash": mark.dash, "numbered": mark.numbered, "left": mark.left, "below": mark.below, "panel": mark.panel}
    if mark.k is not None:
        sent["k"] = _class_bytes(np.asarray(mark.k))
    if mark.kind == "label":
        sent["text"] = mark.text[0]
    if mark.pixels is not None:
        sent["src"] = png(mark.pixels, 64)
    return sent


def _class_bytes(winner: NDArray[Any]) -> bytes:
    """One byte per class (255: undecided), or two where there are more than 254."""
    if winner.max(initial=0) < NO_CLASS:
        return np.where(winner < 0, NO_CLASS, winner).astype(np.uint8).tobytes()
    return np.where(winner < 0, 65535, winner).astype("<u2").tobytes()


def _unit_bytes(values: NDArray[Any]) -> bytes:
    """[0, 1] as 0 .. 255."""
    return (np.clip(np.nan_to_num(values), 0, 1) * 255 + 0.5).astype(np.uint8).tobytes()
