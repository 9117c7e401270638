"""Triplets that can be dragged: anchor, positive and negatives on a circle, with the hinge and its gradients.

On the unit circle a squared distance of 0 to 4 is an angle of 0 to 180 degrees, so true distances from an anchor, in a
space of any dimension, keep their values here. Distances among positive and negatives do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets

from amkd_viz.core.errors import InputError
from amkd_viz.views import View
from exercises.live import display_live

__all__ = ["TripletCircle", "triplet_circle"]

START = (1.57, 1.0, 2.2, 0.2, -1.2)
TOY = "Drag a point, or move it by its arrow keys."


class TripletCircle(anywidget.AnyWidget):
    """Anchor, positive and negatives at ``angles`` (radians) of the unit circle, and the hinge at ``margin``."""

    _esm = (Path(__file__).parent / "circle.js").read_text(encoding="utf-8")
    angles = traitlets.List(traitlets.Float(), list(START)).tag(sync=True)
    margin = traitlets.Float(0.5).tag(sync=True)
    words = traitlets.Unicode(TOY).tag(sync=True)

    @property
    def loss(self) -> float:
        """The mean over the negatives of [d(a, p) - d(a, n) + m]_+."""
        d = 2 - 2 * np.cos(np.subtract(self.angles[1:], self.angles[0]))
        return float(np.maximum(0, d[0] - d[1:] + self.margin).mean())


def triplet_circle(view: View | None = None, most: int = 4) -> None:
    """Display the circle with a slider for the margin, and a button that puts the distances of a real triplet there.

    Args:
        view: of ``triplets``: its distances are those in the student's space.
        most: maximum number of its negatives, from the nearest to the farthest drawn.

    Raises:
        InputError: ``view`` is not a view of ``triplets``.
    """
    if view is not None and not {"d_an", "low"} <= view.arrays.keys():
        raise InputError("triplet_circle takes the view that triplets(...) returns.")
    circle = TripletCircle()
    margin = widgets.FloatSlider(circle.margin, min=0, max=4, step=0.1, description="margin m")
    widgets.jslink((margin, "value"), (circle, "margin"))
    toy, real = (widgets.Button(description=words) for words in ("A triplet to play with", "The real triplet"))

    def show(_: Any) -> None:
        assert view is not None
        d = np.clip([view.notes["d_ap"], *view.arrays["d_an"][:: -(-len(view.arrays["d_an"]) // most)]], 0, 4)
        side = np.where(np.arange(len(d)) % 2, 1, -1)  # both sides in turn: only the distance from the anchor is true
        circle.words = "True distances from the anchor, in the student's space. Drag to see what training wants."
        circle.angles = [START[0], *(START[0] + side * np.arccos(1 - d / 2)).tolist()]
        margin.value = 1.0

    def play(_: Any) -> None:
        circle.words, circle.angles = TOY, list(START)
        margin.value = 0.5

    toy.on_click(play)
    real.on_click(show)
    box = widgets.VBox([widgets.HBox([margin, *([toy, real] if view is not None else [])]), circle])
    display_live(box, "A circle with an anchor, a positive and negatives to drag: run the cell.")
