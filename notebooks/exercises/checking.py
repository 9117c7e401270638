"""``check("02.b", answer)`` tells whether an answer is right, or what to look at again; ``hint("02.b")`` helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from amkd_viz.core.errors import InputError, unknown

__all__ = [
    "Exercise",
    "LookAgain",
    "NotAnswered",
    "Verdict",
    "check",
    "choice",
    "exercise",
    "exercises",
    "hint",
    "number",
]

TOPICS = {
    "00": "start",
    "01": "boundaries",
    "02": "samples",
    "03": "metric",
    "04": "distilling",
    "05": "comparing",
    "06": "your_own",
    "07": "many",
    "08": "teachers",
}
ANSWERS = Path(__file__).parent.parent / "instructor" / "answers.md"  # not in a copy for students
COLOURS = {True: "#3a7d44", False: "#b3541e", None: "#6b7280"}


class LookAgain(InputError):
    """Raised by a checker: what to look at again."""


class NotAnswered(Exception):
    """Raised by a checker of a function that is not written yet."""


class Exercise(NamedTuple):
    """A question, a checker that returns why an answer is right or raises :class:`LookAgain`, and two hints."""

    question: str
    why: Callable[[Any], str]
    hints: tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """The result of ``check``, true if the answer is right. ``right`` is None if no answer was given."""

    right: bool | None
    text: str
    lead: str = "Not answered yet. "

    def __bool__(self) -> bool:
        return bool(self.right)

    def __repr__(self) -> str:
        return {True: "Right: ", False: "Look again: ", None: self.lead}[self.right] + self.text

    def _repr_html_(self) -> str:
        return (
            f'<div style="border-left:4px solid {COLOURS[self.right]};padding:.3em .9em;max-width:50em;'
            f'white-space:pre-line">'
            f"{escape(repr(self))}</div>"
        )


_known: dict[str, Exercise] = {}
_given: dict[str, int] = {}  # hints so far


def exercise(
    name: str, question: str, hints: tuple[str, str]
) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    """Register a checker under ``name``, such as "02.b"; the second hint says more than the first."""

    def register(why: Callable[[Any], str]) -> Callable[[Any], str]:
        _known[name] = Exercise(question, why, hints)
        return why

    return register


def exercises() -> dict[str, str]:
    """Return every exercise: name -> question."""
    for topic in (*TOPICS.values(), "build"):
        import_module(f"exercises.{topic}")
    return {name: _known[name].question for name in sorted(_known)}


def check(name: str, answer: Any = ...) -> Verdict:
    """Check an answer; ``...`` asks the question again, "hint" gives a hint.

    Args:
        name: such as "02.b", as in the notebook.
        answer: what the question asks for.

    Raises:
        InputError: ``name`` is unknown.

    >>> check("03.b")
    Not answered yet. d(a, p) = 0.3, ... What is the loss with mining "all"?
    >>> check("03.b", 0.3)
    Look again: that is the mean over the active triplets; with mining "all" the zeros count as well.
    >>> bool(check("03.b", 0.1))
    True
    """
    question, why, _ = _exercise(name)
    if answer is ...:
        return Verdict(None, question)
    if isinstance(answer, str) and answer == "hint":
        return hint(name)
    try:
        return Verdict(True, why(answer))
    except NotAnswered:
        return Verdict(None, question)
    except InputError as error:  # a hint of ours, or the library refused the answer and says why
        return Verdict(False, str(error))
    except Exception as error:  # an answer may be anything at all
        return Verdict(False, f"this answer cannot be checked ({type(error).__name__}: {error}). {question}")


def hint(name: str) -> Verdict:
    """Give a first hint, at the next call a second one, then the answer where the lecturer's part is at hand.

    Raises:
        InputError: ``name`` is unknown.
    """
    hints, count = _exercise(name).hints, _given.get(name, 0)
    _given[name] = count + 1
    if count < len(hints):
        return Verdict(None, f"Hint {count + 1} of {len(hints)}: {hints[count]}", lead="")
    if not ANSWERS.exists():
        return Verdict(None, "There is no further hint. Your lecturer has the answers.", lead="")
    text = ANSWERS.read_text(encoding="utf-8").partition(f"### {name}\n")[2].partition("\n#")[0]
    return Verdict(None, f"The answer: {text.replace('```python', '').replace('```', '').strip()}", lead="")


def _exercise(name: str) -> Exercise:
    if name not in exercises():
        raise unknown("exercise", name, exercises())
    return _known[name]


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
