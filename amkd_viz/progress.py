"""A progress bar for one or more trainings: runs that are done, method, seed, epoch, images/s, time left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

from amkd_viz.core.escape import for_terminal
from amkd_viz.runs.grid import Counted
from amkd_viz.training import EpochEnded, Event, Recipe, Started, Waiting

__all__ = ["Progress"]


class Progress:
    """Listen to events and show the epochs done. Training a teacher first adds its epochs to the total; while another
    process trains it, the bar says so.

    Args:
        epochs: total number of epochs of all students; a grid adds its own.
    """

    def __init__(self, epochs: int = 0) -> None:
        self._epochs = epochs
        self._count = ""  # of the runs of a grid
        self._bar: tqdm[None] | None = None  # made when the first training starts: it may be refused
        self._recipe: Recipe | None = None

    def __call__(self, event: Event | Counted) -> None:
        if isinstance(event, Counted):
            self._epochs += event.epochs
            self._count = f"{event.done} of {event.total} runs" + f", {event.failed} failed" * bool(event.failed)
            self._recipe = None  # of what trains in this process
            if self._bar is not None:
                self._bar.set_postfix_str("", refresh=False)
                self._show(self._count)
        elif isinstance(event, Waiting):
            self._show(event.text).refresh()
        elif isinstance(event, Started):
            self._recipe = event.training.recipe
            teacher = event.training.teacher is None
            what = f"teacher {self._recipe.student}" if teacher else f"{self._recipe.method} seed {self._recipe.seed}"
            name = for_terminal(f"{self._recipe.dataset}: {what}")
            bar = self._show(", ".join(filter(None, [self._count, name])))
            if teacher:
                bar.total += self._recipe.epochs - event.training.epoch
        elif isinstance(event, EpochEnded):
            bar = self._show()
            if self._recipe is not None:
                speed = f"epoch {event.epoch}/{self._recipe.epochs}, {event.metrics['images_per_s']:,.0f} images/s"
                bar.set_postfix_str(speed, refresh=False)
            bar.update()

    def _show(self, text: str | None = None) -> tqdm[None]:
        """Return the bar, with this description if there is one."""
        if self._bar is None:
            self._bar = tqdm(
                desc=text or self._count,
                total=self._epochs,
                file=sys.stderr,
                mininterval=0.2 if sys.stderr.isatty() else 15,  # in a log file, a line now and then
                bar_format="{desc} |{bar:20}| {n_fmt}/{total_fmt} epochs, {remaining} left{postfix}",
            )
        if text is not None:
            self._bar.set_description_str(text, refresh=False)
        return self._bar

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
