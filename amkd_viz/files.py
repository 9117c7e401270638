"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amkd_viz.errors import InputError

__all__ = ["append_line", "write_atomic"]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(f"Cannot write {path}: {why}; free some space or choose another folder.") from error


def write_atomic(path: Path, content: bytes | str) -> Path:
    """Write to a temporary name in the same folder, flush to disk, rename: a reader never sees half a file.

    Raises:
        InputError: the disk is full or the folder cannot be written; what stood at ``path`` is untouched.
    """
    content = content.encode() if isinstance(content, str) else content
    temporary = None
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp gives 0600; a run may be read by others
            os.replace(temporary, path)
        except BaseException:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise
    return path


def append_line(path: Path, line: str) -> None:
    """Append one line and flush it; the newline comes last, so a reader knows a whole line by it.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
