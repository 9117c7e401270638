"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(right: Callable[[], Any], seconds: float = 120) -> None:
    """Wait until ``right()`` is true."""
    limit = time.monotonic() + seconds
    while not right():
        assert time.monotonic() < limit, "it never came to that"
        time.sleep(0.01)
