"""The pictures of a race: a map and three numbers per method, and their curves over one range of epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.curve_canvas import Curve, CurveCanvas
from amkd_viz.panels.run_log import RunLog
from amkd_viz.panels.slice_maps import SliceMaps
from amkd_viz.panels.worker import Worker
from amkd_viz.training import Recipe, accuracy, logits_on
from amkd_viz.views.curves import METRICS
from amkd_viz.views.labels import percent
from amkd_viz.views.theme import method_colours

__all__ = ["FINE", "RacePictures"]

LIVE_CELLS, FINE = 16_000, 200  # cells of all maps together while training; grid resolution of maps that stay
LIVE_PLANE = 50  # grid resolution of a slice while training: an image costs more than a point
SHOWN = ("val_accuracy", "val_agreement")


class RacePictures:
    """Draws in the compute thread, and writes widgets through ``paint`` alone.

    Attributes:
        maps: the decision maps.
        curves: the widget of the curves.
        teacher_scores: the teacher's accuracy on validation and test.
    """

    def __init__(self, paint: Worker) -> None:
        self.maps = SliceMaps(paint, least=200, empty="The teacher is being trained.")
        self.curves = CurveCanvas(height=150)
        self.teacher_scores = (math.nan, math.nan)
        self._paint = paint

    def clear(self) -> None:
        """Show nothing until ``prepare``: the problem is another one."""
        self.maps.ready, canvas = False, self.maps.canvas

        def show() -> None:
            canvas.frame, canvas.marks, canvas.facts = {}, [], []

        self._paint.ask("clear", show)

    def prepare(self, teacher: Classifier, data: Dataset, recipe: Recipe) -> None:
        """Choose on what the nets are compared, and score the teacher."""
        self.maps.prepare(teacher, data, recipe)
        parts = self.maps.data.val, self.maps.data.test
        validation, test = (accuracy(logits_on(self.maps.teacher, part), part.y) for part in parts)
        self.teacher_scores = validation, test

    def draw(self, students: Mapping[str, Classifier], epoch: int, live: bool = False) -> None:
        """Draw the teacher's map and one per student, ``live`` at a resolution at which many cost no more than few."""
        side = (
            LIVE_PLANE if self.maps.slice.plane is not None else min(math.isqrt(LIVE_CELLS // (1 + len(students))), 100)
        )
        self.maps.draw(students, side if live else FINE, when=f"epoch {epoch}" if epoch else "untrained")

    def numbers(self, logs: Mapping[str, RunLog], end: int) -> None:
        """Show accuracy, agreement and cost beneath each map, and the curves up to epoch ``end``."""
        facts, curves, pair = self._facts(logs), self._curves(logs, end), [1, -1] if len(logs) > 1 else [0, 1]
        axes = [METRICS[key][:2] for key in SHOWN] if any(log.done for log in logs.values()) else []
        marks = list(dict.fromkeys(mark for log in logs.values() for mark in log.marks()))

        def show() -> None:
            self.maps.canvas.facts, self.maps.canvas.pair = facts, pair
            self.curves.show(axes, curves, marks, end)

        self._paint.ask("numbers", show)

    def _facts(self, logs: Mapping[str, RunLog]) -> list[dict[str, Any]]:
        seconds = {name: log.step_seconds for name, log in logs.items()}
        base = next(iter(seconds), "")
        facts: list[dict[str, Any]] = [{"rows": [["validation", percent(self.teacher_scores[0])]]}]
        colours = method_colours({name: name for name in logs})
        for name, log in logs.items():
            last: dict[str, Any] = (log.epochs or [{}])[-1]
            factor = seconds[name] / seconds[base]
            rows = [
                ["validation", percent(last.get("val_accuracy"))],
                ["same as teacher", percent(last.get("val_agreement"))],
                ["step time", f"{_short(1000 * seconds[name])}\u00a0ms" if factor > 0 else "—"],
                [f"time vs {base}", f"{_short(factor)}\u00a0×" if factor > 0 else "—"],
            ]
            facts.append({"colour": colours[name], "rows": rows})
        return facts

    def _curves(self, logs: Mapping[str, RunLog], end: int) -> list[Curve]:
        level = 100 * self.teacher_scores[0]
        curves = [Curve(0, "teacher", [(0, level), (end, level)], faint=True)]
        colours = method_colours({name: name for name in logs})
        for name, log in logs.items():
            for axis, key in enumerate(SHOWN):
                points = [(epoch, METRICS[key][2] * value) for epoch, value in log.series.get(key, [])]
                if points:
                    curves.append(Curve(axis, name, points, colours[name]))
        return curves


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
