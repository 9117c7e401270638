"""One attacked image, step by step, in the page: its pictures, both nets' answers and their logit gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import anywidget
import numpy as np
import torch.nn.functional as F
import traitlets
from numpy.typing import NDArray
from torch import Tensor

from amkd_viz.panels.status import STATIC, script
from amkd_viz.views.labels import number
from amkd_viz.views.theme import class_colour
from amkd_viz.views.walk import Walk, magnifier

__all__ = ["PointCanvas", "WalkCanvas"]

LARGEST = 128  # pixels a side that are sent of an image; it is shown at that size
_serials = count(1)


class WalkCanvas(anywidget.AnyWidget):
    """The slider walks along the attack without the kernel: all that it shows was sent with the walk.

    Attributes:
        frame: what :meth:`show` sends. step: the iterate that is shown, 0 .. S, and S + 1 for the refined point.
        empty: what stands here while there is nothing.
    """

    _esm = script("page.js", "pixels.js", "walk.js")
    _css = STATIC / "walk.css"
    frame = traitlets.Dict().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    empty = traitlets.Unicode("Nothing to show yet.").tag(sync=True)

    def show(
        self,
        way: Walk,
        classes: Sequence[str],
        *,
        temperature: float = 1.0,
        step: int | None = None,
        hidden: bool = False,
    ) -> int:
        """Show a walk.

        Args:
            temperature: softens the answers.
            step: that is shown first; by default the last iterate, the boundary sample.
            hidden: only the base image, for who has to predict the rest.

        Returns:
            the serial number of the frame, which the page carries as ``data-serial`` once it has drawn it.
        """
        rows = way.leading()
        many = 1 if hidden else way.steps + 2
        change = way.difference()
        factor = magnifier(change)
        answers = {name: (z / temperature).softmax(1) for name, z in way.logits.items()}
        serial = next(_serials)
        frame = {
            "serial": serial,
            "steps": 0 if hidden else way.steps,
            **_pictures(way.path[:many]),
            "signed": _signed(_small(way.path.new_tensor(change)[:many, None])[:, 0].numpy() * factor),
            "factor": factor,
            "base": _named(classes, way.base),
            "target": _named(classes, way.target),
            **_answers(answers, rows, classes, many),
            "at": _floats(way.at[:many]),
            "l2": _floats(way.l2()[:many]),
            "gap": _floats(np.stack([way.gap(name) for name in way.logits])[:, :many]),
            "attacked": list(way.logits).index(way.attacked),
            "crossed": way.crossed and not hidden,
            "crossings": [
                None if c is None or hidden else [c.at, c.gap] for c in (way.crossings[name] for name in way.logits)
            ],
            "hidden": hidden,
        }
        with self.hold_sync():
            self.frame = frame
            self.step = 0 if hidden else min(way.steps if step is None else step, way.steps + 1)
        return serial


class PointCanvas(anywidget.AnyWidget):
    """An image of the plane, and what both nets say of it.

    Attributes:
        frame: what :meth:`show` sends. empty: what stands here while there is nothing.
    """

    _esm = script("page.js", "pixels.js", "point.js")
    _css = STATIC / "walk.css"
    frame = traitlets.Dict().tag(sync=True)
    empty = traitlets.Unicode("").tag(sync=True)

    def show(
        self,
        x: Tensor,
        answers: Mapping[str, Tensor],
        rows: Sequence[int],
        classes: Sequence[str],
        at: Sequence[float],
        inside: bool,
    ) -> None:
        """Show image x (C, H, W) with the nets' probabilities (1, K).

        Args:
            rows: classes whose probabilities are shown. at: its coordinates. inside: whether it is in the pixel box.
        """
        where = "(" + ", ".join(number(float(v)) for v in at) + ")"
        words = (
            "inside the pixel box: a picture"
            if inside
            else "outside the pixel box: no picture; pixels are cut at 0 and 1"
        )
        self.frame = {
            **_pictures(x[None]),
            **_answers(answers, rows, classes, 1),
            "words": [f"{where}, L2 from the base", words, "Drag the blue point on a map: each point is an image."],
            "inside": inside,
            "at": [float(v) for v in at],
        }


def _answers(answers: Mapping[str, Tensor], rows: Sequence[int], classes: Sequence[str], many: int) -> dict[str, Any]:
    """Of each net: its probabilities of the classes ``rows``, and the class that it names, at ``many`` images."""
    winner = np.stack([p[:many].argmax(1).numpy() for p in answers.values()])
    return {
        "nets": list(answers),
        "rows": [{"name": _named(classes, k), "colour": class_colour(k)} for k in rows],
        "p": _floats(np.stack([p[:many][:, list(rows)].numpy() for p in answers.values()])),
        "says": [[_named(classes, k) for k in own] for own in winner.tolist()],
    }


def _pictures(x: Tensor) -> dict[str, Any]:
    x = _small(x.detach().cpu())
    x = x if x.shape[1] in (1, 3) else x[:, :3] if x.shape[1] > 3 else x[:, :1]
    pixels = (x.nan_to_num().clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1).contiguous()
    return {"size": [x.shape[3], x.shape[2], x.shape[1]], "images": pixels.numpy().tobytes()}


def _small(x: Tensor) -> Tensor:
    """Images (N, C, H, W) of at most ``LARGEST`` pixels a side."""
    largest = max(x.shape[2:])
    if largest <= LARGEST:
        return x
    size = [max(1, round(v * LARGEST / largest)) for v in x.shape[2:]]
    return F.interpolate(x, size=size, mode="area")


def _signed(values: NDArray[Any]) -> bytes:
    """[-1, 1] as -127 .. 127."""
    return np.round(np.clip(np.nan_to_num(values), -1, 1) * 127).astype(np.int8).tobytes()


def _floats(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def _named(classes: Sequence[str], k: int) -> str:
    return classes[k] or f"class {k}"
