"""Which student is looked at: the newest one, or that of an epoch that a person has chosen."""

from __future__ import annotations

import time
from collections import deque

import ipywidgets as widgets

from amkd_viz.core.errors import InputError
from amkd_viz.runs import Run

__all__ = ["LookBack"]

ECHO = 2.0  # seconds within which a page may say again what it was told


class LookBack:
    """A slider of epochs that follows a training until a person moves it, and again once it stands at the right end.

    Attributes:
        slider: the widget. newest: the newest student is looked at, not an earlier epoch.
    """

    def __init__(self, epochs: int) -> None:
        self.slider = widgets.IntSlider(value=0, min=0, max=epochs, description="epoch")
        self.slider.tooltip, self.slider.layout.width = "look back; at the right end: the newest student", "420px"
        self.newest = True
        self._told: deque[tuple[int, float]] = deque([(0, 0.0)], 20)  # epochs that it was set to here, and when

    def heard(self, epoch: int) -> None:
        """The slider has moved: by a person, or because a page says again what it was told."""
        lately = time.monotonic() - ECHO
        echo = any(told == epoch and when > lately for told, when in self._told)
        self.newest = echo or epoch >= max(told for told, _ in self._told)

    def tell(self, epoch: int) -> None:
        """The slider will be set to ``epoch``, which is no person's choice."""
        self._told.extend((told, time.monotonic()) for told in (self.slider.value, epoch))

    def epoch(self, run: Run | None) -> int:
        """The last epoch up to the slider's of which ``run`` has a snapshot.

        Raises:
            InputError: it has none.
        """
        kept = run.snapshots() if run is not None else []
        if not kept:
            raise InputError("This run has no snapshot of a student yet; train an epoch first.")
        return max((epoch for epoch in kept if epoch <= self.slider.value), default=kept[0])
