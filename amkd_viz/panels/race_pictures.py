"""What is seen of a race: a map and three numbers a method, and their curves over one clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from amkd_viz.models import Classifier, inference_copy
from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.panels.curve_canvas import Curve, CurveCanvas
from amkd_viz.panels.live import DutyCycle
from amkd_viz.panels.slice_marks import slice_marks
from amkd_viz.panels.worker import Worker
from amkd_viz.runs import Race
from amkd_viz.training import accuracy, logits_on
from amkd_viz.views.curves import METRICS
from amkd_viz.views.decisions import Decisions, agreement
from amkd_viz.views.labels import percent
from amkd_viz.views.slices import Slice, telling_triple
from amkd_viz.views.theme import method_colour

__all__ = ["RacePictures"]

LIVE_CELLS, CELLS = 30_000, 200  # cells of all maps together while it runs; cells a side when it rests
LIVE_PLANE = 50  # cells a side of a plane while it runs: an image is dearer than a point
TOLD = ("val_accuracy", "val_agreement")


class RacePictures:
    """Draws one race at a time. Its methods are called in the thread of the race, between two steps.

    Attributes:
        maps: the decisions that are in the picture, by name, the teacher's first.
        teacher: our own copy. teacher_scores: its accuracy on validation and test.
        cost: seconds that pictures and numbers took the last time, painting included. duty: says when to show again.
    """

    def __init__(self, paint: Worker) -> None:
        self.canvas = MapCanvas(least=200, empty="The teacher is being trained.")
        self.curves = CurveCanvas(height=150)
        self.maps: dict[str, Decisions] = {}
        self.ground: Slice | None = None
        self.teacher: Classifier | None = None
        self.teacher_scores = (math.nan, math.nan)
        self.cost = 0.0
        self.duty = DutyCycle(share=0.015, least=0.1)
        self._paint = paint
        self._painting: dict[str, float] = {}  # seconds of the paint thread: it takes them from the training, too
        self._fixed: dict[int, tuple[Decisions, Any]] = {}  # cells a side -> the teacher's map, where there are inputs

    def begin(self, race: Race) -> None:
        """Another race: its ground and its teacher, and students that are all the same."""
        training, recipe = race.first, race.recipe
        data = training.dataset.to("cpu")
        assert training.teacher is not None
        own = training.dataset
        self.teacher_scores = (
            accuracy(logits_on(training.teacher, own.val), own.val.y),
            accuracy(logits_on(training.teacher, own.test), own.test.y),
        )
        self.teacher = inference_copy(training.teacher).cpu()
        images: tuple[Any, ...] = ()
        if data.kind != "points":
            images = telling_triple(
                self.teacher, data, step_size=recipe.step_size, steps=recipe.attack_steps, step_rule=recipe.step_rule
            )
        self.ground, self._fixed = Slice(data, *images), {}
        marks = slice_marks(self.ground)

        def show() -> None:
            self.canvas.classes(data.classes)
            self.canvas.marks = marks

        self._paint.ask("classes", show)
        self._of_teacher(self._live_side(race))  # now, so that the first live picture is no dearer than the others
        self.draw(race)
        self.duty.spent(0.0)

    def students(self, race: Race) -> dict[str, Classifier]:
        """Our own copies: a view never touches a net that is being trained."""
        return {name: inference_copy(training.student).cpu() for name, training in race.trainings.items()}

    def paint(self, key: str, show: Callable[[], object]) -> None:
        """Let the paint thread do ``show``, on the account of the duty cycle."""

        def timed() -> None:
            begun = time.thread_time()
            show()
            self._painting[key] = time.thread_time() - begun

        self._paint.ask(key, timed)

    def spent(self, seconds: float) -> None:
        """So long the race has waited for what is shown; the next time is a while away."""
        self.cost = seconds + sum(self._painting.values())
        self.duty.spent(self.cost)

    def draw(self, race: Race, live: bool = False) -> None:
        """All maps; ``live`` for fewer cells."""
        ground = self.ground
        assert ground is not None
        side = self._live_side(race) if live else CELLS
        teacher, where = self._of_teacher(side)
        students = {name: ground.decisions(net, side) for name, net in self.students(race).items()}
        notes = {name: f"same on {percent(agreement(teacher, m, where=where), 0)}" for name, m in students.items()}
        maps, area = {"teacher": teacher} | students, ground.area

        self.maps = maps
        self.paint("maps", lambda: self.canvas.show(maps, area, notes=notes))

    def _of_teacher(self, side: int) -> tuple[Decisions, Any]:
        """What stays the same during a race."""
        ground = self.ground
        assert ground is not None
        assert self.teacher is not None
        if side not in self._fixed:
            where = None if ground.plane is None else ground.arrays(side)["inside"]
            self._fixed[side] = ground.decisions(self.teacher, side), where
        return self._fixed[side]

    def _live_side(self, race: Race) -> int:
        """Cells a side, so that a picture of many methods is no dearer than of few."""
        assert self.ground is not None
        if self.ground.plane is not None:
            return LIVE_PLANE
        return min(math.isqrt(LIVE_CELLS // (1 + len(race.trainings))), 100)

    def numbers(self, race: Race, changes: list[tuple[float, str]]) -> None:
        """Accuracy, agreement and cost beneath each map, and the curves.

        Args:
            changes: (epoch, words) of what a person changed.
        """
        facts, (axes, curves) = self._facts(race), self._curves(race)
        epoch, end = race.epoch, race.recipe.epochs

        def show() -> None:
            self.canvas.facts = facts
            self.curves.show(axes if epoch else [], curves, changes, end)

        self.paint("numbers", show)

    def _facts(self, race: Race) -> list[dict[str, Any]]:
        cost = race.step_seconds()
        against = "kd" if "kd" in cost else next(iter(cost))
        facts: list[dict[str, Any]] = [{"rows": [["validation", percent(self.teacher_scores[0])]]}]
        for name, lines in race.metrics.items():
            last = lines[-1] if lines else {}
            times = cost[name] / cost[against] if cost[against] else math.nan
            rows = [
                ["validation", percent(last.get("val_accuracy"))],
                ["like teacher", percent(last.get("val_agreement"))],
                ["a step", f"{1000 * cost[name]:.1f} ms ({times:.1f} × {against})" if times == times else "\u2014"],
            ]
            facts.append({"colour": method_colour(name), "rows": rows})
        return facts

    def _curves(self, race: Race) -> tuple[list[tuple[str, str]], list[Curve]]:
        level = 100 * self.teacher_scores[0]
        curves = [Curve(0, "teacher", [(0, level), (race.recipe.epochs, level)], faint=True)]
        for axis, key in enumerate(TOLD):
            for name, lines in race.metrics.items():
                points = [(epoch + 1, METRICS[key][2] * line[key]) for epoch, line in enumerate(list(lines))]
                if points:
                    curves.append(Curve(axis, name, points, method_colour(name)))
        return [METRICS[key][:2] for key in TOLD], curves
