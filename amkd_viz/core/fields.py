"""Frozen dataclasses whose fields say what they accept; flags, sliders and checks read the same metadata."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from typing import Any

import numpy as np

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.parse import check_text

__all__ = ["Fields", "option"]

KINDS: dict[type, str] = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def option(default: Any, help: str, **about: Any) -> Any:
    """Return a dataclass field with a default and the metadata that ``Fields`` checks.

    Args:
        help: one phrase, shown by ``--help`` and beside a slider.
        about: ``low`` and ``high`` (inclusive), ``choices`` (anything with ``in``), ``words`` that are possible beside
            numbers, or marks of your own.
    """
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"help": help, **about})
    return field(default=default, metadata={"help": help, **about})


class Fields:
    """Base of frozen dataclasses that check and convert their fields.

    A field annotated ``bool``, ``int``, ``float`` or ``str`` (or one of them ``| None``) is converted to that type
    where nothing is lost, and must lie between ``low`` and ``high`` or among ``choices`` of its metadata.

    Raises:
        InputError: a field has a value that it does not accept; names the field, the value and what is allowed.
    """

    @property
    def prefix(self) -> str:
        """What stands before a field's name in messages, such as ``"kd."``."""
        return ""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = check(self.prefix + f.name, getattr(self, f.name), f.type, f.metadata)
            object.__setattr__(self, f.name, value)

    def overrides_of_default(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        found = {}
        for f in fields(self):  # type: ignore[arg-type]
            default = f.default_factory() if callable(f.default_factory) else f.default
            if (value := getattr(self, f.name)) != default:
                found[f.name] = value
        return found

    def __repr__(self) -> str:
        """Return the code that makes this object: the fields that differ from their defaults."""
        inner = ", ".join(f"{name}={value!r}" for name, value in self.overrides_of_default().items())
        return f"{type(self).__name__}({inner})"


def check(name: str, value: Any, annotation: Any, about: Mapping[str, Any]) -> Any:
    """Return ``value`` in the type of its annotation, checked against ``about``; see ``Fields``."""
    words = getattr(annotation, "__name__", str(annotation)).replace(" ", "").split("|")
    kind = next((kind for kind in KINDS if kind.__name__ in words), None)
    if value is None and "None" in words:
        return None
    if isinstance(value, str) and value in about.get("words", ()):
        return value
    if kind is not None:
        value = _converted(name, value, kind, about.get("words", ()))
    if "choices" in about and value not in about["choices"]:
        raise unknown(name, value, about["choices"])
    low, high = about.get("low", -math.inf), about.get("high", math.inf)
    if isinstance(value, int | float) and not low <= value <= high:
        if math.isinf(high):
            raise InputError(f"{name} must be at least {low:g}, got {value:g}.")
        raise InputError(f"{name} must be between {low:g} and {high:g}, got {value:g}.")
    return value


def _converted(name: str, value: Any, kind: type, words: Sequence[str] = ()) -> Any:
    if isinstance(value, bool | np.bool_) or kind is bool:
        if isinstance(value, bool | np.bool_) and kind is bool:
            return bool(value)
    elif kind is str:
        if isinstance(value, str | os.PathLike):
            try:
                check_text(os.fspath(value))
            except ValueError as error:
                raise InputError(f"{name}: {error}.") from error
            return os.fspath(value)
    elif not isinstance(value, str):
        try:
            if kind(value) == value:
                return kind(value)
        except (TypeError, ValueError, OverflowError):
            pass
    raise InputError(f"{name} must be {' or '.join([KINDS[kind], *words])}, got {value!r}.")
