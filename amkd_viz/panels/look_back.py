"""Which student is on show: the newest one, or that of an epoch that a person has chosen."""

from __future__ import annotations

import time
from collections import deque

import ipywidgets as widgets

from amkd_viz.core.errors import InputError
from amkd_viz.runs import Run

__all__ = ["LookBack"]

ECHO = 2.0  # seconds within which a page may send back a value that was set here


class LookBack:
    """A slider of epochs that follows a training until a person moves it, and again once it stands at the right end.

    Attributes:
        slider: the widget.
        newest: whether the newest student is on show, not that of an earlier epoch.
    """

    def __init__(self, epochs: int) -> None:
        self.slider = widgets.IntSlider(value=0, min=0, max=epochs, description="epoch")
        self.slider.tooltip, self.slider.layout.width = "look back; at the right end: the newest student", "420px"
        self.newest = True
        self._sent: deque[tuple[int, float]] = deque([(0, 0.0)], 20)  # epochs that were set here, and when

    def heard(self, epoch: int) -> None:
        """Take a move of the slider: by a person, or an echo of a value that was set here."""
        lately = time.monotonic() - ECHO
        echo = any(sent == epoch and when > lately for sent, when in self._sent)
        self.newest = echo or epoch >= max(sent for sent, _ in self._sent)

    def tell(self, epoch: int) -> None:
        """Announce that the slider will be set to ``epoch`` by the panel."""
        self._sent.extend((sent, time.monotonic()) for sent in (self.slider.value, epoch))

    def epoch(self, run: Run | None) -> int:
        """Return the last epoch up to the slider's of which ``run`` has a snapshot.

        Raises:
            InputError: there is no snapshot.
        """
        epochs = run.snapshots() if run is not None else []
        if not epochs:
            raise InputError("This run has no snapshot of a student yet; train an epoch first.")
        return max((epoch for epoch in epochs if epoch <= self.slider.value), default=epochs[0])
