"""Names and numbers as people read them, safe in Plotly text and in HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from amkd_viz.core.escape import for_html as safe

__all__ = [
    "class_label",
    "class_letter",
    "class_name",
    "duration",
    "mean_sd",
    "number",
    "percent",
    "plural",
    "safe",
    "shorten",
    "used_of",
    "value_words",
]

DASH = "\N{EM DASH}"


def shorten(text: str, width: int = 18) -> str:
    """Cut a text to at most ``width`` characters, the last one an ellipsis."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def class_name(classes: Sequence[str], k: int) -> str:
    """Return the name of class ``k``, or its number if it has no name; "undecided" for -1.

    >>> class_name(["cat", ""], 0), class_name(["cat", ""], 1), class_name(["cat", ""], -1)
    ('cat', 'class 1', 'undecided')
    """
    if k < 0:
        return "undecided"
    return (classes[k].strip() if k < len(classes) else "") or f"class {k}"


def class_letter(classes: Sequence[str], k: int) -> str:
    """Return what stands for class ``k`` on a map: its name if that is short, else its index."""
    name = class_name(classes, k)
    return name if len(name) <= 2 else str(k)


def class_label(classes: Sequence[str], k: int, width: int = 18) -> str:
    """Return the name of class ``k``, shortened and escaped."""
    return safe(shorten(class_name(classes, k), width))


def percent(share: float | None, digits: int = 1) -> str:
    """
    >>> print(percent(0.9255), percent(float("nan")))
    92.5 % —
    """
    return DASH if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def number(value: float | None, digits: int = 2) -> str:
    """Format a number with ``digits`` decimals and a true minus sign; a dash for None or NaN.

    >>> number(-0.001), number(-0.01) == number(0.01)
    ('0.00', False)
    """
    if value is None or not math.isfinite(value):
        return DASH
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")  # + 0.0: -0.0 is 0


def plural(count: int, word: str) -> str:
    """
    >>> plural(1, "step"), plural(1200, "step")
    ('1 step', '1,200 steps')
    """
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that fits.

    >>> duration(42), duration(250), duration(7300)
    ('42 s', '4 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def value_words(value: Any) -> str:
    """Return a setting as text: numbers short.

    >>> value_words(1.600000023841858), value_words("all")
    ('1.6', 'all')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


def used_of(used: int, there: int, word: str) -> str:
    """
    >>> used_of(60, 60, "test point"), used_of(400, 1000, "test point")
    ('60 test points', '400 of 1,000 test points, taken evenly from the split')
    """
    return plural(used, word) if used == there else f"{used:,} of {plural(there, word)}, taken evenly from the split"


def mean_sd(mean: float | None, sd: float | None, digits: int = 2, factor: float = 1.0) -> str:
    """
    >>> mean_sd(0.9255, 0.0034, factor=100), mean_sd(0.9255, None, factor=100)
    ('92.55 ± 0.34', '92.55')
    """
    if mean is None or not math.isfinite(mean):
        return DASH
    spread = f" ± {factor * sd:.{digits}f}" if sd is not None and math.isfinite(sd) else ""
    return number(factor * mean, digits) + spread
