"""Teacher and student in one layout, again and again while the student changes."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.scatter import ScatterCanvas
from amkd_viz.views.chosen import choose, class_triplets
from amkd_viz.views.joint import fidelity, spaces
from amkd_viz.views.labels import number, percent
from amkd_viz.views.projection import joint_layout

__all__ = ["JointLayout", "Places"]

MOST = 300  # samples: enough to see classes, few enough to lay out while training
Places = tuple[NDArray[Any], NDArray[Any]]


class JointLayout:
    """The teacher's embedding laid out once, the student's laid onto it by Procrustes. By PCA that is quick enough to
    follow a training; UMAP takes seconds.

    The canvas is written by :meth:`show` alone, in the thread that may write widgets.
    """

    def __init__(self, canvas: ScatterCanvas) -> None:
        self._canvas = canvas
        self.forget()

    def forget(self) -> None:
        self._teacher: Classifier | None = None
        self._fresh = False

    def begin(self, teacher: Classifier, data: Dataset) -> None:
        """Another teacher or data set."""
        self._teacher, self._fresh = teacher, True
        self._chosen, self._classes = choose(data.test, most=MOST), data.classes
        self._triplets = class_triplets(self._chosen.label)
        self._high = spaces({"teacher": teacher}, self._chosen.x)["teacher"]
        self._low: dict[str, NDArray[Any]] = {}

    def places(self, student: Classifier, how: str = "pca") -> tuple[Places, str]:
        """(N, 2) of both nets by "pca" or "umap", and how far they may be trusted, in words."""
        own, low, chosen, triplets = self._high, self._low, self._chosen, self._triplets  # another may begin meanwhile
        if how not in low:
            low[how] = joint_layout([own], how)[0].points
        high = spaces({"student": student}, chosen.x)["student"]
        laid = joint_layout([own, high], how, first=low[how])
        found = fidelity(high, laid[1], triplets, 0)
        words = (
            f"{len(chosen)} test samples, {how.upper()} of the teacher's logits, student laid onto it. Student: "
            f"trustworthiness {number(found.trustworthiness)}, residual {number(found.residual)}, "
            f"{percent(found.kept, 0)} of triplets keep their order."
        )
        return (laid[0].points, laid[1].points), words

    def show(self, places: Places) -> None:
        if self._fresh:
            self._canvas.samples(self._chosen, self._classes)
            self._canvas.morph = 1.0
            self._fresh = False
        self._canvas.places(*places)
