"""``check("02.a", answer)`` tells whether an answer is right and why, or what to look at again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import Any, NamedTuple

from amkd_viz.core.errors import InputError, unknown

__all__ = ["Exercise", "LookAgain", "Verdict", "check", "choice", "exercise", "exercises", "number"]

TOPICS = {
    "00": "start",
    "01": "boundaries",
    "02": "samples",
    "03": "metric",
    "04": "distilling",
    "05": "comparing",
    "06": "your_own",
}
COLOURS = {True: "#3a7d44", False: "#b3541e", None: "#6b7280"}


class LookAgain(Exception):
    """Raised by a checker: what to look at again."""


class Exercise(NamedTuple):
    """A question, and a checker that returns why an answer is right or raises :class:`LookAgain`."""

    question: str
    why: Callable[[Any], str]


@dataclass(frozen=True)
class Verdict:
    """The result of ``check``, true if the answer is right. ``right`` is None if no answer was given."""

    right: bool | None
    text: str

    def __bool__(self) -> bool:
        return bool(self.right)

    def __repr__(self) -> str:
        return {True: "Right: ", False: "Look again: ", None: "Not answered yet. "}[self.right] + self.text

    def _repr_html_(self) -> str:
        return (
            f'<div style="border-left:4px solid {COLOURS[self.right]};padding:.3em .9em;max-width:50em">'
            f"{escape(repr(self))}</div>"
        )


_known: dict[str, Exercise] = {}


def exercise(name: str, question: str) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    """Register a checker under ``name``, such as "02.a"."""

    def register(why: Callable[[Any], str]) -> Callable[[Any], str]:
        _known[name] = Exercise(question, why)
        return why

    return register


def exercises() -> dict[str, str]:
    """Return every exercise: name -> question."""
    for topic in TOPICS.values():
        import_module(f"exercises.{topic}")
    return {name: _known[name].question for name in sorted(_known)}


def check(name: str, answer: Any = ...) -> Verdict:
    """Check an answer; ``...`` asks the question again.

    Args:
        name: such as "02.a", as in the notebook.
        answer: what the question asks for.

    Raises:
        InputError: ``name`` is unknown.

    >>> check("03.a")
    Not answered yet. d(a, p) = 0.3, ... What is the loss with mining "all"?
    >>> check("03.a", 0.3)
    Look again: that is the mean over the active triplets; with mining "all" the zeros count as well.
    >>> bool(check("03.a", 0.1))
    True
    """
    topic = TOPICS.get(str(name).partition(".")[0])
    if topic is not None:
        import_module(f"exercises.{topic}")
    if name not in _known:
        raise unknown("exercise", name, exercises())
    question, why = _known[name]
    if answer is ...:
        return Verdict(None, question)
    try:
        return Verdict(True, why(answer))
    except LookAgain as hint:
        return Verdict(False, str(hint))
    except InputError as error:  # the library refused the answer and says why
        return Verdict(False, str(error))
    except Exception as error:  # an answer may be anything at all
        return Verdict(False, f"this answer cannot be checked ({type(error).__name__}: {error}). {question}")


def number(answer: Any, what: str = "one number") -> float:
    """Return ``answer`` (a number, or a tensor or array of one element) as a float."""
    try:
        value = float(answer)
    except (TypeError, ValueError, RuntimeError) as error:
        raise LookAgain(f"give {what}, not {answer!r}.") from error
    if value != value:
        raise LookAgain(f"give {what}; NaN is not a number.")
    return value


def choice(answer: Any, allowed: tuple[str, ...]) -> str:
    """Return ``answer`` as one of the words ``allowed``."""
    word = str(answer).strip().lower()
    if word not in allowed:
        raise LookAgain(f"give one of {', '.join(map(repr, allowed))}, not {answer!r}.")
    return word
