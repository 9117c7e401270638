"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from amkd_viz.core.errors import InputError

__all__ = [
    "append_line",
    "check_writable",
    "explained",
    "files_below",
    "parsed",
    "readable",
    "replace_own",
    "write_atomic",
]

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Within, a failure to write is an InputError."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        way_out = "free some space or choose" if error.errno in FULL else "choose"
        raise InputError(f"Cannot write {path}: {why}; {way_out} another folder.") from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Within, a failure to read is an InputError; it names the file that the system names, else ``path``."""
    try:
        yield
    except OSError as error:
        where, why = error.filename or path, error.strerror or str(error)
        raise InputError(f"{where} cannot be read: {why}; look at its rights and those of its folders.") from error


@contextmanager
def parsed(path: Path, what: str, advice: str) -> Iterator[None]:
    """Within, ``path`` is read and understood: where it is not there, cannot be read or is no ``what``, a sentence."""
    try:
        with readable(path):
            if not path.is_file():
                raise InputError(f"There is no {what} {path}; {advice}.")
            yield
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no {what}, or damaged ({error}).") from error


def replace_own(path: Path, content: str, what: str, read: Callable[[Path], object]) -> Path:
    """Write ``content``, whole or not at all; an earlier ``what`` there, which ``read`` takes, is replaced.

    Raises:
        InputError: another file is there, or the disk is full.
    """
    if path.exists():
        try:
            read(path)
        except InputError as error:
            raise InputError(f"{path} is no {what} of this version and is not replaced; choose a new name.") from error
    return write_atomic(path, content)


def check_writable(folder: Path) -> None:
    """Before hours of work, not after: a file can be made in ``folder``, or in the nearest one above that is there.

    Raises:
        InputError: it cannot.
    """
    with explained(folder):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        tempfile.TemporaryFile(dir=there).close()


def files_below(folder: Path) -> list[Path]:
    """Every file in a folder and in those below it, sorted; none where there is no folder.

    Raises:
        InputError: a folder cannot be read, over which ``Path.glob`` would pass as if it were empty.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    with readable(folder):
        return sorted(Path(base, name) for base, _, names in os.walk(folder, onerror=refuse) for name in names)


def write_atomic(path: Path, content: bytes | str, *, new: bool = False) -> Path:
    """Write to a temporary name in the same folder, flush to disk, rename: a reader never sees half a file.

    Args:
        new: take no other file's place, also not that of one which another process writes at this moment.

    Raises:
        InputError: the disk is full, the folder cannot be written, or a ``new`` file is there already; what stood at
            ``path`` is untouched.
    """
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if not (new and _linked(temporary, path)):
                os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    return path


def _linked(temporary: Path, path: Path) -> bool:
    """Give the file its name only if nobody has it; False on a drive without hard links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    with suppress(OSError):
        temporary.unlink()
    return True


def append_line(path: Path, line: str) -> None:
    """Append one line at once; the newline comes last, so a reader knows a whole line by it.

    Raises:
        InputError: the disk is full or the folder cannot be written; the file ends where it ended before.
    """
    content = f"{line}\n".encode()
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while content:  # a disk that fills up takes a part first
                    content = content[file.write(content) :]
            except BaseException:
                file.truncate(before)  # half a line would spoil the next
                raise
