"""What every view returns: a figure, the arrays it shows, the numbers that say how far to trust it, and a caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from numpy.typing import NDArray

from amkd_viz.core.errors import unknown
from amkd_viz.views.caption import html_caption
from amkd_viz.views.layout import height_of, with_bar
from amkd_viz.views.mark import refuse_others, write_own
from amkd_viz.views.page import bundle, dark_style, revived
from amkd_viz.views.scene import Scene
from amkd_viz.views.theme import in_theme

__all__ = ["WRITERS", "View"]

NOTEBOOK_WIDTH = 940  # of an output cell, in CSS pixels: JupyterLab in a window of 1,300


@dataclass(frozen=True)
class View:
    """A figure with its evidence. It displays itself in a notebook.

    Attributes:
        figure: Plotly figure in the light theme; ``layout.meta``, where set, says how height follows width.
        arrays: what is drawn, as NumPy arrays by name.
        notes: numbers by name that say how far to trust the figure: shares in [0, 1], NaN where undefined.
        caption: what the figure shows and how far to trust it, with units (plain text); it gives those of the notes
            that the figure does not.
        title: a few words.
        scenes: of a view over epochs, one per frame.
    """

    figure: go.Figure
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    caption: str = ""
    title: str = ""
    scenes: tuple[Scene, ...] = ()

    def __repr__(self) -> str:
        numbers = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.notes.items())
        return f"View({self.title or 'untitled'}: {', '.join(self.arrays) or 'no arrays'}; {numbers or 'no notes'})"

    def _ipython_display_(self) -> None:
        """Display the figure and, beneath it, the caption."""
        from IPython.display import HTML, display

        display(self._repr_mimebundle_(), raw=True)
        display(HTML(html_caption(self.caption) + dark_style() + revived(self.for_notebook())))

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return bundle(self.for_notebook()) | {"text/plain": repr(self)}

    def for_notebook(self) -> go.Figure:
        """Return the figure with the height its panels need: an output cell has a width, but no height."""
        made = with_bar(self.figure)
        return made.update_layout(height=height_of(made, NOTEBOOK_WIDTH))

    def in_theme(self, name: str) -> View:
        """Return the same view in "light" or "dark"."""
        return replace(self, figure=in_theme(self.figure, name))

    def save(self, path: str | Path, *, theme: str | None = None, width: int = 1100) -> Path:
        """Write ``.html`` (self-contained, both themes), ``.png`` (at twice the pixels), ``.svg``, ``.npz`` (arrays),
        or, of a view over epochs, ``.gif``; pictures have the caption beneath. An earlier view there is replaced, any
        other file is never overwritten.

        Args:
            theme: "light" or "dark"; by default a page follows the reader's system and a picture is light.
            width: of a picture, in CSS pixels.

        Raises:
            InputError: an unknown suffix; a file there that is not a view; a full disk; or, for pictures, neither a
                browser nor kaleido.
        """
        path = Path(path)
        if path.suffix not in WRITERS:
            raise unknown("file ending", path.suffix, list(WRITERS))
        refuse_others(path)
        return write_own(path, WRITERS[path.suffix](self, theme, width))


# Suffix -> (view, theme, width in CSS pixels) -> content of a file; ``writers`` fills it.
WRITERS: dict[str, Callable[[View, str | None, int], bytes | str]] = {}
