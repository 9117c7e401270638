"""Decision maps of a teacher and its students on one slice of the inputs, with its marks and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import Classifier
from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.panels.live import on_cpu
from amkd_viz.panels.worker import Worker
from amkd_viz.training import Recipe
from amkd_viz.training.step_size import settled
from amkd_viz.views import View, boundary_map, plane_map
from amkd_viz.views.decisions import Decisions, agreement
from amkd_viz.views.labels import class_name, percent
from amkd_viz.views.scene import Mark
from amkd_viz.views.slices import NAMES, Slice, telling_triple

__all__ = ["UNITS", "SliceMaps", "maps_code", "slice_marks", "slice_words"]

POINTS, RADIUS = 300, 2.6  # training points on a map, and their size
UNITS = (["x₁", "x₂"], ["L2", "L2"])  # names of the axes of points, and of a plane


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
        recipe = settled(recipe, teacher, data)
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
        marks, units = slice_marks(self.slice), UNITS[self.slice.plane is not None]

        def show() -> None:
            self.canvas.classes(data.classes)
            self.canvas.marks, self.canvas.units = marks, units

        self._paint.ask("marks", show)
        self.ready = True

    def release(self) -> None:
        """Drop nets and data, until ``prepare``; the canvas stays as it is."""
        self.ready, self.maps, self._fixed = False, {}, {}
        for name in ("slice", "teacher", "data"):
            vars(self).pop(name, None)

    def draw(
        self, students: Mapping[str, Classifier], resolution: int, words: str | None = None, when: str = ""
    ) -> None:
        """Draw the teacher's map and one per student.

        Args:
            words: beside the map of the only student, next to which a map shows where it differs from the teacher; by
                default the agreement of each student with the teacher stands there.
            when: before it, such as the epoch.
        """
        here = self.slice
        if resolution not in self._fixed:
            inside = None if here.plane is None else here.arrays(resolution)["inside"]
            self._fixed[resolution] = here.decisions(self.teacher, resolution), inside
        teacher, inside = self._fixed[resolution]
        drawn = {name: here.decisions(on_cpu(net), resolution) for name, net in students.items()}
        same = {name: agreement(teacher, found, where=inside) for name, found in drawn.items()}
        of = "of the map" if inside is None else "in range"
        start = f"{when}, " if when else ""
        shares = {name: f"{start}same on {percent(share, 0)} {of}" for name, share in same.items()}
        notes = shares if words is None else dict.fromkeys(same, words)
        maps, apart = {"teacher": teacher} | drawn, None
        if words is not None:
            apart = f"{percent(1 - min(same.values()))} {of}"
        self.maps = maps
        self._paint.ask("maps", lambda: self.canvas.show(maps, here.area, notes=notes, disagreement=apart))

    def view(self, students: Mapping[str, Classifier], resolution: int) -> View:
        """Return the same maps as a figure to be exported."""
        nets = {"teacher": self.teacher, **students}
        if self.slice.images is None:
            return boundary_map(nets, self.data, resolution=resolution, split="train", points=POINTS)
        return plane_map(nets, self.slice.images, self.data.classes, resolution=resolution, names=NAMES)


def maps_code(recipe: Recipe, resolution: int) -> tuple[str, str]:
    """Return Python that imports what draws the same maps, and that draws them.

    It needs the names ``run``, ``teacher``, ``nets`` (the teacher first) and ``data``.
    """
    if parse_name(recipe.dataset)[0] in PROBLEMS:
        drawn = f'boundary_map(nets, data, resolution={resolution}, split="train", points={POINTS})\n'
        return "from amkd_viz.views import boundary_map\n", drawn
    size, steps, rule = recipe.step_size, recipe.attack_steps, recipe.step_rule
    number = "run.settled.step_size" if isinstance(size, str) else f"{size:g}"
    return (
        "from amkd_viz.views import plane_map\nfrom amkd_viz.views.slices import NAMES, telling_triple\n",
        f"images, _ = telling_triple(teacher, data, step_size={number}, steps={steps}, step_rule={rule!r})\n"
        f"plane_map(nets, images, data.classes, resolution={resolution}, names=NAMES)\n",
    )


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
