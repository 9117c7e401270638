"""Samples in the layouts of two nets, on one canvas."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.panels.view_widget import ViewWidget, class_names, float_bytes, palette
from amkd_viz.views.chosen import Chosen
from amkd_viz.views.raster import image_pixels

__all__ = ["FACTS", "ScatterCanvas", "atlas", "identities"]

ATLAS = 4096  # longest side, in pixels, that every browser accepts
TILE = 64  # longest side of a thumbnail
FACTS = ("teacher class", "teacher p", "student class", "student p", "d(a, p)", "d(a, n)", "target")


class ScatterCanvas(
    ViewWidget,
    scripts=["svg_pen.js", "pen.js", "scatter_marks.js", "scatter_draw.js", "scatter.js"],
    style="scatter.css",
):
    """N samples at their places in the teacher's and in the student's layout. Morph, hover, arrow keys and lasso happen
    in the page, without the kernel.

    A sample has an identity, a number that filtering, resampling and sorting leave as it is: see :func:`identities`.
    Lists and tables beside the canvas read and write its ``selection``.

    Attributes:
        teacher, student: float32 (N, 2) as bytes. morph: 0 shows the teacher's places, 1 the student's.
        ids: int32 (N,). label: uint16 (N,). boundary: uint8 (N,), 1 for a boundary sample (ring).
        only: classes that are shown; empty for all. Hidden samples keep place, identity and selection.
        facts: float32 (N, 7) of ``FACTS`` for tips and tables, NaN if undefined; or empty.
        part: the word before a sample's number. names, palette: of the classes, by index.
        sprites: thumbnails as one PNG; tile: width, height and number of columns of it.
        selection: identities. picked: the one whose triplets are shown.
        star: {"negatives": [[identity, misleads], ...]} of the picked sample.
        misleading: [net, anchor, positive, negative] of triplets that the map contradicts; net 0 or 1.
    """

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

    def samples(self, chosen: Chosen, classes: Sequence[str], part: str = "test") -> None:
        """Show other samples; their places follow by :meth:`places`."""
        ids = identities(chosen)
        kept = set(ids.tolist()) if part == self.part else set()
        sprites, tile = atlas(chosen.x)
        with self.hold_sync():
            self.teacher = self.student = self.facts = b""
            self.ids = ids.astype("<i4").tobytes()
            self.label = chosen.label.astype("<u2").tobytes()
            self.boundary = chosen.boundary.astype(np.uint8).tobytes()
            self.names, self.palette = class_names(classes), palette(classes)
            self.sprites, self.tile, self.part = sprites, tile, part
            self.selection = [i for i in self.selection if i in kept]
            self.picked = self.picked if self.picked in kept else None
            self.star, self.misleading = {}, []

    def places(self, teacher: NDArray[Any], student: NDArray[Any], facts: NDArray[Any] | None = None) -> None:
        """Place the samples: (N, 2) per net, and ``facts`` (N, 7).

        Raises:
            InputError: the number of places is not that of the samples.
        """
        count = len(self.ids) // 4
        if not len(teacher) == len(student) == count:
            raise InputError(
                f"Both nets must have a place for each of {count} samples, got {len(teacher)} and {len(student)}."
            )
        with self.hold_sync():
            self.teacher, self.student = float_bytes(teacher), float_bytes(student)
            if facts is not None:
                self.facts = float_bytes(facts)

    def select(self, ids: Iterable[int], picked: int | None = None) -> None:
        """Select samples, as the lasso does; identities that are not on the map are left out.

        Args:
            picked: the sample whose triplets are shown; by default the present one if it is selected, else the first.
        """
        there = set(np.frombuffer(self.ids, "<i4").tolist())
        chosen = [int(i) for i in ids if int(i) in there]
        if picked is None or picked not in chosen:
            picked = self.picked if self.picked in chosen else (chosen[0] if chosen else None)
        with self.hold_sync():
            self.selection, self.picked = chosen, picked


def identities(chosen: Chosen) -> NDArray[np.int64]:
    """Return identities (N,): the published index of a sample, and -1 - i for the boundary sample of base i.

    >>> import numpy as np, torch
    >>> none, two = np.zeros(2, int), np.array([7, 7])
    >>> identities(Chosen(torch.zeros(2, 2), none, none, two, np.array([False, True])))
    array([ 7, -8])
    """
    return np.where(chosen.boundary, -1 - chosen.index, chosen.index)


def atlas(x: Tensor) -> tuple[bytes, list[int]]:
    """Return a PNG with a thumbnail of each image (N, C, H, W), row by row, and [width, height, columns] of its tiles.

    No side is longer than 4096 pixels; larger images are shrunk. Points have no thumbnails: both results are empty.
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
