"""The progress of a distillation: in numbers, as a share of the whole, and in a sentence."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from amkd_viz.panels.live import LiveStudent
from amkd_viz.panels.memory import memory_words
from amkd_viz.panels.run_log import RunLog
from amkd_viz.views.labels import percent

__all__ = ["Speed", "done_share", "numbers", "words"]


class Speed:
    """Training samples per second, over the last few calls."""

    def __init__(self, calls: int = 16) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=calls)

    def update(self, seen: int) -> float:
        """Take the number of samples so far; return the samples per second, 0 at the first call."""
        self._seen.append((time.monotonic(), seen))
        (begun, before), (until, after) = self._seen[0], self._seen[-1]
        return (after - before) / (until - begun) if until > begun else 0.0


def numbers(live: LiveStudent, speed: float) -> str:
    """Return epoch, batch, speed, time left and memory as HTML; speed in samples per second, or 0 to leave it out."""
    training = live.training
    if training is None or not live.batches:
        return ""
    recipe = training.recipe
    parts = [f"epoch {min(live.epoch + 1, recipe.epochs)}/{recipe.epochs}", f"batch {live.batch}/{live.batches}"]
    left = ((recipe.epochs - live.epoch) * live.batches - live.batch) * recipe.batch_size
    if speed:
        parts += [f"{speed:,.0f} img/s", f"{duration(left / speed)} left"]
    return "&ensp;".join([*parts, memory_words(training.device)])


def done_share(live: LiveStudent, state: str) -> tuple[str, float]:
    """Return the kind of the status line, and the share that is done of what trains now; -1 if unknown."""
    if state != "running":
        return "idle", -1.0
    if live.teaching is not None:
        return "busy", live.teaching[0] / max(1, live.teaching[1])
    if live.training is None or not live.batches:
        return "busy", -1.0
    return "busy", (live.epoch + live.batch / live.batches) / live.training.recipe.epochs


def words(live: LiveStudent, state: str, log: RunLog | None) -> str:
    """Return a sentence on what is happening; ``log`` is that of the run on show."""
    if state in ("paused", "stopping"):
        return f"{state.capitalize()} at epoch {live.epoch + 1}, batch {live.batch}."
    if live.teaching is not None:
        return f"Training the teacher once: epoch {live.teaching[0]} of {live.teaching[1]}; it is kept for later."
    if state == "running" and live.training is None:
        return "Loading data and teacher ..."
    if state == "running":
        lines = reversed(log.lines if log is not None else [])
        metrics: dict[str, Any] = next((line["metrics"] for line in lines if line.get("metrics")), {})
        reached = metrics.get("attack.reached_target")
        about = f" Boundary samples: {percent(reached, 0)} reached their target class." if reached is not None else ""
        return f"Training epoch {live.epoch + 1}.{about}"
    return "Ready: press Start." if log is None else f"{log.run.path}: {log.done} of {log.run.recipe.epochs} epochs."


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that fits.

    >>> duration(42), duration(250), duration(7300)
    ('42 s', '4 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
