"""The pictures of a distillation: maps, curves, a joint layout, and the log."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.panels.curve_canvas import CurveCanvas
from amkd_viz.panels.joint_canvas import MOST, JointLayout, Places
from amkd_viz.panels.run_curves import run_curves
from amkd_viz.panels.run_log import RunLog
from amkd_viz.panels.scatter import ScatterCanvas
from amkd_viz.panels.slice_marks import slice_marks, slice_view, slice_words
from amkd_viz.panels.worker import Worker
from amkd_viz.training import Recipe
from amkd_viz.views import View, embedding
from amkd_viz.views.decisions import Decisions, agreement
from amkd_viz.views.labels import percent
from amkd_viz.views.slices import Slice, telling_triple

__all__ = ["DistillPictures"]


class DistillPictures:
    """Draws in the thread that computes, and writes widgets through ``paint`` alone.

    Attributes:
        widgets: from top to bottom.
        ready: whether there is a teacher to compare with.
    """

    def __init__(self, paint: Worker, look_back: Any) -> None:
        self._paint = paint
        self.maps = MapCanvas(empty="Teacher, student and where they disagree: after Start.", least=160)
        self.maps.columns = 3
        self.curves = CurveCanvas(height=100)
        self.scatter = ScatterCanvas(empty="Teacher and student in one layout: after Start.")
        self.joint = JointLayout(self.scatter)
        self._fidelity = widgets.HTML()
        self.log = widgets.HTML("<pre></pre>")
        self.log.add_class("amkd-log")
        title = widgets.HTML("<b>Log</b> <span class='amkd-note'>newest first</span>")
        below = widgets.Box([widgets.VBox([self.scatter, self._fidelity]), widgets.VBox([title, self.log])])
        below.add_class("amkd-two")
        self.widgets = [self.maps, look_back, self.curves, below]
        self.forget()

    def forget(self) -> None:
        """Clear everything, for another run."""
        self._slice: Slice | None = None
        self._teacher: Classifier | None = None
        self._teacher_maps: dict[int, Decisions] = {}
        self._inside: dict[int, Any] = {}  # by resolution: which cells lie in the valid pixel range
        self.joint.forget()

        def show() -> None:
            self.maps.frame, self.maps.marks, self.maps.note = {}, [], ""
            self.curves.axes, self.curves.series, self.curves.events = [], [], []
            self.log.value = "<pre></pre>"

        self._paint.ask("forget", show)

    @property
    def ready(self) -> bool:
        return self._slice is not None

    def prepare(self, teacher: Classifier, data: Dataset, recipe: Recipe) -> None:
        """Choose on which inputs the nets are compared, and lay out the teacher, which is on the CPU."""
        data = data.to("cpu")
        inputs = Slice(data) if data.kind == "points" else _plane(teacher, data, recipe)
        self._teacher, self._teacher_maps, self._inside = teacher, {}, {}
        self.joint.begin(teacher, data)
        marks, words, names = slice_marks(inputs), slice_words(inputs), data.classes

        def show() -> None:
            self.maps.classes(names)
            self.maps.marks = marks
            self.maps.note = words

        self._paint.ask("marks", show)
        self._slice = inputs

    def draw(self, student: Classifier, side: int, words: str) -> None:
        """Draw the maps at the grid resolution ``side``."""
        assert self._slice is not None
        assert self._teacher is not None
        if side not in self._teacher_maps:
            self._teacher_maps[side] = self._slice.decisions(self._teacher, side)
        maps = {"teacher": self._teacher_maps[side], "student": self._slice.decisions(student, side)}
        apart = percent(1 - agreement(*maps.values()))
        if self._slice.plane is not None:
            if side not in self._inside:
                self._inside[side] = self._slice.arrays(side)["inside"]
            apart += f", in range {percent(1 - agreement(*maps.values(), where=self._inside[side]), 0)}"
        area = self._slice.area

        def show() -> None:
            self.maps.show(maps, area, notes={"student": words}, disagreement=apart)

        self._paint.ask("maps", show)

    def draw_joint(self, student: Classifier, how: str = "pca") -> None:
        """Draw teacher and student in one layout."""
        self.show_joint(self.joint.places(student, how))

    def show_joint(self, layout: tuple[Places, str]) -> None:
        """Draw a layout that ``joint.places`` returned."""
        places, words = layout

        def show() -> None:
            self.joint.show(places)
            self._fidelity.value = f"<span class='amkd-note'>{words}</span>"

        self._paint.ask("joint", show)

    def map_view(self, student: Classifier) -> View:
        """Return the maps as a figure."""
        assert self._slice is not None
        assert self._teacher is not None
        return slice_view({"teacher": self._teacher, "student": student}, self._slice)

    def joint_view(self, student: Classifier, how: str) -> View:
        """Return the joint layout as a figure."""
        assert self._slice is not None
        assert self._teacher is not None
        assert self._slice.data is not None
        return embedding({"teacher": self._teacher, "student": student}, self._slice.data, most=MOST, how=how)

    def draw_log(self, log: RunLog, others: Sequence[RunLog] = ()) -> None:
        """Draw the curves of a run, those of others faintly behind, and its log in words."""
        curves, text = run_curves(log, others), html.escape(log.text())

        def show() -> None:
            self.curves.show(*curves)
            self.log.value = f"<pre>{text}</pre>"

        self._paint.ask("curves", show)


def _plane(teacher: Classifier, data: Dataset, recipe: Recipe) -> Slice:
    images, labels = telling_triple(
        teacher, data, step_size=recipe.step_size, steps=recipe.attack_steps, step_rule=recipe.step_rule
    )
    return Slice(data, images, labels)
