"""Marks, words and the exported figure of a slice of inputs, for the panels."""

from __future__ import annotations

from collections.abc import Mapping

from amkd_viz.models import Classifier
from amkd_viz.views import View, boundary_map, plane_map
from amkd_viz.views.labels import class_name, percent
from amkd_viz.views.scene import Mark
from amkd_viz.views.slices import NAMES, Slice

__all__ = ["slice_marks", "slice_view", "slice_words"]

CELLS = 200  # grid resolution of an exported map
POINTS, RADIUS = 300, 2.6  # training points on a map, and their size


def slice_marks(here: Slice) -> list[Mark]:
    """Return training points, or the valid pixel range and the three anchors with their images and classes."""
    names: list[str] = []
    if here.plane is not None and here.data is not None:
        crossed = here.labels[1] != here.labels[0]
        roles = (NAMES[0], NAMES[1] if crossed else "attacked", NAMES[2])
        names = [f"{role}: {class_name(here.data.classes, k)}" for role, k in zip(roles, here.labels, strict=True)]
    marks = here.marks(names, split="train", points=POINTS, size=RADIUS)
    return [mark for mark in marks if mark.kind != "label"] + [m.on(1) for m in marks if m.kind == "label"]


def slice_words(here: Slice) -> str:
    """Return what the axes are, and how much of the map lies outside the valid pixel range."""
    if here.plane is None:
        return "The whole window of the problem, in its own units."
    outside = percent(here.outside(), 0)
    words = f"Outlined: the valid pixel range; {outside} of the map lies outside, veiled."
    return f"Axes: L2 distance, pixels in [0, 1]. {words}"


def slice_view(nets: Mapping[str, Classifier], here: Slice) -> View:
    """Draw the maps of nets as a figure to be exported."""
    assert here.data is not None
    if here.images is None:
        return boundary_map(nets, here.data, resolution=CELLS)
    return plane_map(nets, here.images, here.data.classes, resolution=CELLS, names=NAMES)
