"""The status line of a panel: what is happening, in words; it carries the look of the whole panel with it."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

__all__ = ["STATIC", "Status", "script"]

STATIC = Path(__file__).parent / "static"


def script(*names: str) -> str:
    """Parts of one module: a page cannot import from a file of ours."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


class Status(anywidget.AnyWidget):
    """One line at the bottom, read aloud when it changes.

    Attributes:
        text: what is happening. kind: "idle", "busy", "done" or "error".
        share: of the work that is done, in [0, 1]; -1 where nobody knows.
        cancellable: whether a button offers to end it. cancelled: how often that button was pressed.
        theme: "light" or "dark": told by the page.
    """

    _esm = STATIC / "status.js"
    _css = STATIC / "panel.css"
    text = traitlets.Unicode("").tag(sync=True)
    kind = traitlets.Unicode("idle").tag(sync=True)
    share = traitlets.Float(-1.0).tag(sync=True)
    cancellable = traitlets.Bool(False).tag(sync=True)
    cancelled = traitlets.Int(0).tag(sync=True)
    theme = traitlets.Unicode("light").tag(sync=True)

    def say(self, text: str, kind: str = "idle", share: float = -1.0, cancellable: bool = False) -> None:
        """All at once, in one message."""
        with self.hold_sync():
            self.text, self.kind, self.share, self.cancellable = text, kind, float(share), cancellable
