"""Locks on open files: the system releases them when the process that holds them ends, killed or not."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["alive", "held", "lock"]

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


def held(path: Path) -> bool:
    """Return whether somebody holds the lock of a file, this process included; False where there are no locks."""
    if fcntl is None:
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: readers do not see each other
    except BlockingIOError:
        return True
    except OSError:  # no such file, or no locks
        return False
    return False


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
