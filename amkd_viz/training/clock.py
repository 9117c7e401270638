"""Measure how long training steps take: a GPU still works when a call returns, and a paused step does not work."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from amkd_viz.core.pauses import held_seconds

__all__ = ["Clock"]

AHEAD = 2  # steps that the host may be ahead of a GPU: a stop, a pause and a new setting take effect that soon


class Clock:
    """Adds up the seconds of steps: on a CUDA device those between two of its events, elsewhere those until the call
    returns; less those for which a pause point held the step.

    Args:
        seconds: of earlier sessions.
    """

    def __init__(self, device: torch.device, seconds: float = 0.0) -> None:
        self._seconds, self._device = seconds, device
        self._last: deque[float] = deque(maxlen=256)
        self._running: deque[tuple[Any, Any, float]] = deque()  # on a GPU: start, end, seconds held

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time the step that is computed in this context; on a GPU, first wait for all but the last ``AHEAD`` - 1."""
        if len(self._running) >= AHEAD:
            self._running[-AHEAD][1].synchronize()
        held, begun = held_seconds(), time.perf_counter()
        start = self._event()
        try:
            yield
        finally:
            held = held_seconds() - held
            if start is not None:
                self._running.append((start, self._event(), held))
            else:
                self._add(time.perf_counter() - begun - held)

    def _event(self) -> torch.cuda.Event | None:
        """Return an event that is recorded now on the clock's device, which need not be the current one."""
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    @property
    def seconds(self) -> float:
        """Seconds of all steps that the device has finished; never waits for it."""
        while self._running and self._running[0][1].query():
            start, end, held = self._running.popleft()
            self._add(start.elapsed_time(end) / 1000 - held)
        return self._seconds

    @property
    def median(self) -> float:
        """Median of the last steps in seconds; NaN before the first."""
        return statistics.median(self._last) if self.seconds and self._last else float("nan")

    def _add(self, seconds: float) -> None:
        self._seconds += seconds
        self._last.append(seconds)
