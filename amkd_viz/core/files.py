"""Files that are written whole or not at all, and never over what is not theirs."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from amkd_viz.core.errors import InputError
from amkd_viz.core.locks import lock

__all__ = ["address", "append_line", "check_writable", "claim", "explained", "files_below", "readable", "write_atomic"]

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
URL = re.compile(r"([A-Za-z][\w+.-]+):(?:/+(.*))?", re.DOTALL)  # C:/ is a drive
PART = ".amkd-part"  # ends the hidden name of a file that is being written


def address(path: str | Path) -> str | None:
    """Return the URL that a path is, such as s3://BUCKET/FOLDER (``Path`` writes s3:/BUCKET/FOLDER); else None.

    >>> address(Path("s3://bucket/grid")), address(Path("runs/grid"))
    ('s3://bucket/grid', None)
    """
    found = URL.fullmatch(path.as_posix() if isinstance(path, Path) else path)
    return found and f"{found[1]}://{'/' if found[1] in ('file', 'local') else ''}{found[2] or ''}"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a failure to write into an InputError."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        advice = "free some space or choose" if error.errno in FULL else "choose"
        raise InputError(f"Cannot write {path}: {why}; {advice} another folder.") from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn a failure to read into an InputError that names the file in the system's error, else ``path``."""
    try:
        yield
    except OSError as error:
        where, why = error.filename or path, error.strerror or str(error)
        raise InputError(f"{where} cannot be read: {why}; check its permissions and those of its folders.") from error


def claim(path: Path, replace: Callable[[Path], object] | None = None) -> Path:
    """Return ``path`` if writing there overwrites nothing: it does not exist, or is an empty folder.

    Args:
        replace: reads a file, or raises InputError; a file that it accepts may be replaced.

    Raises:
        InputError: ``path`` exists and may not be replaced, or is a URL.
    """
    if (url := address(path)) is not None:
        raise InputError(f"{url} is not on this machine; only 'compare' and 'tune' train into a URL: give a path here.")
    with readable(path):
        if not path.exists() or (path.is_dir() and all(file.name.endswith(PART) for file in path.iterdir())):
            return path
        what = "another run" if (path / "config.json").exists() else "other files" if path.is_dir() else "a file"
    taken = InputError(f"{path} holds {what} and is never overwritten; choose another name.")
    if replace is None or path.is_dir():
        raise taken
    try:
        replace(path)
    except InputError as error:
        raise taken from error
    return path


def check_writable(folder: Path) -> None:
    """Check that a file can be made in ``folder``, or in its nearest existing parent; call it before hours of work.

    Raises:
        InputError: it cannot.
    """
    with explained(folder):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        tempfile.TemporaryFile(dir=existing).close()


def files_below(folder: Path) -> list[Path]:
    """Return every file in ``folder`` and its subfolders, sorted; an empty list if the folder does not exist.

    Raises:
        InputError: a folder cannot be read (``Path.glob`` treats it as empty).
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    with readable(folder):
        return sorted(Path(base, name) for base, _, names in os.walk(folder, onerror=refuse) for name in names)


def write_atomic(path: Path, content: bytes | str, *, new: bool = False, flush: bool = True) -> Path:
    """Write a file so that readers see all of it or none: to a temporary name, flushed to disk, then renamed.

    What killed writers have left in the folder is removed first.

    Args:
        new: refuse to replace a file, even one that another process is creating at this moment.
        flush: wait until the disk has the content. Without it, a power cut, but no kill, may lose the file.

    Raises:
        InputError: the disk is full, the folder is not writable, or ``new`` and ``path`` exists. ``path`` is unchanged.
    """
    content = content.encode() if isinstance(content, str) else content
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts(path.parent)
        with _part(path) as file:
            temporary = Path(file.name)
            try:
                file.write(content)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
                if os.name == "nt":  # an open file is not renamed there
                    file.close()
                if not (new and _linked(temporary, path)):
                    os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
    return path


def _part(path: Path) -> IO[bytes]:
    """Return a new file beside ``path``, locked until it is closed: that tells that its writer lives."""
    while True:
        file = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PART}").open("xb")
        with suppress(OSError):
            lock(file, wait=True)
        if Path(file.name).exists():
            return file
        file.close()  # another writer removed it before it was locked


def _remove_parts(folder: Path) -> None:
    for part in folder.glob(f".*{PART}"):
        with suppress(OSError), part.open("r+b") as file:
            if lock(file):
                part.unlink()


def _linked(temporary: Path, path: Path) -> bool:
    """Rename by a hard link, which fails if ``path`` exists; return False on a drive without hard links."""
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
    """Append one line. The newline is written last, so a reader can tell a complete line.

    Raises:
        InputError: the disk is full or the folder is not writable; the file is truncated to its previous length.
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
