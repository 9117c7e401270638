"""A view as the content of a file: one writer per suffix."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from amkd_viz.core.errors import InputError
from amkd_viz.views.caption import captioned, folded, wrapped
from amkd_viz.views.chromium import rendered
from amkd_viz.views.labels import safe
from amkd_viz.views.layout import with_bar
from amkd_viz.views.page import document, spec
from amkd_viz.views.picture import GAP, animation
from amkd_viz.views.theme import in_theme
from amkd_viz.views.view import WRITERS, View

__all__ = ["figure_block"]

FRAME, LAST = 250, 1500  # milliseconds of an animation's frames and of its last one
SIDE = 420  # pixels of a map in an animation


def figure_block(view: View) -> str:
    """Return the HTML of one view: its figure, drawn when the page has loaded, and its caption."""
    text = f"<figcaption>{folded(view.caption)}</figcaption>" if view.caption else ""
    return (
        f'<figure><div class="plot" role="img" aria-label="{safe(view.title or "figure")}"></div>'
        f'<script type="application/json">{spec(with_bar(view.figure))}</script>{text}</figure>'
    )


def _html(view: View, theme: str | None, width: int) -> str:
    return document(view.title or "View", figure_block(view), theme=theme or "auto")


def _rendered(kind: str) -> Callable[[View, str | None, int], bytes]:
    def write(view: View, theme: str | None, width: int) -> bytes:
        return rendered(in_theme(captioned(view.figure, view.caption, width), theme or "light"), kind, width)

    return write


def _npz(view: View, theme: str | None, width: int) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **view.arrays)
    return file.getvalue()


def _gif(view: View, theme: str | None, width: int) -> bytes:
    if not view.scenes:
        raise InputError("Only a view over epochs saves as .gif; see amkd_viz.views.epochs.")
    across = len(view.scenes[0].panels) * (SIDE + GAP) + GAP
    lines = wrapped(view.caption, across)
    frames = [f.quantize(128, dither=Image.Dither.NONE) for f in animation(view.scenes, lines, theme or "light", SIDE)]
    file, times = io.BytesIO(), [FRAME] * (len(frames) - 1) + [LAST]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return file.getvalue()


WRITERS |= {".html": _html, ".png": _rendered("png"), ".svg": _rendered("svg"), ".gif": _gif, ".npz": _npz}
