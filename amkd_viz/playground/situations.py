"""Situations to open on the page: what to look at, and the settings that show it. A test checks what they claim."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Situation", "situations"]


class Situation(NamedTuple):
    """A state of the page with a title and a text.

    Attributes:
        changes: settings from the first step on. step: up to which the training is repeated.
    """

    title: str
    text: str
    changes: dict[str, Any]
    seed: int = 0
    labels: int = 100
    step: int = 120


SPIRALS = [
    Situation(
        "The student copies predictions, not the boundary",
        "By kd it is right on nine of ten test points, and still differs from the teacher on a seventh of the map.",
        {"method": "kd"},
    ),
    Situation(
        "The attack overshoots",
        "Steps of three times the way to the boundary: the rings on the student's map land far beyond it.",
        {"method": "bss", "step_size": 3},
        step=30,
    ),
    Situation(
        "KD is enough here",
        "With 400 labelled points kd ends at 99 %. Choose amkd and play again: nothing is left to gain.",
        {"method": "kd"},
        labels=400,
        step=480,
    ),
    Situation(
        "The triplet at work",
        "With seed 2 amkd ends several points ahead. Choose bss and play again to see the map without triplets.",
        {"method": "amkd"},
        seed=2,
    ),
    Situation(
        "One seed lies",
        "With seed 3 kd, bss and amkd end within a point of each other. Move the seed before you believe a winner.",
        {"method": "amkd"},
        seed=3,
    ),
]


def situations(data: str) -> list[dict[str, str]]:
    """Return title, text and link of each situation of a data set; there are some for the spirals alone."""
    return [{"title": s.title, "text": s.text, "hash": _link(data, s)} for s in (SPIRALS if data == "spirals" else [])]


def _link(data: str, s: Situation) -> str:
    log = ";".join(f"0:{key}:{value}" for key, value in s.changes.items())
    return f"#v=1&data={data}&seed={s.seed}&labels={s.labels}&step={s.step}&log={log}"
