"""A fixture that takes away a file's rights, also for root, who may otherwise read everything.

A test module takes it with ``pytest_plugins = ["rights"]``.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

VERSION, OVERRIDE, SEARCH = 0x20080522, 1 << 1, 1 << 2  # linux/capability.h: what lets root pass over rights


@pytest.fixture
def locked_up() -> Iterator[Callable[..., None]]:
    """``locked_up(path, mode=0)``; all rights come back at the end."""
    if os.name != "posix":
        pytest.skip("rights are another matter there")
    root = os.geteuid() == 0
    if root and not (sys.platform == "linux" and _passes_over(False)):
        pytest.skip("root may read everything here")
    before: dict[Path, int] = {}

    def lock(path: Path, mode: int = 0) -> None:
        before.setdefault(path, path.stat().st_mode)
        path.chmod(mode)

    yield lock
    if root:
        _passes_over(True)
    for path, mode in reversed(before.items()):
        path.chmod(mode)


def _passes_over(rights: bool) -> bool:
    """Whether this thread, and those that it starts, could be given (or rid of) root's passing over rights."""
    libc = ctypes.CDLL(None)
    header, sets = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable
    if libc.capget(header, sets):
        return False
    sets[0] = sets[0] | OVERRIDE | SEARCH if rights else sets[0] & ~(OVERRIDE | SEARCH)
    sets[0] &= sets[1]
    return libc.capset(header, sets) == 0
