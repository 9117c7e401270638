"""The one door for JSON from disk: depth, numbers, texts and shape are checked before anything reads it.

A shape is a type, ``range(low, high)`` for a whole number, ``Between(low, high)`` for a finite number, a list with the
shape of each item, a tuple of shapes of which one fits (None for null), or a dict from keys to shapes. ``"key?"`` is
optional, the key ``str`` stands for all other keys, and keys without a shape are not looked at.
"""

from __future__ import annotations

import json
import math
import reprlib
from pathlib import Path
from typing import Any, NamedTuple

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable

__all__ = ["NUMBER", "SHARE", "Between", "check_text", "checked", "parse", "read"]

DEEPEST = 32  # levels of lists and objects
LARGEST = 64 * 2**20  # bytes of one file or line
KINDS = {str: "a text", bool: "true or false", dict: "an object", list: "a list"}


class Between(NamedTuple):
    """A finite number from ``low`` to ``high``."""

    low: float = -math.inf
    high: float = math.inf


NUMBER, SHARE = Between(), Between(0, 1)


def read(path: Path, what: str, shape: Any, *, format: int | None = None, missing: str = "", repair: str = "") -> Any:
    """Return the content of a JSON file.

    Args:
        what: what the file holds, for messages.
        format: must be its "format", which is compared before the shape.
        missing, repair: what to do if the file does not exist, or is damaged.

    Raises:
        InputError: it does not exist, cannot be read, has another format or another shape.
    """
    with readable(path):
        if not (path.is_file() or path.is_dir()):  # a folder gives the system's own error
            raise InputError(f"{what.capitalize()} not found: {path}{missing and f'; {missing}'}.")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    try:
        value = parse(content, object)
        if format is not None and checked(value, {"format": object})["format"] != format:
            raise InputError(f"{path} has {what} format {unfit(value['format'])}, but this version reads {format}.")
        return checked(value, shape)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} is not a valid {what}: {error}{repair and f'; {repair}'}.") from error


def parse(content: bytes | str, shape: Any) -> Any:
    """Return the value of JSON in UTF-8.

    Raises:
        ValueError: not JSON, NaN or an infinity, a key that stands twice, more than 32 levels or 64 MiB, a whole number
            of more than 64 bits, a text that UTF-8 cannot encode or with a null character, or another shape.
    """
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST:,} bytes")
    text = content.decode() if isinstance(content, bytes) else content
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(f"it has more than {DEEPEST} levels") from None
    waiting = [(value, 1)]
    while waiting:
        value_in, level = waiting.pop()
        if isinstance(value_in, dict | list):
            if level > DEEPEST:
                raise ValueError(f"it has more than {DEEPEST} levels")
            inner = [*value_in, *value_in.values()] if isinstance(value_in, dict) else value_in
            waiting += [(one, level + 1) for one in inner]
        elif isinstance(value_in, str):
            check_text(value_in)
        elif abs(value_in or 0) >= (math.inf if isinstance(value_in, float) else 2**63):
            raise ValueError(f"the number {unfit(value_in)} is too large")
    return checked(value, shape)


def check_text(text: str) -> None:
    """Raise ValueError for a text that no file can be named by: with a null character or half of a surrogate pair."""
    if "\0" in text or not (text.isascii() or all(not "\ud800" <= letter <= "\udfff" for letter in text)):
        raise ValueError(f"the text {unfit(text)} holds a null character or half of a surrogate pair")


def checked(value: Any, shape: Any, name: str = "it") -> Any:
    """Return ``value`` if it has the shape.

    Raises:
        ValueError: it has not; names the place.

    >>> checked({"epoch": 3}, {"epoch": range(0, 10), "text?": str})
    {'epoch': 3}
    >>> checked({"epoch": "3"}, {"epoch": range(0, 10)})
    Traceback (most recent call last):
    ValueError: epoch must be a whole number from 0 to 9, got '3'
    """
    if isinstance(shape, tuple) and not isinstance(shape, Between):
        if value is None and None in shape:  # the usual choice, without the cost of an exception
            return value
        for option in shape[shape[0] is None : -1]:
            try:
                return checked(value, option, name)
            except ValueError:
                pass
        return checked(value, shape[-1], name)
    if isinstance(shape, dict):
        _must(isinstance(value, dict), name, KINDS[dict], value)
        for key, inner in shape.items():
            plain = key.removesuffix("?") if key is not str else ""
            if key is not str and plain in value:
                checked(value[plain], inner, plain)
            elif key is not str and plain == key:
                raise ValueError(f"{name} must have {key!r}, got {unfit(value)}")
        rest = {str(key).removesuffix("?") for key in shape}
        for key in value if str in shape else ():
            if key not in rest:
                checked(value[key], shape[str], key)
    elif isinstance(shape, list):
        _must(isinstance(value, list), name, KINDS[list], value)
        for item in value:
            checked(item, shape[0], f"each of {name}")
    elif isinstance(shape, range):
        whole = isinstance(value, int) and not isinstance(value, bool) and value in shape
        _must(whole, name, f"a whole number from {shape[0]} to {shape[-1]}", value)
    elif isinstance(shape, Between):
        if not (isinstance(value, int | float) and not isinstance(value, bool) and shape.low <= value <= shape.high):
            bounds = "" if shape == NUMBER else f" from {shape.low:g} to {shape.high:g}"
            _must(False, name, f"a number{bounds}", value)
    elif shape is None:
        _must(value is None, name, "null", value)
    else:
        _must(isinstance(value, shape), name, KINDS.get(shape, shape.__name__), value)
    return value


def unfit(value: Any) -> str:
    """Return a short text of any value, for a message."""
    return reprlib.repr(value)


def _must(fits: bool, name: str, words: str, value: Any) -> None:
    if not fits:
        raise ValueError(f"{name} must be {words}, got {unfit(value)}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {unfit(next(key for key in keys if keys.count(key) > 1))} stands twice")
    return found
