"""Decision maps of a teacher and its students on one slice of the inputs, with its marks and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.panels.live import on_cpu
from amkd_viz.panels.worker import Worker
from amkd_viz.training import Recipe
from amkd_viz.views import View, boundary_map, plane_map
from amkd_viz.views.decisions import Decisions, agreement
from amkd_viz.views.labels import class_name, percent
from amkd_viz.views.scene import Mark
from amkd_viz.views.slices import NAMES, Slice, telling_triple

__all__ = ["SliceMaps", "slice_marks", "slice_words"]

CELLS = 200  # grid resolution of an exported map
POINTS, RADIUS = 300, 2.6  # training points on a map, and their size


class SliceMaps:
    """Compare students with their teacher; draws in the compute thread, and writes the canvas through ``paint`` alone.

    Args:
        paint: the thread that writes widgets.
        canvas: traits of the canvas.

    Attributes:
        canvas: the widget. maps: the decisions on show, by net, the teacher first.
        data, teacher: on the CPU. slice: the inputs. Before :meth:`prepare` there are none, and ``ready`` is false.
    """

    data: Dataset
    teacher: Classifier
    slice: Slice

    def __init__(self, paint: Worker, **canvas: Any) -> None:
        self.canvas = MapCanvas(**canvas)
        self.maps: dict[str, Decisions] = {}
        self.ready = False
        self._paint = paint
        self._fixed: dict[int, tuple[Decisions, Any]] = {}  # resolution -> the teacher's map, and the valid pixel range

    def prepare(self, teacher: Classifier, data: Dataset, recipe: Recipe) -> None:
        """Choose on which inputs the nets are compared.

        Raises:
            InputError: no attack moves an image, so that there is no plane.
        """
        teacher, data = on_cpu(teacher), data.to("cpu")
        triple: tuple[Any, ...] = ()
        if data.kind != "points":
            size, steps = recipe.step_size, recipe.attack_steps
            triple = telling_triple(teacher, data, step_size=size, steps=steps, step_rule=recipe.step_rule)
        try:
            self.slice = Slice(data, *triple)
        except InputError as error:
            raise InputError(
                f"There is no map: an attack with step_size={recipe.step_size:g} and attack_steps="
                f"{recipe.attack_steps} moves no image away from itself; raise one of them."
            ) from error
        self.teacher, self.data, self._fixed = teacher, data, {}
        marks = slice_marks(self.slice)

        def show() -> None:
            self.canvas.classes(data.classes)
            self.canvas.marks = marks

        self._paint.ask("marks", show)
        self.ready = True

    def release(self) -> None:
        """Drop nets and data, until ``prepare``; the canvas stays as it is."""
        self.ready, self.maps, self._fixed = False, {}, {}
        for name in ("slice", "teacher", "data"):
            vars(self).pop(name, None)

    def draw(self, students: Mapping[str, Classifier], resolution: int, words: str | None = None) -> None:
        """Draw the teacher's map and one per student.

        Args:
            words: beside the map of the only student, next to which a map shows where it differs from the teacher; by
                default the agreement of each student with the teacher stands there.
        """
        here = self.slice
        if resolution not in self._fixed:
            inside = None if here.plane is None else here.arrays(resolution)["inside"]
            self._fixed[resolution] = here.decisions(self.teacher, resolution), inside
        teacher, inside = self._fixed[resolution]
        drawn = {name: here.decisions(on_cpu(net), resolution) for name, net in students.items()}
        same = {name: agreement(teacher, found, where=inside) for name, found in drawn.items()}
        notes = {name: f"same on {percent(share, 0)}" if words is None else words for name, share in same.items()}
        maps, apart = {"teacher": teacher} | drawn, None
        if words is not None:
            apart = percent(1 - agreement(*maps.values()))
            apart += "" if inside is None else f", in range {percent(1 - min(same.values()), 0)}"
        self.maps = maps
        self._paint.ask("maps", lambda: self.canvas.show(maps, here.area, notes=notes, disagreement=apart))

    def view(self, students: Mapping[str, Classifier]) -> View:
        """Return the same maps as a figure to be exported."""
        nets = {"teacher": self.teacher, **students}
        if self.slice.images is None:
            return boundary_map(nets, self.data, resolution=CELLS)
        return plane_map(nets, self.slice.images, self.data.classes, resolution=CELLS, names=NAMES)


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
