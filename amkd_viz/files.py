"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import InputError

__all__ = ["write_atomic"]


def write_atomic(path: Path, content: bytes | str) -> Path:
    """Write to a temporary name in the same folder, flush to disk, rename: a reader never sees half a file.

    Raises:
        InputError: the disk is full or the folder cannot be written; what stood at ``path`` is untouched.
    """
    content = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(
            f"Cannot write {path}: {error.strerror or error}; free some space or choose another folder."
        ) from error
    return path
