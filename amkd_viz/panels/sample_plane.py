"""The plane through an image, its boundary sample and an image of another class: maps that grow finer, and a point."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from torch import nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.data import Dataset
from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.panels.slice_marks import slice_marks, slice_words
from amkd_viz.panels.walk_canvas import PointCanvas
from amkd_viz.panels.worker import Worker
from amkd_viz.views.adaptive import Refined
from amkd_viz.views.decisions import Decisions, agreement, decisions, logits_at
from amkd_viz.views.labels import number, percent
from amkd_viz.views.scene import Mark
from amkd_viz.views.slices import Slice, plane_levels
from amkd_viz.views.walk import Walk

__all__ = ["FINE", "SamplePlane"]

FINE = 100  # cells a side of the last map
LIVE = 0.1  # seconds between two pictures of a map that grows


class SamplePlane:
    """Maps of all nets on one plane, and the image and the answers at a point of it.

    Args:
        paint: the thread that writes widgets.

    Attributes:
        canvas, numbers, point: the widgets, from top to bottom.
        ground: the plane that is open, or None. found: what each net decides on it, so far.
        temperature: divides all logits from the next picture on.
    """

    def __init__(self, paint: Worker) -> None:
        self.canvas = MapCanvas(interactive=True, least=200, columns=3, empty="The plane opens with the first attack.")
        self.numbers, self.point = widgets.HTML(), PointCanvas()
        self.ground: Slice | None = None
        self.found: dict[str, Decisions] = {}
        self.temperature = 1.0
        self._paint = paint
        self._nets: Mapping[str, nn.Module] = {}
        self._data: Dataset | None = None
        self._way: Walk | None = None
        self._fixed: tuple[list[Mark], Any, list[str]] = [], None, []  # marks, box, words
        self._levels: dict[str, Refined] = {}

    def close(self, why: str) -> None:
        """No plane; ``why`` stands in its place."""
        self.ground, self.found, self._levels = None, {}, {}

        def show() -> None:
            self.canvas.empty, self.canvas.marks, self.canvas.frame, self.canvas.point = why, [], {}, []
            self.numbers.value, self.point.frame = "", {}

        self._paint.ask("maps", show)

    def open(
        self, nets: Mapping[str, nn.Module], data: Dataset, found: BoundarySamples, way: Walk, negative: int
    ) -> None:
        """Another plane, through the first of ``found`` and the test image at ``negative``; ``finer`` draws it.

        Raises:
            InputError: the three images lie on a line.
        """
        test, last = data.test, int(found.logits[0].argmax())
        images = torch.stack([found.origin[0], found.x[0], test.floats([negative])[0]])
        ground = Slice(data, images, [way.base, last, int(test.y[negative])])
        plane = ground.plane
        assert plane is not None
        self._nets, self._data, self._way = nets, data, way
        self._levels, self.found = {}, {}
        path = way.path[:-1]
        away = number(float(plane.distance(path).max()))
        marks = [Mark("path", plane.coordinates(path)), *slice_marks(ground)]
        steps = f"Dots: the steps of the attack, laid onto the plane; they leave it by up to {away} L2."
        self._fixed = marks, ground.arrays(FINE)["inside"], [slice_words(ground), steps]
        self.ground = ground
        # the point lay in another plane: put it between the anchors of this one, where every point is a picture
        middle = [float(v) for v in plane.anchors.mean(0)]
        self._paint.ask("point", lambda: setattr(self.canvas, "point", middle))

    def finer(self) -> Iterator[None]:
        """Coarse pictures of all nets first, then finer ones, in turn; drawn now and then, and at the end."""
        ground, drawn = self.ground, 0.0
        assert ground is not None
        assert ground.plane is not None
        growing = {name: plane_levels(net, ground.plane, ground.area, FINE) for name, net in self._nets.items()}
        while growing:
            for name in list(growing):
                level = next(growing[name], None)
                if level is None:
                    del growing[name]
                else:
                    self._levels[name] = level
                yield
            if not growing or time.monotonic() - drawn > LIVE:
                self.draw(growing=bool(growing))
                drawn = time.monotonic()

    def draw(self, growing: bool = False) -> None:
        """What is known of the maps."""
        ground, levels = self.ground, dict(self._levels)
        if ground is None or len(levels) < len(self._nets):
            return
        marks, inside, words = self._fixed
        maps = {
            name: decisions((level.logits / self.temperature).flatten(0, 1)).shaped(FINE, FINE)
            for name, level in levels.items()
        }
        self.found = maps
        apart = None
        if len(maps) == 2:
            pair = list(maps.values())
            same, within = agreement(*pair), agreement(*pair, where=inside)
            apart = percent(1 - same)
            words = [*words, f"The nets agree on {percent(same)} of the map and on {percent(within)} of the box."]
        asked = " and ".join(f"{level.evaluations:,} of the {name}" for name, level in levels.items())
        so_far = " so far, it gets finer" if growing else ""
        words = [*words, f"Cells asked, of {FINE**2:,}: {asked}{so_far}; the rest is interpolated."]

        def show() -> None:
            self.canvas.marks = marks
            self.canvas.show(maps, ground.area, disagreement=apart)
            self.numbers.value = f"<div class='amkd-note amkd-plane-words'>{' '.join(words)}</div>"

        self._paint.ask("maps", show)

    def look(self) -> None:
        """The image at the point, and what the nets say of it."""
        ground, at = self.ground, self.canvas.point
        if ground is None or ground.plane is None or not at or self._way is None or self._data is None:
            return
        place = np.asarray([at])
        x = ground.plane.images(place)
        inside = bool(ground.plane.inside(place, ground.plane.box(ground.area)[1])[0])
        answers = {name: (logits_at(net, x) / self.temperature).softmax(1) for name, net in self._nets.items()}
        rows, classes = self._way.leading(), self._data.classes
        others = [int(p.argmax()) for p in answers.values()] + ground.labels
        rows = list(dict.fromkeys([*others, *rows]))[: max(len(rows), 4)]
        self._paint.ask("look", lambda: self.point.show(x[0], answers, rows, classes, at, inside))
