"""A race in a thread of its own: start, hold, one epoch, another race; at a pace that eyes can follow."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator

from amkd_viz.core.pauses import pausable
from amkd_viz.panels.worker import Worker
from amkd_viz.runs import Race
from amkd_viz.training import EpochEnded, Event

__all__ = ["Abandoned", "Racing"]


class Abandoned(Exception):
    """Newer settings are waiting, or the panel is closed."""


class Racing:
    """Drives one :class:`Race` at a time.

    Args:
        name: of the thread. failed: as of ``Worker``.
        heard: called in the thread after each event, with the method and the event.
        lapped: called in the thread when all methods have done an epoch, with the seconds that are left until the
            next one may begin.
        turned: called whenever ``state`` is another.

    Attributes:
        race: the one that is driven, or None. pace: epochs a second at most; infinity for none.
        state: "waiting" (no race), "ready", "racing", "held", "over" or "failed".
    """

    def __init__(
        self,
        name: str,
        failed: Callable[[str], None],
        heard: Callable[[str, Event], None],
        lapped: Callable[[float], None],
        turned: Callable[[], None],
    ) -> None:
        self.race: Race | None = None
        self.pace = math.inf
        self.state = "waiting"
        self.worker = Worker(name, failed)
        self._heard, self._lapped, self._turned = heard, lapped, turned
        self._turns: Iterator[tuple[str, Event]] | None = None
        self._hold = threading.Event()  # to stop after this event; also ends the wait for the next epoch
        self._one_epoch = False

    def prepare(self, make: Callable[[], Race], ready: Callable[[], None]) -> None:
        """Drop the race that is on, and make another. ``make`` is ended early at a pause point when a newer one is
        asked for; ``ready`` runs in the thread when it is there."""
        self._hold.set()

        def task() -> None:
            self._drop()
            try:
                with pausable(self._gate):
                    self.race = make()
                    ready()
            except Abandoned:
                return
            except BaseException:
                self._turn("failed")
                raise
            self._turns = self.race.events()
            self._turn("ready")

        self.worker.ask("prepare", task)

    def start(self, one_epoch: bool = False) -> None:
        """Go on, to the end or through one epoch."""
        self._one_epoch = one_epoch
        self._hold.clear()
        self.worker.ask("race", self._go)

    def pause(self) -> None:
        """Hold after the step that is being taken."""
        self._hold.set()

    def close(self) -> None:
        """End the thread; what it is at ends at the next pause point."""
        self._hold.set()
        self.worker.ask("drop", self._drop)  # a generator is closed in the thread that runs it
        self.worker.wait(2.0)
        self.worker.close()

    def _gate(self) -> None:
        if self.worker.waits("prepare", "drop"):
            raise Abandoned

    def _drop(self) -> None:
        if self._turns is not None:
            self._turns.close()  # type: ignore[attr-defined]
        self._turns, self.race = None, None
        self._turn("waiting")

    def _turn(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._turned()

    def _go(self) -> None:
        if self.race is None or self._turns is None or self.state == "over":
            return
        self._turn("racing")
        begun = time.monotonic()
        try:
            while not self._hold.is_set():
                turn = next(self._turns, None)
                if turn is None:
                    break
                self._heard(*turn)
                event = turn[1]
                if isinstance(event, EpochEnded) and self.race.epoch == event.epoch:
                    left = begun + 1 / self.pace - time.monotonic()
                    self._lapped(left)
                    if self._one_epoch and event.epoch < self.race.recipe.epochs:
                        self._hold.set()
                    self._hold.wait(max(0.0, min(left, begun + 1 / self.pace - time.monotonic())))
                    begun = time.monotonic()
        except BaseException:
            self._turn("failed")
            raise
        self._turn("over" if self.race.over else "held")
