"""A signature in each file that a view or a report writes: only files with it are ever replaced."""

from __future__ import annotations

import zlib
from pathlib import Path

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import explained, write_atomic

__all__ = ["marked", "refuse_others", "write_own"]

PNG, HEADER = b"\x89PNG\r\n\x1a\n", 33  # a PNG's first bytes, and their length with the first chunk
NEAR = 2048  # bytes at the start and end of a file that are searched


def write_own(path: Path, content: bytes | str, kind: str = "view") -> Path:
    """Write a signed file atomically; an earlier one of the same kind is replaced.

    Raises:
        InputError: another file is there, or the disk is full.
    """
    refuse_others(path, kind)
    content = content.encode() if isinstance(content, str) else content
    return write_atomic(path, marked(content, kind), new=not path.exists())


def refuse_others(path: Path, kind: str = "view") -> None:
    """Refuse a path that holds another file, before time is spent on drawing.

    Raises:
        InputError: the file there lacks the signature of this kind, or cannot be read.
    """
    if not path.exists():
        return
    with explained(path), path.open("rb") as file:
        first = file.read(NEAR)
        file.seek(max(0, file.seek(0, 2) - NEAR))
        near = first + file.read()
    if not any(first.startswith(begin) and mark in near for begin, mark in _marks(kind).items()):
        raise InputError(f"{path} exists, was not written as a {kind} and is not overwritten; choose another name.")


def marked(content: bytes, kind: str = "view") -> bytes:
    """Return HTML, PNG, SVG, GIF or .npz content with the signature in it; it looks the same."""
    begin, mark = next((begin, mark) for begin, mark in _marks(kind).items() if content.startswith(begin))
    at = {
        b"<!doctype html>": content.find(b"<head>") + len("<head>"),
        PNG: HEADER,
        b"<svg": len(content),
        b"GIF8": -1,  # before the byte that ends it
        b"PK": -2,  # in place of a comment of no bytes
    }[begin]
    return content[:at] + mark + (content[at:] if begin != b"PK" else b"")


def _marks(kind: str) -> dict[bytes, bytes]:
    """Return how a file begins -> the signature of this kind."""
    word = f"amkd_viz {kind}".encode()
    chunk = b"tEXtSoftware\0" + word
    return {
        b"<!doctype html>": b'\n<meta name="generator" content="' + word + b'">',
        PNG: (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big"),
        b"<svg": b"<!-- " + word + b" -->\n",
        b"GIF8": b"!\xfe" + bytes([len(word)]) + word + b"\0",
        b"PK": len(word).to_bytes(2, "little") + word,
    }
