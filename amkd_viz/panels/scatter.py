"""Samples of two nets on one canvas in the page: morphed, hovered, walked and lassoed without the kernel."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.panels.status import STATIC, script
from amkd_viz.views.chosen import Chosen
from amkd_viz.views.raster import image_pixels
from amkd_viz.views.theme import class_colour

__all__ = ["FACTS", "ScatterCanvas", "atlas", "identities"]

ATLAS = 4096  # pixels a side that every browser takes
TILE = 64  # a thumbnail is not larger
FACTS = ("teacher class", "teacher p", "student class", "student p", "d(a, p)", "d(a, n)", "target")


class ScatterCanvas(anywidget.AnyWidget):
    """N samples at their places in the teacher's and in the student's layout.

    A sample is named by its identity, a number that stays whatever is filtered, resampled or sorted: see
    :func:`identities`. ``selection`` is the only one there is: lists and tables beside the canvas read and write it.

    Attributes:
        teacher, student: float32 (N, 2) as bytes. morph: 0 shows the teacher's, 1 the student's places.
        ids: int32 (N,). label: uint16 (N,). boundary: uint8 (N,), 1 for a boundary sample (ring).
        only: classes that are shown; empty for all. Who is filtered out keeps place, identity and selection.
        facts: float32 (N, 7) of ``FACTS`` for tips and tables, NaN where there is none; or empty.
        part: the word before a sample's number. names, palette: of the classes, by index.
        sprites: thumbnails as one PNG; tile: width, height and columns of it.
        selection: identities. picked: the one whose triplets are looked at.
        star: {"negatives": [[identity, misleads], ...]} of the picked sample.
        misleading: [net, anchor, positive, negative] of triplets that the picture contradicts; net 0 or 1.
        theme: "light" or "dark", told by the page. empty: what stands here while there is nothing.
    """

    _esm = script("page.js", "scatter_marks.js", "scatter_draw.js", "scatter.js")
    _css = STATIC / "scatter.css"
    teacher = traitlets.Bytes(b"").tag(sync=True)
    student = traitlets.Bytes(b"").tag(sync=True)
    morph = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    ids = traitlets.Bytes(b"").tag(sync=True)
    label = traitlets.Bytes(b"").tag(sync=True)
    boundary = traitlets.Bytes(b"").tag(sync=True)
    only = traitlets.List(traitlets.Int()).tag(sync=True)
    facts = traitlets.Bytes(b"").tag(sync=True)
    part = traitlets.Unicode("test").tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    palette = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sprites = traitlets.Bytes(b"").tag(sync=True)
    tile = traitlets.List(traitlets.Int()).tag(sync=True)
    selection = traitlets.List(traitlets.Int()).tag(sync=True)
    picked = traitlets.Int(None, allow_none=True).tag(sync=True)
    star = traitlets.Dict().tag(sync=True)
    misleading = traitlets.List(traitlets.List()).tag(sync=True)
    theme = traitlets.Unicode("light").tag(sync=True)
    empty = traitlets.Unicode("Nothing to draw yet.").tag(sync=True)

    def samples(self, chosen: Chosen, names: Sequence[str], part: str = "test") -> None:
        """Other samples: who they are and what they look like. Places are sent by :meth:`places`."""
        kept = set(identities(chosen).tolist()) if part == self.part else set()
        sprites, tile = atlas(chosen.x)
        with self.hold_sync():
            self.teacher = self.student = self.facts = b""
            self.ids = identities(chosen).astype("<i4").tobytes()
            self.label = chosen.label.astype("<u2").tobytes()
            self.boundary = chosen.boundary.astype(np.uint8).tobytes()
            self.names = [name or f"class {k}" for k, name in enumerate(names)]
            self.palette = [class_colour(k) for k in range(len(names))]
            self.sprites, self.tile, self.part = sprites, tile, part
            self.selection = [i for i in self.selection if i in kept]
            self.picked = self.picked if self.picked in kept else None
            self.star, self.misleading = {}, []

    def places(self, teacher: NDArray[Any], student: NDArray[Any], facts: NDArray[Any] | None = None) -> None:
        """(N, 2) each: where the samples are; ``facts`` (N, 7) go with them.

        Raises:
            InputError: not as many as there are samples.
        """
        count = len(self.ids) // 4
        if not len(teacher) == len(student) == count:
            raise InputError(f"There are {count} samples, but {len(teacher)} and {len(student)} places.")
        with self.hold_sync():
            self.teacher, self.student = _floats(teacher), _floats(student)
            if facts is not None:
                self.facts = _floats(facts)

    def select(self, ids: Iterable[int], picked: int | None = None) -> None:
        """Select samples, as a person does with the lasso; those that are not there are left out.

        Args:
            picked: the one whose triplets are drawn; by default the one that is, if it is among them, else the first.
        """
        there = set(np.frombuffer(self.ids, "<i4").tolist())
        chosen = [int(i) for i in ids if int(i) in there]
        if picked is None or picked not in chosen:
            picked = self.picked if self.picked in chosen else (chosen[0] if chosen else None)
        with self.hold_sync():
            self.selection, self.picked = chosen, picked


def identities(chosen: Chosen) -> NDArray[np.int64]:
    """(N,) the published index of a sample of the split; of the boundary sample of base i: -1 - i.

    >>> import numpy as np, torch
    >>> none, two = np.zeros(2, int), np.array([7, 7])
    >>> identities(Chosen(torch.zeros(2, 2), none, none, two, np.array([False, True])))
    array([ 7, -8])
    """
    return np.where(chosen.boundary, -1 - chosen.index, chosen.index)


def atlas(x: Tensor) -> tuple[bytes, list[int]]:
    """One PNG with a thumbnail of each image (N, C, H, W), row after row, and its [width, height, columns] of a tile.

    No side is longer than 4096 pixels; larger images become smaller. Of points there is none: empty.
    """
    if x.ndim != 4 or not len(x):
        return b"", []
    columns = math.ceil(math.sqrt(len(x)))
    height, width = x.shape[2:]
    shrink = min(1.0, min(TILE, ATLAS // columns) / max(height, width))
    height, width = max(1, int(height * shrink)), max(1, int(width * shrink))
    sheet = Image.new("RGB", (columns * width, math.ceil(len(x) / columns) * height))
    for i, image in enumerate(x.cpu().numpy()):
        tile = Image.fromarray(image_pixels(image)).convert("RGB")
        if shrink < 1:
            tile = tile.resize((width, height), Image.Resampling.BOX)
        sheet.paste(tile, (i % columns * width, i // columns * height))
    file = io.BytesIO()
    (sheet.convert("L") if x.shape[1] == 1 else sheet).save(file, "PNG")
    return file.getvalue(), [width, height, columns]


def _floats(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()
