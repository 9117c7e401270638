"""The pictures of a distillation: maps, curves, a joint layout, and the log."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import ipywidgets as widgets
from numpy.typing import NDArray

from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.curve_canvas import Curve, CurveCanvas
from amkd_viz.panels.live import on_cpu
from amkd_viz.panels.run_log import RunLog
from amkd_viz.panels.scatter import ScatterCanvas
from amkd_viz.panels.slice_maps import SliceMaps, slice_words
from amkd_viz.panels.worker import Worker
from amkd_viz.training import Recipe
from amkd_viz.views import View, embedding
from amkd_viz.views.chosen import choose, class_triplets
from amkd_viz.views.curves import heading, ordered
from amkd_viz.views.joint import projection_quality, spaces
from amkd_viz.views.labels import number, percent, safe, shorten
from amkd_viz.views.projection import joint_layout
from amkd_viz.views.theme import method_colour

__all__ = ["MOST", "DistillPictures"]

MOST = 300  # samples in the layout: few enough to lay out while training
LATER, SOON = "Teacher, student and where they disagree: after Start.", "Data and teacher are being loaded."
Places = tuple[NDArray[Any], NDArray[Any]]


class DistillPictures:
    """Draws in the thread that computes, and writes widgets through ``paint`` alone.

    Attributes:
        widgets: from top to bottom. parts: those that share one place in a narrow panel.
        maps: the decision maps; ``maps.ready``: whether there is a teacher to compare with.
    """

    def __init__(self, paint: Worker, look_back: Any) -> None:
        self._paint = paint
        self.maps = SliceMaps(paint, empty=SOON)
        self.curves = CurveCanvas(height=100)
        self.scatter = ScatterCanvas(empty="Teacher and student in one layout: after Start.")
        self.joint = JointLayout(self.scatter)
        self._fidelity = widgets.HTML()
        self.log = widgets.HTML("<pre></pre>")
        self.log.add_class("amkd-log")
        title = widgets.HTML("<b>Log</b> <span class='amkd-note'>newest first</span>")
        joint, log = widgets.VBox([self.scatter, self._fidelity]), widgets.VBox([title, self.log])
        below = widgets.Box([joint, log])
        below.add_class("amkd-two")
        self.widgets = [self.maps.canvas, look_back, self.curves, below]
        self.parts = {"Curves": self.curves, "Embedding": joint, "Log": log}
        self.forget()

    def forget(self) -> None:
        """Clear everything, for another run."""
        self.maps.ready = False

        def show() -> None:
            self.maps.canvas.frame, self.maps.canvas.marks, self.maps.canvas.note = {}, [], ""
            self.curves.axes, self.curves.series, self.curves.events = [], [], []
            self.log.value, self._fidelity.value = "<pre></pre>", ""
            self.scatter.teacher = self.scatter.student = b""

        self._paint.ask("forget", show)

    def expect(self, soon: bool) -> None:
        """Say in the empty place of the maps whether they come before Start, or after it."""
        self._paint.ask("expect", lambda: setattr(self.maps.canvas, "empty", SOON if soon else LATER))

    def release(self) -> None:
        """Drop nets and data; the widgets stay as they are."""
        self.maps.release()
        self.joint = JointLayout(self.scatter)

    def prepare(self, teacher: Classifier, data: Dataset, recipe: Recipe) -> None:
        """Choose on which inputs the nets are compared, and lay out the teacher."""
        self.joint.begin(on_cpu(teacher), data.to("cpu"))
        self.maps.prepare(teacher, data, recipe)
        words = slice_words(self.maps.slice)
        self._paint.ask("note", lambda: setattr(self.maps.canvas, "note", words))

    def draw(self, student: Classifier, side: int, words: str) -> None:
        """Draw the maps at the grid resolution ``side``."""
        self.maps.draw({"student": student}, side, words)

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

    def joint_view(self, student: Classifier, how: str) -> View:
        """Return the joint layout as a figure."""
        return embedding({"teacher": self.maps.teacher, "student": student}, self.maps.data, most=MOST, how=how)

    def draw_log(self, log: RunLog, others: Sequence[RunLog] = ()) -> None:
        """Draw the curves of a run, those of others faintly behind, and its log in words."""
        curves, text = _curves(log, others), safe(log.text())

        def show() -> None:
            self.curves.show(*curves)
            self.log.value = f"<pre>{text}</pre>"

        self._paint.ask("curves", show)


class JointLayout:
    """Lay out the teacher's embedding once, and align the student's to it by Procrustes analysis: by PCA, which can
    follow a training, or by UMAP, which takes seconds. Only :meth:`show`, for the paint thread, writes the canvas.
    """

    def __init__(self, canvas: ScatterCanvas) -> None:
        self._canvas, self._fresh = canvas, False

    def begin(self, teacher: Classifier, data: Dataset) -> None:
        """Use another teacher or data set."""
        self._fresh = True
        self._chosen, self._classes = choose(data.test, most=MOST), data.classes
        self._triplets = class_triplets(self._chosen.label)
        self._high = spaces({"teacher": teacher}, self._chosen.x)["teacher"]
        self._low: dict[str, NDArray[Any]] = {}

    def places(self, student: Classifier, how: str = "pca") -> tuple[Places, str]:
        """Return places (N, 2) of both nets by "pca" or "umap", and their projection quality in words."""
        teacher, low, chosen, triplets = self._high, self._low, self._chosen, self._triplets  # begin() may replace them
        if how not in low:
            low[how] = joint_layout([teacher], how)[0].points
        high = spaces({"student": student}, chosen.x)["student"]
        laid = joint_layout([teacher, high], how, first=low[how])
        quality = projection_quality(high, laid[1], triplets, 0)
        words = (
            f"{len(chosen)} test samples, {how.upper()} of the teacher's logits, the student's aligned to it. Student: "
            f"trustworthiness {number(quality.trustworthiness)}, Procrustes disparity {number(quality.residual)}, "
            f"{percent(quality.kept, 0)} of triplets keep their order."
        )
        return (laid[0].points, laid[1].points), words

    def show(self, places: Places) -> None:
        """Draw places on the canvas."""
        if self._fresh:
            self._canvas.samples(self._chosen, self._classes)
            self._canvas.morph = 1.0
            self._fresh = False
        self._canvas.places(*places)


def _curves(log: RunLog, others: Sequence[RunLog] = ()) -> tuple[Any, ...]:
    """Return what ``CurveCanvas.show`` draws: the curves of ``log``, and faintly behind them those of ``others``."""
    logs = [log, *(other for other in others if other.run.path != log.run.path)]
    names = _apart([each.run.path.name for each in logs])
    axes, curves = [], []
    for axis, panel in enumerate(ordered(key for each in logs for key in each.series)):
        title, unit, factor = heading(panel)
        axes.append((title, unit))
        for each, name in zip(logs, names, strict=True):
            points = [(epoch, value * factor) for epoch, value in each.series.get(panel, [])]
            if points:
                colour = method_colour(each.run.recipe.method)
                curves.append(Curve(axis, name, points, colour, faint=each is not log))
    return axes, curves, log.marks(), log.run.recipe.epochs


def _apart(names: Sequence[str]) -> list[str]:
    """Return names of runs without the words with which all of them begin.

    >>> _apart(["digits-amkd-seed0", "digits-kd-seed0"]), _apart(["digits-kd"])
    (['amkd-seed0', 'kd-seed0'], ['digits-kd'])
    """
    parts = [name.split("-") for name in names]
    alike = list(takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False)))
    return [shorten("-".join(own[len(alike) :] or own)) for own in parts]
