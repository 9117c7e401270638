"""Looking at a net while it trains, without touching it and without slowing it down, and at its earlier epochs."""

from __future__ import annotations

import copy
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets as widgets

from amkd_viz.core.errors import InputError
from amkd_viz.data import parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import Classifier
from amkd_viz.runs import Run
from amkd_viz.training import EpochEnded, Event, Started, Stepped, Training, Waiting

__all__ = ["Abandoned", "DutyCycle", "LiveStudent", "LookBack", "Pace", "Pulse", "Unshown", "duty_for", "on_cpu"]

FIRST = 2.0  # maximum delay in seconds of the second picture by a first one, which sets libraries up
ECHO = 2.0  # seconds within which a page may send back a value that was set here


class Abandoned(Exception):
    """Newer settings are waiting, or the panel is closed."""


class LiveStudent:
    """Listens to a training and hands out copies of its student, taken between two batches in the training thread.

    Attributes:
        training: the training, or None; its student belongs to its thread.
        epoch, batch, batches: where it is; batch counts from 1.
        seen: number of training samples so far.
        ended: whether the last epoch is over, so that the student is tested.
        taken_epoch: epochs that the student of the last copy had done.
        teaching: (epoch, epochs) of a teacher that has to be trained first, or None.
        waiting: what another process trains for this training, in a sentence, or "".
    """

    def __init__(self) -> None:
        self.training: Training | None = None
        self.epoch = self.batch = self.batches = self.seen = 0
        self.ended, self.taken_epoch = False, 0
        self.teaching: tuple[int, int] | None = None
        self.waiting = ""
        self._wanted = threading.Event()
        self._taken: Classifier | None = None

    def hear(self, event: Event) -> None:
        """Take a few microseconds of the training thread, or those of a copy if one is wanted."""
        self.waiting = event.text if isinstance(event, Waiting) else ""
        if isinstance(event, Started):
            recipe = event.training.recipe
            if event.training.teacher is None:
                self.teaching = (event.training.epoch, recipe.epochs)
                return
            self.training, self.teaching, self.ended = event.training, None, False
            self.epoch, self.batch = event.training.epoch, event.training.batch
        elif self.teaching is not None:
            if isinstance(event, EpochEnded):
                self.teaching = (event.epoch, self.teaching[1])
            return
        elif isinstance(event, Stepped):
            self.epoch, self.batch, self.batches = event.epoch, event.batch + 1, event.batches
            self.seen += self.training.recipe.batch_size if self.training else 0
        elif isinstance(event, EpochEnded):
            self.ended = self.training is not None and event.epoch >= self.training.recipe.epochs
        if self._wanted.is_set():
            self._taken, self.taken_epoch = self.copy_now(), self.training.epoch if self.training else 0
            self._wanted.clear()

    def want(self) -> None:
        """Ask for a copy, which is taken after the next batch."""
        self._wanted.set()

    def copy_now(self) -> Classifier | None:
        """Return a copy at once, from any thread: while the training is paused."""
        return copy.deepcopy(self.training.student).requires_grad_(False).eval() if self.training else None

    @property
    def copied(self) -> bool:
        """Whether there is a copy to take."""
        return self._taken is not None

    def take(self) -> Classifier | None:
        """Return the copy that was asked for, once."""
        taken, self._taken = self._taken, None
        return taken


def duty_for(dataset: str) -> DutyCycle:
    """Return the budget of the live maps of a data set: those of points are cheap and come six times a second."""
    return DutyCycle(0.1, 0.16) if parse_name(dataset)[0] in PROBLEMS else DutyCycle()


class DutyCycle:
    """Limits work to a share of the time.

    A turn that costs much more than those before it counts as twice theirs, and the first one, which sets libraries up,
    delays the next one by two seconds at most: neither locks it out.

    Args:
        share: in (0, 1].
        least: minimum number of seconds between two turns.
    """

    def __init__(self, share: float = 0.04, least: float = 0.3) -> None:
        self._share, self._least = share, least
        self._costs: deque[float] = deque(maxlen=9)
        self._next = 0.0

    def due(self) -> bool:
        """Whether the next turn may begin."""
        return time.monotonic() >= self._next

    @contextmanager
    def turn(self, free: bool = False) -> Iterator[None]:
        """Within, count the processor time of this thread as a turn; ``free`` does not count it."""
        begun = time.thread_time()
        yield
        if not free:
            self.spent(time.thread_time() - begun)

    def spent(self, seconds: float) -> None:
        """Count a turn that took ``seconds``; delay the next one accordingly."""
        most = 2 * statistics.median(self._costs) if self._costs else FIRST * self._share
        self._costs.append(seconds)
        self._next = time.monotonic() + max(self._least, min(seconds, most) / self._share)


class Unshown(DutyCycle):
    """Tells when to show what was read: within a budget, and at once while a training rests.

    Args:
        pace: of the training.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace, self._waits = pace, False

    def add(self, new: bool) -> None:
        """Note that something new was read."""
        self._waits = self._waits or new

    def due(self, at_once: bool = False) -> bool:
        """Whether something waits, and its turn may begin."""
        return self._waits and (at_once or self._pace.resting or super().due())

    @contextmanager
    def turn(self, free: bool = False) -> Iterator[None]:
        """Within, show all that waits; what is shown while the training rests costs it nothing."""
        self._waits = False
        with super().turn(free or self._pace.resting):
            yield


class Pace:
    """Lets epochs pass no faster than eyes can follow.

    Attributes:
        limit: maximum number of epochs per second; infinity for no limit.
        resting: whether a training waits in :meth:`rest` now.
    """

    def __init__(self, limit: float = math.inf) -> None:
        self.limit, self.resting = limit, False
        self._hurry = threading.Event()
        self._last = -math.inf

    def rest(self) -> None:
        """In the training thread, after an epoch: wait until the next one may begin, or until ``hurry``."""
        self._hurry.clear()
        left = self._last + 1 / self.limit - time.monotonic()
        if left > 0:
            self.resting = True
            self._hurry.wait(left)
            self.resting = False
        self._last = time.monotonic()

    def hurry(self) -> None:
        """End a rest: a person has pressed a button."""
        self._hurry.set()


class Pulse:
    """Calls ``beat`` every ``seconds`` in a daemon thread; ``beat`` must only ask for work."""

    def __init__(self, beat: Callable[[], None], seconds: float = 0.1) -> None:
        self._stopped = threading.Event()

        def work() -> None:
            while not self._stopped.wait(seconds):
                beat()

        threading.Thread(target=work, name="amkd_viz pulse", daemon=True).start()

    def stop(self) -> None:
        """Stop beating. Idempotent."""
        self._stopped.set()


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


def on_cpu(net: Classifier) -> Classifier:
    """Return the net itself if it is on the CPU, else a copy: pictures leave the accelerator alone."""
    return net if next(net.parameters()).device.type == "cpu" else copy.deepcopy(net).cpu()
