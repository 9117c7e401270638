"""A progress bar for one or more trainings: method, seed, epoch, images/s, time left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

from amkd_viz.core.escape import for_terminal
from amkd_viz.training import EpochEnded, Event, Recipe, Started, Waiting

__all__ = ["Progress"]


class Progress:
    """Listen to events and show the epochs done. Training a teacher first adds its epochs to the total; while another
    process trains it, the bar says so.

    Args:
        epochs: total number of epochs of all students.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._bar: tqdm[None] | None = None  # made when the first training starts: it may be refused
        self._recipe: Recipe | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self._show(event.text).refresh()
        elif isinstance(event, Started):
            self._recipe = event.training.recipe
            teacher = event.training.teacher is None
            what = f"teacher {self._recipe.student}" if teacher else f"{self._recipe.method} seed {self._recipe.seed}"
            bar = self._show(for_terminal(f"{self._recipe.dataset}: {what}"))
            if teacher:
                bar.total += self._recipe.epochs - event.training.epoch
        elif isinstance(event, EpochEnded) and self._bar is not None and self._recipe is not None:
            speed = f"epoch {event.epoch}/{self._recipe.epochs}, {event.metrics['images_per_s']:,.0f} images/s"
            self._bar.set_postfix_str(speed, refresh=False)
            self._bar.update()

    def _show(self, text: str) -> tqdm[None]:
        if self._bar is None:
            self._bar = tqdm(
                desc=text,
                total=self._epochs,
                file=sys.stderr,
                mininterval=0.2 if sys.stderr.isatty() else 15,  # in a log file, a line now and then
                bar_format="{desc} |{bar:20}| {n_fmt}/{total_fmt} epochs, {remaining} left{postfix}",
            )
        self._bar.set_description_str(text, refresh=False)
        return self._bar

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
