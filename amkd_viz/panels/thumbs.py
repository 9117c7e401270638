"""A strip of thumbnails from which an image is chosen, by mouse or by keyboard."""

from __future__ import annotations

from collections.abc import Sequence

import traitlets
from torch import Tensor

from amkd_viz.panels.scatter import atlas
from amkd_viz.panels.view_widget import ViewWidget
from amkd_viz.views.labels import class_name
from amkd_viz.views.theme import class_colour

__all__ = ["Thumbs"]


class Thumbs(ViewWidget, scripts=["thumbs.js"], style="thumbs.css"):
    """One page of thumbnails; the panel sends another one when ``page`` changes.

    Arrow keys choose the next image, Page Up and Page Down turn the page, Shift + click sets ``second``.

    Attributes:
        frame: what :meth:`show` sends. page: the wanted page, from 0.
        chosen: published index of the chosen image, or None. second: the same for the second use.
        uses: labels of the two uses.
    """

    frame = traitlets.Dict().tag(sync=True)
    page = traitlets.Int(0).tag(sync=True)
    chosen = traitlets.Int(None, allow_none=True).tag(sync=True)
    second = traitlets.Int(None, allow_none=True).tag(sync=True)
    uses = traitlets.List(traitlets.Unicode(), ["base", ""]).tag(sync=True)

    def show(
        self, x: Tensor, ids: Sequence[int], labels: Sequence[int], classes: Sequence[str], page: int, pages: int
    ) -> None:
        """Show images x (N, C, H, W) in [0, 1] with their published indices and labels: ``page`` of ``pages``."""
        sprites, tile = atlas(x)
        with self.hold_sync():
            self.page = page
            self.frame = {
                "sprites": sprites,
                "tile": tile,
                "ids": [int(i) for i in ids],
                "names": [class_name(classes, k) for k in labels],
                "colours": [class_colour(int(k)) for k in labels],
                "page": page,
                "pages": pages,
            }
