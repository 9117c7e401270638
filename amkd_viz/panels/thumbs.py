"""A strip of thumbnails from which an image is chosen, by mouse or by keyboard."""

from __future__ import annotations

from collections.abc import Sequence

import anywidget
import traitlets
from torch import Tensor

from amkd_viz.panels.scatter import atlas
from amkd_viz.panels.status import STATIC, script
from amkd_viz.views.theme import class_colour

__all__ = ["Thumbs"]


class Thumbs(anywidget.AnyWidget):
    """One page of thumbnails; whoever owns it sends another when ``page`` changes.

    Arrow keys walk and choose, Page Up and Page Down turn the page; with Shift an image is chosen for a second use.

    Attributes:
        frame: what :meth:`show` sends. page: from 0, of the page that is wanted.
        chosen: published index of the image that is chosen, or None. second: the same of the other use.
        uses: words for the two uses. empty: what stands here while there is nothing.
    """

    _esm = script("page.js", "thumbs.js")
    _css = STATIC / "thumbs.css"
    frame = traitlets.Dict().tag(sync=True)
    page = traitlets.Int(0).tag(sync=True)
    chosen = traitlets.Int(None, allow_none=True).tag(sync=True)
    second = traitlets.Int(None, allow_none=True).tag(sync=True)
    uses = traitlets.List(traitlets.Unicode(), ["base", ""]).tag(sync=True)
    empty = traitlets.Unicode("No image to choose from yet.").tag(sync=True)

    def show(
        self, x: Tensor, ids: Sequence[int], labels: Sequence[int], names: Sequence[str], page: int, pages: int
    ) -> None:
        """Show images x (N, C, H, W) in [0, 1] with their published indices and classes: page ``page`` of ``pages``."""
        sprites, tile = atlas(x)
        with self.hold_sync():
            self.page = page
            self.frame = {
                "sprites": sprites,
                "tile": tile,
                "ids": [int(i) for i in ids],
                "names": [names[k] or f"class {k}" for k in labels],
                "colours": [class_colour(int(k)) for k in labels],
                "page": page,
                "pages": pages,
            }
