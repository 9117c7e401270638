"""Base of the widgets that a view draws in the page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets
from numpy.typing import ArrayLike

from amkd_viz.views.labels import class_name
from amkd_viz.views.theme import class_colour

__all__ = ["STATIC", "ViewWidget", "class_names", "close_whole", "float_bytes", "palette", "script", "serial"]

STATIC = Path(__file__).parent / "static"
SHARED = ("page.js", "view.js")
_serials = count(1)


def script(*names: str) -> str:
    """Join files into one module, after what all views share: a page cannot import a file of the package."""
    parts = dict.fromkeys((*SHARED, *names))
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in parts)


class ViewWidget(anywidget.AnyWidget):
    """Base of widgets that a script of the package draws: ``class W(ViewWidget, scripts=["w.js"], style="w.css")``.

    Attributes:
        empty: text shown while there is nothing to draw.
    """

    empty = traitlets.Unicode("Nothing to draw yet.").tag(sync=True)

    def __init_subclass__(cls, scripts: Sequence[str] = (), style: str = "", **about: Any) -> None:
        if scripts:
            cls._esm = script(*scripts)
        if style:  # as text: anywidget watches a path, and its watcher holds every widget for ever
            cls._css = (STATIC / style).read_text(encoding="utf-8")
        super().__init_subclass__(**about)


def close_whole(widget: Any) -> None:
    """Close a widget with all that ipywidgets keeps for it: children, layout and style.

    The watcher of a script or style sheet (of a plotly ``FigureWidget``) lets go of it, too.
    """
    for child in getattr(widget, "children", ()):
        close_whole(child)
    for part in ("layout", "style"):
        if isinstance(own := getattr(widget, part, None), widgets.Widget):
            own.close()
    files: list[Any] = [vars(kind).get(name) for kind in type(widget).__mro__ for name in ("_esm", "_css")]
    for file in files:
        if hasattr(file, "changed"):
            file.changed.disconnect()
    widget.close()


def serial() -> int:
    """Return a number for a frame: the page carries it as ``data-serial`` once the frame is drawn."""
    return next(_serials)


def class_names(classes: Sequence[str]) -> list[str]:
    """Return the names of all classes as plain text."""
    return [class_name(classes, k) for k in range(len(classes))]


def palette(classes: Sequence[str]) -> list[str]:
    """Return the colours of all classes; at least one."""
    return [class_colour(k) for k in range(max(1, len(classes)))]


def float_bytes(values: ArrayLike) -> bytes:
    """Return numbers as little-endian float32."""
    return np.ascontiguousarray(values, "<f4").tobytes()
