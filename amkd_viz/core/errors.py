"""The error that a person reads: one sentence with what is wrong, the value, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "unknown"]


class InputError(ValueError):
    """Bad input, explained in one sentence. The command line prints it and exits with status 2."""


def unknown(kind: str, name: object, allowed: Iterable[str]) -> InputError:
    """Return an InputError for a name that is not among ``allowed``; it offers the nearest names first.

    >>> print(unknown("method", "akmd", ["ce", "kd", "amkd"]))
    Unknown method 'akmd'; did you mean 'amkd' or 'kd'? Allowed: ce, kd, amkd.
    """
    names = list(allowed)
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return InputError(f"Unknown {kind} {str(name)!r}{hint} Allowed: {', '.join(names)}.")
