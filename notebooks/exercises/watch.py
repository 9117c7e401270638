"""One line that moves while something trains: what is trained, how far it is, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from html import escape
from threading import Lock, Thread
from typing import Any

from IPython import get_ipython
from IPython.display import display

from amkd_viz.runs.grid import Counted
from amkd_viz.training import EpochEnded, Event, Finished, Recipe, Started, Stepped, Waiting

__all__ = ["Watch"]

OFTEN = 0.1  # seconds between two drawings of the line
LOADING = 120  # seconds that are counted before the first event


class Watch:
    """Listen to trainings and keep one line under the cell up to date; it is there before the first event.

    >>> watch = Watch()  # doctest: +SKIP
    >>> runs = [example("spirals", method, listen=watch) for method in watch.over(["kd", "bss"])]  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._recipe: Recipe | None = None
        self._lock, self._text = Lock(), ""
        self._what, self._student, self._count, self._trained = "", "", "", False
        self.here()

    def here(self) -> None:
        """Show the line beneath this cell from now on, for a training that goes on."""
        self._output: Any = None
        self._begun, self._drawn, self._ended = time.monotonic(), 0.0, False
        self._say(self._what or "Loading the data and the networks")
        if self._recipe is None:
            Thread(target=self._tick, daemon=True).start()
            if (shell := get_ipython()) is not None:
                shell.events.register("post_run_cell", self._cell_ended)

    def _cell_ended(self, result: Any) -> None:
        """End the line of a cell that had nothing to train: its runs were on disk."""
        get_ipython().events.unregister("post_run_cell", self._cell_ended)
        if self._recipe is None and not self._ended:
            self._say("Read from disk." if result.success else "Stopped.", ends=True)

    def _tick(self) -> None:
        """Count the seconds until the first event: loading takes a while and has no events."""
        for _ in range(LOADING):
            time.sleep(1)
            with self._lock:
                if self._recipe is not None or self._ended:
                    return
                self._draw(self._text, None)

    def over(self, methods: Sequence[str]) -> Iterator[str]:
        """Yield each of ``methods`` with its number in the line; at the end say whether any had to be trained."""
        for number, method in enumerate(methods, 1):
            self._student = f"Student {number} of {len(methods)}, {method}"
            self._say(f"{self._student}: loading")
            yield method
        how = f"trained in {time.monotonic() - self._begun:.0f} s" if self._trained else "read from disk"
        self._say(f"{len(methods)} student{'s' * (len(methods) > 1)}, {how}.", ends=True)

    def __call__(self, event: Event | Counted) -> None:
        """Show an event of a training, or of a grid of them."""
        if isinstance(event, Counted):
            self._count = f"{event.done} of {event.total} runs. "
            if event.done == event.total:
                self._say("All are trained.", ends=True)
        elif isinstance(event, Waiting):
            self._say(event.text)
        elif isinstance(event, Started):
            self._trained, self._recipe = True, event.training.recipe
            self._what = f"Training the teacher, {self._recipe.student}"
            if event.training.teacher is not None:
                self._what = self._student or f"Training {self._recipe.method}, seed {self._recipe.seed}"
                self._what += ", with the attack" * ("boundary" in self._recipe.objective.batches())
            self._say(self._what, share=0)
        elif isinstance(event, Stepped | EpochEnded) and self._recipe is not None:
            done = event.epoch if isinstance(event, EpochEnded) else event.epoch + (event.batch + 1) / event.batches
            if time.monotonic() - self._drawn > OFTEN or done == self._recipe.epochs:
                share = done / self._recipe.epochs
                self._say(f"{self._what}: epoch {-(-done // 1):.0f} of {self._recipe.epochs}", share=share)
        elif isinstance(event, Finished):
            self._say(f"{self._what}: done", share=1)

    def _say(self, text: str, share: float | None = None, ends: bool = False) -> None:
        with self._lock:
            self._text, self._ended = text, ends
            self._draw(text, share)

    def _draw(self, text: str, share: float | None) -> None:
        self._drawn = time.monotonic()
        line = f"{self._count}{text}" + ("" if self._ended else f" ({self._drawn - self._begun:.0f} s)")
        bar = "" if share is None else f'<progress value="{share:.3f}" max="1"></progress> '
        shown = {"text/html": f'<div class="amkd-watch">{bar}{escape(line)}</div>', "text/plain": line}
        if self._output is None:
            self._output = display(shown, raw=True, display_id=True)  # None outside a notebook
        else:
            self._output.update(shown, raw=True)
