"""The pictures of a race: a map and three numbers per method, and their curves over one range of epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.panels.curve_canvas import Curve, CurveCanvas
from amkd_viz.panels.live import on_cpu
from amkd_viz.panels.run_log import RunLog
from amkd_viz.panels.slice_marks import slice_marks
from amkd_viz.panels.worker import Worker
from amkd_viz.training import Recipe, accuracy, logits_on
from amkd_viz.views.curves import METRICS, series
from amkd_viz.views.decisions import Decisions, agreement
from amkd_viz.views.labels import percent
from amkd_viz.views.slices import Slice, telling_triple
from amkd_viz.views.theme import method_colour

__all__ = ["RacePictures"]

LIVE_CELLS, FINE = 30_000, 200  # cells of all maps together while training; grid resolution of maps that stay
LIVE_PLANE = 50  # grid resolution of a slice while training: an image costs more than a point
SHOWN = ("val_accuracy", "val_agreement")


class RacePictures:
    """Draws in the compute thread, and writes widgets through ``paint`` alone.

    Attributes:
        maps: the decision maps in the picture, by name, the teacher first.
        slice: the inputs on which nets are compared, or None before the teacher is there.
        teacher: a copy of the teacher on the CPU. teacher_scores: its accuracy on validation and test.
    """

    def __init__(self, paint: Worker) -> None:
        self.canvas = MapCanvas(least=200, empty="The teacher is being trained.")
        self.curves = CurveCanvas(height=150)
        self.maps: dict[str, Decisions] = {}
        self.slice: Slice | None = None
        self.teacher: Classifier | None = None
        self.teacher_scores = (math.nan, math.nan)
        self._paint = paint
        self._fixed: dict[int, tuple[Decisions, Any]] = {}  # resolution -> the teacher's map, and the valid pixel range

    def prepare(self, teacher: Classifier, data: Dataset, recipe: Recipe) -> None:
        """Choose on what the nets are compared, and score the teacher."""
        data, self.teacher = data.to("cpu"), on_cpu(teacher)
        scores = [accuracy(logits_on(self.teacher, part), part.y) for part in (data.val, data.test)]
        self.teacher_scores = (scores[0], scores[1])
        triple: tuple[Any, ...] = ()
        if data.kind != "points":
            triple = telling_triple(
                self.teacher, data, step_size=recipe.step_size, steps=recipe.attack_steps, step_rule=recipe.step_rule
            )
        self.slice, self._fixed = Slice(data, *triple), {}
        marks = slice_marks(self.slice)

        def show() -> None:
            self.canvas.classes(data.classes)
            self.canvas.marks = marks

        self._paint.ask("classes", show)

    def draw(self, students: Mapping[str, Classifier], live: bool = False) -> None:
        """Draw the teacher's map and one per student, ``live`` at a lower resolution."""
        inputs, side = self.slice, self._live_side(len(students)) if live else FINE
        assert inputs is not None
        assert self.teacher is not None
        if side not in self._fixed:
            inside = None if inputs.plane is None else inputs.arrays(side)["inside"]
            self._fixed[side] = inputs.decisions(self.teacher, side), inside
        teacher, where = self._fixed[side]
        drawn = {name: inputs.decisions(on_cpu(net), side) for name, net in students.items()}
        notes = {name: f"same on {percent(agreement(teacher, m, where=where), 0)}" for name, m in drawn.items()}
        maps = self.maps = {"teacher": teacher} | drawn

        def show() -> None:
            self.canvas.show(maps, inputs.area, notes=notes)

        self._paint.ask("maps", show)

    def _live_side(self, students: int) -> int:
        """Return a resolution at which many methods cost no more than few."""
        assert self.slice is not None
        return LIVE_PLANE if self.slice.plane is not None else min(math.isqrt(LIVE_CELLS // (1 + students)), 100)

    def numbers(self, logs: Mapping[str, RunLog], end: int) -> None:
        """Show accuracy, agreement and cost beneath each map, and the curves up to epoch ``end``."""
        facts, curves = self._facts(logs), self._curves(logs, end)
        axes = [METRICS[key][:2] for key in SHOWN] if any(log.done for log in logs.values()) else []
        marks = list(dict.fromkeys(mark for log in logs.values() for mark in log.marks()))

        def show() -> None:
            self.canvas.facts = facts
            self.curves.show(axes, curves, marks, end)

        self._paint.ask("numbers", show)

    def _facts(self, logs: Mapping[str, RunLog]) -> list[dict[str, Any]]:
        seconds = {name: log.step_seconds for name, log in logs.items()}
        base = next(iter(seconds), "")
        facts: list[dict[str, Any]] = [{"rows": [["validation", percent(self.teacher_scores[0])]]}]
        for name, log in logs.items():
            last: dict[str, Any] = (log.epochs or [{}])[-1]
            cost = f"{_short(1000 * seconds[name])} ms ({_short(seconds[name] / seconds[base])} × {base})"
            rows = [
                ["validation", percent(last.get("val_accuracy"))],
                ["teacher agreement", percent(last.get("val_agreement"))],
                ["a step", cost if seconds[name] / seconds[base] > 0 else "—"],
            ]
            facts.append({"colour": method_colour(name), "rows": rows})
        return facts

    def _curves(self, logs: Mapping[str, RunLog], end: int) -> list[Curve]:
        level = 100 * self.teacher_scores[0]
        curves = [Curve(0, "teacher", [(0, level), (end, level)], faint=True)]
        for name, log in logs.items():
            values = series(log.epochs)
            for axis, key in enumerate(SHOWN):
                points = [(epoch, METRICS[key][2] * value) for epoch, value in values.get(key, [])]
                if points:
                    curves.append(Curve(axis, name, points, method_colour(name)))
        return curves


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
