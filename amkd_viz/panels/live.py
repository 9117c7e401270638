"""Looking at a net while it is trained, without touching it and without slowing it down."""

from __future__ import annotations

import copy
import math
import statistics
import threading
import time
from collections import deque

from amkd_viz.models import Classifier
from amkd_viz.training import EpochEnded, Event, Started, Stepped, Training

__all__ = ["DutyCycle", "LiveStudent", "Pace", "on_cpu"]


FIRST = 2.0  # seconds that a first picture delays the second one at most


class LiveStudent:
    """Hears a training and hands out copies of its student, each taken between two batches in the training's thread.

    Attributes:
        training: what is heard of, or None; its student belongs to its thread.
        epoch, batch, batches: where it is; batch counts from 1. seen: training samples so far.
        teaching: (epoch, epochs) of a teacher that has to be trained first, or None.
    """

    def __init__(self) -> None:
        self.training: Training | None = None
        self.epoch = self.batch = self.batches = self.seen = 0
        self.teaching: tuple[int, int] | None = None
        self._wanted = threading.Event()
        self._taken: Classifier | None = None

    def hear(self, event: Event) -> None:
        """In the training thread; a few microseconds, unless somebody asked for a copy."""
        if isinstance(event, Started):
            recipe = event.training.recipe
            if event.training.teacher is None:
                self.teaching = (0, recipe.epochs)
                return
            self.training, self.teaching = event.training, None
            self.epoch, self.batch = event.training.epoch, event.training.batch
        elif self.teaching is not None:
            if isinstance(event, EpochEnded):
                self.teaching = (event.epoch, self.teaching[1])
            return
        elif isinstance(event, Stepped):
            self.epoch, self.batch, self.batches = event.epoch, event.batch + 1, event.batches
            self.seen += self.training.recipe.batch_size if self.training else 0
        if self.training is not None and self._wanted.is_set():
            self._taken = copy.deepcopy(self.training.student).requires_grad_(False).eval()
            self._wanted.clear()

    def want(self) -> None:
        """Ask for a copy; it will be there some batches later."""
        self._wanted.set()

    def held(self) -> Classifier | None:
        """A copy at once, from any thread: for while the training is held, when it has nothing to tell."""
        return copy.deepcopy(self.training.student).requires_grad_(False).eval() if self.training else None

    def take(self) -> Classifier | None:
        """The copy that was asked for, once."""
        taken, self._taken = self._taken, None
        return taken


class DutyCycle:
    """Lets something cost no more than ``share`` of the time.

    A turn that costs much more than those before it counts as twice theirs, and the first one, which sets libraries up,
    holds the next one up for two seconds at most: neither locks it out.

    Args:
        share: in (0, 1]. least: seconds between two turns, however little they cost.
    """

    def __init__(self, share: float = 0.04, least: float = 0.3) -> None:
        self._share, self._least = share, least
        self._costs: deque[float] = deque(maxlen=9)
        self._next = 0.0

    def due(self) -> bool:
        return time.monotonic() >= self._next

    def spent(self, seconds: float) -> None:
        """A turn has cost so much; the next one waits accordingly."""
        most = 2 * statistics.median(self._costs) if self._costs else FIRST * self._share
        counted = min(seconds, most)
        self._costs.append(seconds)
        self._next = time.monotonic() + max(self._least, counted / self._share)


class Pace:
    """Lets epochs pass no faster than eyes can follow.

    Attributes:
        limit: epochs a second at most; infinity for none. resting: whether a training waits in :meth:`rest` now.
    """

    def __init__(self, limit: float = math.inf) -> None:
        self.limit, self.resting = limit, False
        self._hurry = threading.Event()
        self._last = -math.inf

    def rest(self) -> None:
        """In the training's thread, after an epoch: wait until the next one may begin, or until ``hurry``."""
        self._hurry.clear()
        left = self._last + 1 / self.limit - time.monotonic()
        if left > 0:
            self.resting = True
            self._hurry.wait(left)
            self.resting = False
        self._last = time.monotonic()

    def hurry(self) -> None:
        """A person has given an order: it need not wait for the end of a rest."""
        self._hurry.set()


def on_cpu(net: Classifier) -> Classifier:
    """The net itself if it is there; a copy, if it lives on an accelerator: pictures leave the accelerator alone."""
    return net if next(net.parameters()).device.type == "cpu" else copy.deepcopy(net).cpu()
