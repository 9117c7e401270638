"""The plane through an image, its boundary sample and an image of another class: maps and a point to drag."""

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
from amkd_viz.panels.net_maps import NetMaps
from amkd_viz.panels.slice_maps import UNITS, slice_marks, slice_words
from amkd_viz.panels.walk_canvas import PointCanvas
from amkd_viz.panels.worker import Worker
from amkd_viz.views.adaptive import Refined
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.labels import number, percent
from amkd_viz.views.planes import Plane
from amkd_viz.views.scene import Mark
from amkd_viz.views.slices import Slice, plane_levels
from amkd_viz.views.walk import Walk

__all__ = ["FINE", "SamplePlane"]

FINE = 100  # grid resolution of the final maps
LIVE = 0.1  # seconds between two pictures while the maps are refined


class SamplePlane:
    """Decision maps of all nets on one plane, and the image and predictions at a point of it.

    Args:
        paint: the thread that writes widgets.

    Attributes:
        canvas, numbers, point: the widgets, from top to bottom.
        ground: the plane on show, or None. maps: the decision maps on it.
        temperature: divides the logits from the next picture on.
    """

    _plane: Plane  # with what follows: of the ground
    _nets: Mapping[str, nn.Module]
    _walk: Walk
    _fixed: tuple[list[Mark], Any, list[str]]  # marks, valid pixel range, words

    def __init__(self, paint: Worker) -> None:
        self.maps = NetMaps(paint, "The plane opens with the first attack.")
        self.canvas = self.maps.canvas
        self.canvas.units = UNITS[True]
        self.numbers, self.point = widgets.HTML(), PointCanvas(empty="")
        self.ground: Slice | None = None
        self.temperature = 1.0
        self._paint = paint
        self._levels: dict[str, Refined] = {}

    def close(self, why: str) -> None:
        """Show no plane, and the reason in its place."""
        self.ground, self._levels = None, {}
        self.maps.clear(why)

        def show() -> None:
            self.numbers.value, self.point.frame = "", {}

        self._paint.ask("numbers", show)

    def release(self) -> None:
        """Drop nets and images; the widgets stay as they are."""
        self.ground, self._levels, self.maps.maps = None, {}, {}
        for name in ("_plane", "_nets", "_walk", "_fixed"):
            vars(self).pop(name, None)

    def open(
        self, nets: Mapping[str, nn.Module], data: Dataset, samples: BoundarySamples, walk: Walk, negative: int
    ) -> None:
        """Open the plane through the first of ``samples`` and the test image at ``negative``; ``finer`` draws it.

        Raises:
            InputError: the three images lie on a line.
        """
        test, last = data.test, int(samples.logits[0].argmax())
        images = torch.stack([samples.origin[0], samples.x[0], test.floats([negative])[0]])
        ground = Slice(data, images, [walk.base, last, int(test.y[negative])])
        plane = ground.plane
        assert plane is not None
        self._plane, self._nets, self._walk, self._levels = plane, nets, walk, {}
        path = walk.path[:-1]
        away = number(float(plane.distance(path).max()))
        marks = [Mark("path", plane.coordinates(path)), *slice_marks(ground)]
        steps = f"Dots: attack steps, projected onto the plane (at most {away} L2 away from it)."
        self._fixed = marks, ground.arrays(FINE)["inside"], [slice_words(ground), steps]
        self.ground = ground
        # the point was of another plane: move it between the anchors of this one, where every pixel is valid
        middle = [float(v) for v in plane.anchors.mean(0)]
        self._paint.ask("point", lambda: setattr(self.canvas, "point", middle))

    def finer(self) -> Iterator[None]:
        """Refine the maps of all nets in turn, coarse to fine; yield after each level."""
        ground, drawn = self.ground, 0.0
        assert ground is not None
        growing = {name: plane_levels(net, self._plane, ground.area, FINE) for name, net in self._nets.items()}
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
        """Draw the maps as far as they are computed."""
        ground, levels = self.ground, dict(self._levels)
        if ground is None or len(levels) < len(self._nets):
            return
        marks, inside, words = self._fixed
        maps = {name: level.again(self.temperature) for name, level in levels.items()}
        same, within = self.maps.draw(maps, ground.area, marks, inside)
        if len(levels) == 2:
            agree = f"The nets agree on {percent(within)} of the valid pixel range, {percent(same)} of the whole map."
            words = [*words, agree]
        asked = " and ".join(f"{level.evaluations:,} of the {name}" for name, level in levels.items())
        counted = f"Evaluated {asked} on {FINE**2:,} grid points{' so far' * growing}; the rest is interpolated."
        text = f"<div class='amkd-note amkd-plane-words'>{' '.join([*words, counted])}</div>"
        self._paint.ask("numbers", lambda: setattr(self.numbers, "value", text))

    def look(self) -> None:
        """Show the image at the point, and the nets' predictions."""
        ground, at = self.ground, self.canvas.point
        if ground is None or ground.data is None or not at:
            return
        place = np.asarray([at])
        x = self._plane.images(place)
        inside = bool(self._plane.inside(place, self._plane.box(ground.area)[1])[0])
        predicted = {name: (logits_at(net, x) / self.temperature).softmax(1) for name, net in self._nets.items()}
        rows, classes = self._walk.leading(), ground.data.classes
        others = [int(p.argmax()) for p in predicted.values()] + ground.labels
        rows = list(dict.fromkeys([*others, *rows]))[: max(len(rows), 4)]
        self._paint.ask("look", lambda: self.point.show(x[0], predicted, rows, classes, at, inside))
