"""What is drawn on the maps of a ground: points, or the pixel box and the three pictures of a plane; and its figure."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from amkd_viz.models import Classifier
from amkd_viz.panels.canvas import mark
from amkd_viz.views import View, boundary_map, plane_map
from amkd_viz.views.ground import Ground
from amkd_viz.views.labels import class_label, percent
from amkd_viz.views.layout import keep
from amkd_viz.views.plane_map import NAMES
from amkd_viz.views.raster import image_pixels, png

__all__ = ["ground_marks", "ground_view", "ground_words"]

CELLS = 200  # cells a side of an exported map


def ground_marks(ground: Ground) -> list[dict[str, Any]]:
    """Training points, or the pixel box and the three anchors with their pictures."""
    if ground.plane is None:
        data = ground.data
        chosen = keep(len(data.train), 300)
        return [mark("dots", data.train.x[chosen].numpy(), data.train.y[chosen].numpy(), size=2.6)]
    return plane_marks(ground)


def plane_marks(ground: Ground) -> list[dict[str, Any]]:
    """The pixel box, and base, boundary sample and negative, each with its picture beside it."""
    assert ground.plane is not None
    assert ground.images is not None
    corners, _ = ground.plane.box(ground.area)
    anchors, classes = ground.plane.anchors, ground.data.classes
    made = [mark("box", corners, width=1.2)] if len(corners) else []
    middle = [(ground.area[0] + ground.area[1]) / 2, (ground.area[2] + ground.area[3]) / 2]
    for place, image, kind in zip(anchors, ground.images, ("square", "ring", "square"), strict=True):
        left, below = bool(place[0] < middle[0]), bool(place[1] < middle[1])
        picture = png(image_pixels(image.numpy()), 64)
        made.append(mark("image", place, src=picture, side=0.13, left=left, below=below, map=0))
        made.append(mark(kind, place, size=4))
    sides = (True, False, bool(anchors[2, 0] > middle[0]))  # base and boundary sample may lie close together
    crossed = ground.labels[1] != ground.labels[0]
    roles = ("base", "boundary" if crossed else "attacked", "negative")
    for place, k, role, left in zip(anchors, ground.labels, roles, sides, strict=True):
        text = f"{role}: {class_label(classes, k)}"
        made.append(mark("label", place, text=html.unescape(text), left=left, map=1))
    return made


def ground_words(ground: Ground) -> str:
    """What the axes are, and how much of the map is no picture at all."""
    if ground.plane is None:
        return "The whole window of the problem, in its own units."
    outside = percent(ground.outside(), 0)
    return f"Axes: L2 distance, pixels in [0, 1]. Outlined: the pixel box; {outside} of the map lies outside, veiled."


def ground_view(nets: Mapping[str, Classifier], ground: Ground) -> View:
    """What nets decide on a ground, as a figure to be exported."""
    if ground.images is None:
        return boundary_map(nets, ground.data, resolution=CELLS)
    return plane_map(nets, ground.images, ground.data.classes, resolution=CELLS, names=NAMES)
