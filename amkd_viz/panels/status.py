"""The status line of a panel."""

from __future__ import annotations

import traitlets

from amkd_viz.panels.view_widget import ViewWidget

__all__ = ["Status"]


class Status(ViewWidget, scripts=["arrange.js", "coach.js", "svg_pen.js", "leave.js", "status.js"], style="panel.css"):
    """One line that says what is happening, read aloud when it changes. Brings the style sheet of the whole panel.

    Attributes:
        text: the line. kind: "idle", "busy", "done" or "error".
        share: the share of the work that is done, in [0, 1]; -1 if unknown.
        cancellable: show a Cancel button. cancelled: how often it was pressed.
        copied: text for the clipboard. reset: class name of the control to reset, or "".
        helps, names: help and names of the panel's controls, by a class name that each of them has.
        parts: names of the pictures that share one place in a narrow panel; part N has the class ``amkd-part-N``.
        steps: callouts for a first look: [selector of a part of the panel, text].
        greets: name under which a browser remembers that they were closed; "" if they appear on demand only.
        wide: whether the pictures have the whole width. present: whether the panel is laid out for an audience.
    """

    text = traitlets.Unicode("").tag(sync=True)
    kind = traitlets.Unicode("idle").tag(sync=True)
    share = traitlets.Float(-1.0).tag(sync=True)
    cancellable = traitlets.Bool(False).tag(sync=True)
    helps = traitlets.Dict().tag(sync=True)
    cancelled = traitlets.Int(0).tag(sync=True)
    names = traitlets.Dict().tag(sync=True)
    parts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    steps = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    greets = traitlets.Unicode("").tag(sync=True)
    wide = traitlets.Bool(False).tag(sync=True)
    present = traitlets.Bool(False).tag(sync=True)
    copied = traitlets.Unicode("").tag(sync=True)
    reset = traitlets.Unicode("").tag(sync=True)

    def say(self, text: str, kind: str = "idle", share: float = -1.0, cancellable: bool = False) -> None:
        """Set the line, in one message to the page."""
        with self.hold_sync():
            self.text, self.kind, self.share, self.cancellable = text, kind, float(share), cancellable
