"""Teacher and student in one layout, updated while the student trains."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.scatter import ScatterCanvas
from amkd_viz.views.chosen import choose, class_triplets
from amkd_viz.views.joint import projection_quality, spaces
from amkd_viz.views.labels import number, percent
from amkd_viz.views.projection import joint_layout

__all__ = ["JointLayout", "Places"]

MOST = 300  # samples: few enough to lay out while training
Places = tuple[NDArray[Any], NDArray[Any]]


class JointLayout:
    """Lay out the teacher's embedding once, and align the student's to it by Procrustes analysis: by PCA, which can
    follow a training, or by UMAP, which takes seconds. Only :meth:`show`, for the paint thread, writes the canvas.
    """

    def __init__(self, canvas: ScatterCanvas) -> None:
        self._canvas = canvas
        self.forget()

    def forget(self) -> None:
        """Drop teacher and samples."""
        self._teacher: Classifier | None = None
        self._fresh = False

    def begin(self, teacher: Classifier, data: Dataset) -> None:
        """Use another teacher or data set."""
        self._teacher, self._fresh = teacher, True
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
