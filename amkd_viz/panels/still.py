"""The picture of a panel in the output of its cell, for readers without a kernel."""

from __future__ import annotations

import base64
import io
from uuid import uuid4

from PIL import Image

from amkd_viz.views.labels import safe

__all__ = ["Still", "still_html"]

# While the panel is alive its still is hidden; once it is not, so is what JupyterLab says in its place.
STYLE = (
    ".jp-OutputArea:has(.amkd-panel) .jp-OutputArea-child:has(.amkd-still),"
    ".jp-OutputArea:has(.amkd-still) .jp-OutputArea-output:not([data-mime-type]):not(:has(*)){display:none}"
    ".amkd-still{margin:0}.amkd-still img{max-width:100%;border-radius:4px}"
    ".amkd-still figcaption{max-width:80em;line-height:1.45;color:var(--jp-ui-font-color1,inherit)}"
)


def still_html(title: str, picture: Image.Image | None, words: str, settings: str) -> str:
    """Return a picture and what it shows as HTML.

    Args:
        title: of the panel.
        words: what the picture shows. settings: what it was made with, on one line.
    """
    image = ""
    if picture is not None:
        file = io.BytesIO()
        picture.save(file, "PNG")
        source = base64.b64encode(file.getvalue()).decode()
        image = f'<img alt="{safe(title)}: {safe(words)}" src="data:image/png;base64,{source}">'
    line = f"<br><code>{safe(settings)}</code>" if settings else ""
    return (
        f'<style>{STYLE}</style><figure class="amkd-still">{image}<figcaption><b>{safe(title)}</b> {safe(words)}{line}'
        "<br>A still picture: run the cell for the live panel.</figcaption></figure>"
    )


class Still:
    """An output beside that of the live panel, replaced whenever the panel shows something else.

    It is one of its own: JupyterLab draws a widget anew when its own output is replaced. A panel that is displayed in
    several cells has the same still in each.
    """

    def __init__(self) -> None:
        self._id = ""
        self._text = ""

    @property
    def displayed(self) -> bool:
        return bool(self._id)

    def display(self, text: str) -> None:
        """Display HTML in the cell that is running."""
        from IPython.display import display

        self._text, self._id = text, self._id or uuid4().hex
        display({"text/html": text}, raw=True, display_id=self._id)

    def update(self, text: str) -> None:
        """Replace the HTML, from any thread."""
        from IPython.display import update_display

        if self.displayed and text != self._text:
            self._text = text
            update_display({"text/html": text}, raw=True, display_id=self._id)
