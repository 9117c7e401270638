"""The status line of a panel."""

from __future__ import annotations

import traitlets

from amkd_viz.panels.view_widget import ViewWidget

__all__ = ["Status"]


class Status(ViewWidget, scripts=["status.js"], style="panel.css"):
    """One line that says what is happening, read aloud when it changes. Brings the style sheet of the whole panel.

    Attributes:
        text: the line. kind: "idle", "busy", "done" or "error".
        share: the share of the work that is done, in [0, 1]; -1 if unknown.
        cancellable: show a Cancel button. cancelled: how often it was pressed.
    """

    text = traitlets.Unicode("").tag(sync=True)
    kind = traitlets.Unicode("idle").tag(sync=True)
    share = traitlets.Float(-1.0).tag(sync=True)
    cancellable = traitlets.Bool(False).tag(sync=True)
    cancelled = traitlets.Int(0).tag(sync=True)

    def say(self, text: str, kind: str = "idle", share: float = -1.0, cancellable: bool = False) -> None:
        """Set the line, in one message to the page."""
        with self.hold_sync():
            self.text, self.kind, self.share, self.cancellable = text, kind, float(share), cancellable
