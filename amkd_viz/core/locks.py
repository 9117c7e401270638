"""Locks on open files: the system releases them when the process that holds them ends, killed or not."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import IO
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["alive", "lock"]

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}  # some network drives
_raw: WeakSet[IO[bytes]] = WeakSet()


def lock(file: IO[bytes], wait: bool = False) -> bool | None:
    """Lock an open file for this process until the file is closed.

    A process that is forked meanwhile gets no share of the lock of an unbuffered file.

    Args:
        wait: wait until another process has released it.

    Returns:
        Whether this process has the lock; None where there are no locks, on Windows and on some network drives.
    """
    if fcntl is None:
        return None
    if not hasattr(file, "raw"):  # closing a buffered file would write what the parent is writing
        _raw.add(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def alive(process: int) -> bool:
    """Return whether a process of this machine exists."""
    if process <= 0:
        return False
    try:
        os.kill(process, 0)
    except PermissionError:  # another user's
        return True
    except (OSError, OverflowError):
        return False
    return True


def _close_in_child() -> None:
    for file in list(_raw):
        with suppress(OSError):
            file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
