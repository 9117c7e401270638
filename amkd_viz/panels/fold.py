"""A group of controls beneath a heading that opens and closes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

import ipywidgets as widgets

from amkd_viz.panels.made_later import MadeLater

__all__ = ["Fold"]


class Fold(widgets.VBox):
    """A heading, and the controls that it opens and closes.

    The page draws only the controls on show: a panel has three times as many, and each costs milliseconds. A control
    whose ``layout.display`` is "none" is not on show.

    Args:
        own: name -> control. opened: whether the controls are on show at first.
        always: names of the controls that the page has even while the fold is closed.
        later: calls what it is given once the controls that are being hidden or shown all are.
    """

    def __init__(
        self,
        heading: str,
        own: Mapping[str, Any],
        opened: bool,
        always: Collection[str],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self.own, self.heading, self.opened, self._always, self._later = own, heading, opened, always, later
        self._fitting = threading.Lock()
        self._inner = widgets.VBox()
        self._opener = widgets.Button(tooltip=f"Show or hide: {heading}")
        self.fit()
        super().__init__([self._opener, self._inner])
        self.add_class("amkd-fold")
        self._opener.on_click(self._turn)

    def watch(self, control: Any) -> None:
        """Follow a control that is hidden or shown."""
        control.layout.observe(lambda _: self._later(self.fit), names="display")

    def fit(self) -> None:
        """Give the page the controls that are on show now."""
        with self._fitting:
            self._opener.description = f"{'▾' if self.opened else '▸'} {self.heading}"
            here = [name for name, control in list(self.own.items()) if control.layout.display != "none"]
            self._inner.children = [self.own[name] for name in here if self.opened or name in self._always]
            self._inner.layout.display = None if self.opened else "none"

    def _turn(self, _: Any) -> None:
        self.opened = not self.opened
        if self.opened and isinstance(self.own, MadeLater):
            self.own.unfold()
        self.fit()
