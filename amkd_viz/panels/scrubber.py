"""A slider over the epochs of which a run has snapshots, with a player."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from amkd_viz.panels.panel import Panel

__all__ = ["Scrubber"]


class Scrubber:
    """Choose the epoch of the students on show; ``panel`` hears of it as of its control ``epoch``.

    Call :meth:`register` once the panel is assembled.

    Args:
        epochs: those there are, at least one. more: widgets at the right.

    Attributes:
        slider, play: the widgets. row: both.
    """

    def __init__(self, panel: Panel, epochs: Sequence[int], *more: Any, description: str = "epoch") -> None:
        self._panel = panel
        self.slider = widgets.SelectionSlider(
            options=list(epochs),
            value=epochs[-1],
            description=description,
            tooltip="number of epochs that the student was trained for",
            style={"description_width": "104px"},
            layout={"flex": "1 1 auto", "width": "auto"},
        )
        about = {"interval": 900, "tooltip": "play the epochs", "show_repeat": False}
        self.play = widgets.Play(value=len(epochs) - 1, **_range(epochs), **about)
        panel._beside.append(widgets.jslink((self.play, "value"), (self.slider, "index")))
        self.row = widgets.HBox([self.play, self.slider, *more])
        self.row.add_class("amkd-scrubber")

    def register(self) -> None:
        """Make the slider a control of the panel."""
        self._panel.controls["epoch"] = self.slider
        self._panel.listen("epoch")

    def offer(self, epochs: Sequence[int], value: int | None = None) -> None:
        """In the paint thread: offer other epochs, and stand at ``value``, by default the last."""
        self.row.layout.display = None if len(epochs) > 1 else "none"
        for trait, number in _range(epochs).items():
            setattr(self.play, trait, number)
        value = epochs[-1] if value is None else value
        self._panel.put("epoch", options=list(epochs))  # first, by itself: the page holds a value to the range before
        self._panel.put("epoch", value=value)
        self.play.value = list(epochs).index(value)  # else the page would move the slider to where the player stands


def _range(epochs: Sequence[int]) -> dict[str, int]:
    """Return the range of the player: all epochs in about twenty steps."""
    last = len(epochs) - 1
    return {"max": last, "step": max(1, last // 20)}
