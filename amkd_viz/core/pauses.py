"""Points where a long computation can be paused or ended: between batches, attack steps, evaluation batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["held_seconds", "pausable", "pause_point", "without_pauses"]

_gate: ContextVar[Callable[[], None] | None] = ContextVar("gate", default=None)
_held = threading.local()


def pause_point() -> None:
    """Ask the gate of this thread, if there is one: it may wait, or raise to end what is going on."""
    gate = _gate.get()
    if gate is not None:
        begun = time.perf_counter()
        try:
            gate()
        finally:
            _held.seconds = held_seconds() + time.perf_counter() - begun


def held_seconds() -> float:
    """Return how many seconds this thread has spent paused."""
    return getattr(_held, "seconds", 0.0)


@contextmanager
def pausable(gate: Callable[[], None]) -> Iterator[None]:
    """Let every ``pause_point`` in this context, and in this thread, call ``gate``."""
    token = _gate.set(gate)
    try:
        yield
    finally:
        _gate.reset(token)


@contextmanager
def without_pauses() -> Iterator[None]:
    """Disable the pause points of this thread in this context, for work that must not stop half done."""
    token = _gate.set(None)
    try:
        yield
    finally:
        _gate.reset(token)
