"""One attacked image, step by step: the iterates, both nets' predictions and their logit gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
import traitlets
from numpy.typing import NDArray
from torch import Tensor

from amkd_viz.panels.view_widget import ViewWidget, float_bytes, serial
from amkd_viz.views.labels import class_name, number
from amkd_viz.views.theme import class_colour
from amkd_viz.views.walk import Walk, magnifier

__all__ = ["PointCanvas", "WalkCanvas"]

LARGEST = 128  # longest side of an image that is sent, in pixels


class WalkCanvas(ViewWidget, scripts=["axis.js", "pixels.js", "walk.js"], style="walk.css"):
    """An attack path with a slider over its steps; all iterates are sent at once, so that the slider needs no kernel.

    Attributes:
        frame: what :meth:`show` sends. step: the iterate on show, 0 .. S, and S + 1 for the refined point.
    """

    frame = traitlets.Dict().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def show(
        self,
        way: Walk,
        classes: Sequence[str],
        *,
        temperature: float = 1.0,
        step: int | None = None,
        hidden: bool = False,
    ) -> None:
        """Show an attack path.

        Args:
            temperature: divides the logits.
            step: the iterate on show at first; by default the last one, the boundary sample.
            hidden: send the base image only, while the rest has to be predicted.
        """
        rows = way.leading()
        many = 1 if hidden else way.steps + 2
        images = way.path.ndim == 4  # points have no picture of their own: they are on the map
        change = way.difference() if images else np.zeros(0, np.float32)
        factor = magnifier(change)
        predictions = {name: (z / temperature).softmax(1) for name, z in way.logits.items()}
        frame = {
            "serial": serial(),
            "steps": 0 if hidden else way.steps,
            **(_pictures(way.path[:many]) if images else {"size": [0, 0, 0], "images": b""}),
            "signed": _signed(_small(way.path.new_tensor(change)[:many, None])[:, 0].numpy() * factor)
            if images
            else b"",
            "factor": factor,
            "base": class_name(classes, way.base),
            "target": class_name(classes, way.target),
            **_predicted(predictions, rows, classes, many),
            "at": float_bytes(way.at[:many]),
            "l2": float_bytes(way.l2()[:many]),
            "gap": float_bytes(np.stack([way.gap(name) for name in way.logits])[:, :many]),
            "attacked": list(way.logits).index(way.attacked),
            "crossed": way.crossed and not hidden,
            "crossings": [None if hidden else way.first(name) for name in way.logits],
            "hidden": hidden,
        }
        with self.hold_sync():
            self.frame = frame
            self.step = 0 if hidden else min(way.steps if step is None else step, way.steps + 1)


class PointCanvas(ViewWidget, scripts=["pixels.js", "point.js"], style="walk.css"):
    """An image of the plane, and both nets' predictions for it.

    Attributes:
        frame: what :meth:`show` sends.
    """

    frame = traitlets.Dict().tag(sync=True)

    def show(
        self,
        x: Tensor,
        predictions: Mapping[str, Tensor],
        rows: Sequence[int],
        classes: Sequence[str],
        at: Sequence[float],
        inside: bool,
    ) -> None:
        """Show image x (C, H, W) with the nets' probabilities (1, K).

        Args:
            rows: the classes to show. at: coordinates in the plane. inside: whether all pixels are in [0, 1].
        """
        where = "(" + ", ".join(number(float(v)) for v in at) + ")"
        words = "inside the valid pixel range" if inside else "outside the valid pixel range; shown clipped to [0, 1]"
        self.frame = {
            **_pictures(x[None]),
            **_predicted(predictions, rows, classes, 1),
            "words": [
                f"{where}, L2 distance from the base",
                words,
                "Drag the blue point on a map: each point is an image.",
            ],
            "inside": inside,
            "at": [float(v) for v in at],
        }


def _predicted(
    predictions: Mapping[str, Tensor], rows: Sequence[int], classes: Sequence[str], many: int
) -> dict[str, Any]:
    """Return each net's probabilities of the classes ``rows`` and its predicted class, for ``many`` images."""
    winner = np.stack([p[:many].argmax(1).numpy() for p in predictions.values()])
    return {
        "nets": list(predictions),
        "rows": [{"name": class_name(classes, k), "colour": class_colour(k)} for k in rows],
        "p": float_bytes(np.stack([p[:many][:, list(rows)].numpy() for p in predictions.values()])),
        "says": [[class_name(classes, k) for k in own] for own in winner.tolist()],
    }


def _pictures(x: Tensor) -> dict[str, Any]:
    """Return images (N, C, H, W) as bytes (N, H, W, 1 or 3) and their size."""
    x = _small(x.detach().cpu())
    x = x if x.shape[1] in (1, 3) else x[:, :3] if x.shape[1] > 3 else x[:, :1]
    pixels = (x.nan_to_num().clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1).contiguous()
    return {"size": [x.shape[3], x.shape[2], x.shape[1]], "images": pixels.numpy().tobytes()}


def _small(x: Tensor) -> Tensor:
    """Return images (N, C, H, W) shrunk to at most ``LARGEST`` pixels per side."""
    largest = max(x.shape[2:])
    if largest <= LARGEST:
        return x
    size = [max(1, round(v * LARGEST / largest)) for v in x.shape[2:]]
    return F.interpolate(x, size=size, mode="area")


def _signed(values: NDArray[Any]) -> bytes:
    """Return values in [-1, 1] as int8, -127 .. 127."""
    return np.round(np.clip(np.nan_to_num(values), -1, 1) * 127).astype(np.int8).tobytes()
