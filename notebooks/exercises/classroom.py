"""What a class predicted: a file per student in a folder, numbers that a lecturer types, and both as a picture."""

from __future__ import annotations

import getpass
import json
import re
from collections import Counter
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.files import write_atomic

__all__ = ["add", "drawn", "guesses", "share"]

LARGEST = 1000  # bytes of a file that is read
BINS, LEFT = 20, 40  # of the histogram; pixels beside the scale, for its ends
INK, OWN, TRUE = "#6b7280", "#2b62c4", "#3a7d44"
_where: list[Path] = []  # folder of the class, and the file name of this student


def share(folder: str | Path, student: str = "") -> None:
    """Write each prediction that is locked from now on to ``folder``, one file per student, and show those of all.

    Args:
        folder: a folder that the class can write to.
        student: name of the file; by default that of the user.
    """
    name = re.sub(r"\W+", "-", student or getpass.getuser()).strip("-") or "student"
    _where[:] = [Path(folder), Path(f"{name}.json")]


def guesses(name: str, *typed: Any) -> str:
    """Show what the class predicted: the files in the shared folder, and what is typed here from a show of hands.

    Args:
        name: a prediction, such as "01.share". typed: a number or a word per student.

    Raises:
        InputError: ``name`` is unknown, or a typed guess does not fit the question.
    """
    from IPython.display import HTML, display

    from exercises.predictions import questions

    known = questions()
    if name not in known:
        raise unknown("prediction", name, known)
    asked = known[name]
    for guess in typed:
        _typed.setdefault(name, []).append(asked.read(guess))
    display(HTML(drawn(asked, None, None) or "No prediction yet."))
    return f"{len(_all(asked))} predictions"


_typed: dict[str, list[Any]] = {}


def add(name: str, guess: Any) -> None:
    """Write a locked prediction to the folder of the class, if there is one."""
    if _where:
        folder, file = _where
        write_atomic(folder / name / file, json.dumps(guess))


def _all(asked: Any) -> list[Any]:
    """Return the predictions of the class; files that hold none are left out."""
    found = list(_typed.get(asked.name, ()))
    for path in sorted((_where[0] / asked.name).glob("*.json")) if _where else ():
        with suppress(OSError, ValueError, TypeError, InputError):
            if path.stat().st_size <= LARGEST:
                found.append(asked.read(json.loads(path.read_text(encoding="utf-8"))))
    return found


def drawn(asked: Any, guess: Any, truth: Any) -> str:
    """Return a picture as HTML: one's own guess and the truth on a line, over a histogram of the class; "" if empty."""
    every = [] if asked.of else _all(asked)
    if asked.choices:
        if not every:
            return ""
        counts = Counter(every)
        rows = [
            _rect(150, 22 * i, 200 * counts[word] / max(counts.values()), 16, TRUE if word == truth else INK)
            + _text(145, 22 * i + 13, word, "end")
            + _text(356, 22 * i + 13, str(counts[word]))
            for i, word in enumerate(asked.choices)
        ]
        return _image(420, 22 * len(rows), rows, f"Predictions of the class: {dict(counts)}")
    if asked.of or (guess is None and not every):
        return ""

    def at(v: float) -> float:
        return LEFT + 480 * (v - asked.low) / (asked.high - asked.low)

    bins = Counter(min(BINS - 1, int(BINS * (v - asked.low) / (asked.high - asked.low))) for v in every)
    parts = [
        _rect(LEFT + 480 / BINS * i, 60 - 40 * n / max(bins.values()), 480 / BINS - 2, 40 * n / max(bins.values()), INK)
        for i, n in bins.items()
    ]
    parts.append(_rect(LEFT, 60, 480, 2, INK))
    if guess is not None and truth is not None:
        parts.append(_rect(min(at(guess), at(truth)), 64, abs(at(guess) - at(truth)), 3, OWN))
    for value, word, colour, y in ((guess, "you", OWN, 84), (truth, "truth", TRUE, 98)):
        if value is not None:
            parts += [
                _rect(at(value) - 2, 50, 4, 22, colour),
                _text(at(value), y, f"{word} {value:.3g}", "middle"),
            ]
    parts += [_text(LEFT - 6, 65, f"{asked.low:g}", "end"), _text(LEFT + 486, 65, f"{asked.high:g}")]
    what = f"You {guess}, truth {truth}, class {every}" if every else f"You {guess}, truth {truth}"
    return _image(480 + 2 * LEFT, 104, parts, what)


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0, width):.1f}" height="{height:.1f}" fill="{colour}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="currentColor">{escape(words)}</text>'


def _image(width: int, height: int, parts: list[str], what: str) -> str:
    return (  # in the page, not a picture file: its letters have the colour of the page's, light or dark
        f'<svg class="amkd-guesses" role="img" aria-label="{escape(what, quote=True)}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12">{"".join(parts)}</svg>'
    )
