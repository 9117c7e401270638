"""Many may read a run, one may write it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amkd_viz.errors import InputError
from amkd_viz.files import explained

__all__ = ["Follower", "locked"]


class Follower:
    """Reads the lines of a growing JSON-lines file, each once, and only whole ones.

    Attributes:
        rewound: whether the last ``poll`` found the file shortened (a run that was resumed takes back what came after
            its checkpoint) and so began again at the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._file: tuple[int, int] | None = None  # device and inode: a rewound file is another file
        self.rewound = False

    def poll(self) -> list[dict[str, Any]]:
        """The lines since the last call; a last line that is still being written waits for the next."""
        try:
            with self._path.open("rb") as file:
                about = os.fstat(file.fileno())
                self.rewound = self._file is not None and (about.st_dev, about.st_ino) != self._file
                self._file = (about.st_dev, about.st_ino)
                if self.rewound:
                    self._offset = 0
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path``; the system lets go of it when the process ends, killed or not.

    Raises:
        InputError: somebody else holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks of this kind; the last writer wins
        yield
        return
    with explained(path), path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise InputError(
                f"{what} is being written by process {holder}; stop that one, or attach to the run by reading it."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
