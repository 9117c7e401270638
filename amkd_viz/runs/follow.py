"""Follow a run that is being written: many readers, one writer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import explained, readable
from amkd_viz.core.locks import alive, lock

__all__ = ["Follower", "Held", "locked"]


class Follower:
    """Reads the lines of a growing JSON-lines file, each once, and only whole ones.

    A line that is not a JSON object is replaced by a note, with the line's number as ``damaged``.

    Attributes:
        rewound: whether the last ``poll`` found the file changed before where it had read to (a run that was resumed
            takes back what came after its checkpoint) and so began again at the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = self._count = 0  # bytes and lines that have been read
        self._last = b""  # the last line of them: other bytes there are another file's, even if it has the old inode
        self._file: tuple[int, int] | None = None  # device and inode: a rewound file is another file
        self.rewound = False

    def poll(self) -> list[dict[str, Any]]:
        """The lines since the last call; a last line that is still being written waits for the next.

        Raises:
            InputError: the file is there, but cannot be read.
        """
        self.rewound = False
        with readable(self._path):
            content = self._unread()
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        found = [self._read(line, self._count + number) for number, line in enumerate(lines, 1) if line.strip()]
        self._offset += sum(map(len, lines))
        self._count += len(lines)
        self._last = lines[-1] if lines else self._last
        return found

    def _unread(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                about = os.fstat(file.fileno())
                file.seek(self._offset - len(self._last))
                same_end = file.read(len(self._last)) == self._last
                self.rewound = self._file is not None and (self._file != (about.st_dev, about.st_ino) or not same_end)
                self._file = (about.st_dev, about.st_ino)
                if self.rewound:
                    self._offset, self._count, self._last = 0, 0, b""
                    file.seek(0)
                return file.read()
        except FileNotFoundError:
            return b""

    def _read(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError:  # or not UTF-8
            found = None
        if isinstance(found, dict):
            return found
        return {"kind": "note", "text": f"Line {number} of {self._path} is damaged and left out.", "damaged": number}


class Held(InputError):
    """Another writer has the lock."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path``; the system releases it when the process ends, killed or not.

    Where there are no such locks, on Windows and on some network drives, the last writer wins.

    Raises:
        Held: another process or thread holds it.
        InputError: the file cannot be written.
    """
    with explained(path):
        file = path.open("ab+", buffering=0)  # what cannot be written is not tried again when it is closed
    with file:
        with explained(path):
            if lock(file) is False:
                file.seek(0)
                text = file.read(20).decode(errors="replace")
                holder = f"process {text}" if text.isdecimal() and alive(int(text)) else "another process"
                raise Held(f"{what} is being written by {holder}; stop that one, or attach to the run by reading it.")
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        yield
