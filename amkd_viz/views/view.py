"""What every view is: a figure, the arrays it shows, the numbers that say how far to trust it, and a sentence."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from amkd_viz.core.errors import unknown
from amkd_viz.views.layout import height_of
from amkd_viz.views.mark import refuse_others, write_own
from amkd_viz.views.output import bundle, words
from amkd_viz.views.theme import in_theme

__all__ = ["View"]

NOTEBOOK_WIDTH = 940  # of an output cell, in CSS pixels: JupyterLab in a window of 1,300


@dataclass(frozen=True)
class View:
    """A picture with its evidence. In a notebook it shows itself.

    Attributes:
        figure: Plotly figure in the light theme; ``layout.meta``, where set, says how height follows width.
        arrays: what is drawn, as NumPy arrays by name.
        notes: fidelity numbers by name: shares in [0, 1], NaN where there is none.
        caption: what one looks at and how faithful it is, in words and with units (plain text); what of the notes the
            figure does not say, it says.
        title: a few words.
    """

    figure: go.Figure
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    caption: str = ""
    title: str = ""

    def __repr__(self) -> str:
        numbers = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.notes.items())
        return f"View({self.title or 'untitled'}: {', '.join(self.arrays) or 'no arrays'}; {numbers or 'no notes'})"

    def _ipython_display_(self) -> None:
        """The figure and, beneath it, the caption: a figure's own output has no room for words."""
        from IPython.display import HTML, display

        display(self._repr_mimebundle_(), raw=True)
        if text := words(self.caption):
            display(HTML(text))

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return bundle(self.for_notebook())

    def for_notebook(self) -> go.Figure:
        """The figure with the height its panels need: an output cell has a width, but no height of its own."""
        return go.Figure(self.figure).update_layout(height=height_of(self.figure, NOTEBOOK_WIDTH))

    def in_theme(self, name: str) -> View:
        """The same view in "light" or "dark"."""
        return replace(self, figure=in_theme(self.figure, name))

    def save(self, path: str | Path, *, theme: str | None = None, width: int = 1100) -> Path:
        """Write ``.html`` (self-contained, both themes), ``.png`` (at twice the pixels), ``.svg``, ``.npz`` (arrays),
        or, of a view over epochs, ``.gif``; pictures have the caption beneath. An earlier view there is replaced, any
        other file is kept.

        Args:
            theme: "light" or "dark"; by default a page follows its reader's system and a picture is light.
            width: of a picture, in CSS pixels.

        Raises:
            InputError: another ending; a file there that no view wrote; a full disk; or, for pictures, no browser and
                no kaleido to draw them.
        """
        path = Path(path)
        refuse_others(path)
        return write_own(path, self._content(path.suffix, theme, width))

    def _content(self, ending: str, theme: str | None, width: int) -> bytes | str:
        from amkd_viz.views.captioned import captioned
        from amkd_viz.views.export import picture
        from amkd_viz.views.page import document, figure_block

        if ending == ".html":
            return document(self.title or "View", figure_block(self), theme=theme or "auto")
        if ending in (".png", ".svg"):
            figure = captioned(self.figure, self.caption, width)
            return picture(in_theme(figure, theme or "light"), ending[1:], width)
        if ending == ".npz":
            file = io.BytesIO()
            np.savez_compressed(file, allow_pickle=False, **self.arrays)
            return file.getvalue()
        if ending == ".gif":
            from amkd_viz.views.epochs import gif

            return gif(self, theme or "light")
        raise unknown("file ending", ending, [".html", ".png", ".svg", ".gif", ".npz"])
