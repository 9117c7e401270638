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


DIGITS = [
    Situation(
        "The teacher has too little weight",
        "Published weights are for 50,000 images. With eight times the weight kd has about 84 %. With the published "
        "weights neither kd nor amkd comes near: set the weight back to 1 and play again.",
        {"method": "kd", "kd": 8},
        seed=1,
        labels=50,
        step=200,
    ),
    Situation(
        "The published step is too long",
        "The attack makes steps of 0.3, so the boundary samples in the strip lie far from their images. A shorter step "
        "was measured for this teacher: press Start again, choose bss and make 30 steps to compare.",
        {"method": "bss", "step_size": 0.3},
        labels=50,
        step=30,
    ),
    Situation(
        "One draw of fifty images",
        "With seed 1 kd ends several points lower than with seed 0, because its fifty images teach less. Compare "
        "methods within a seed.",
        {"method": "kd"},
        seed=1,
        labels=50,
        step=200,
    ),
]
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


OF_DATA = {"spirals": SPIRALS, "digits": DIGITS}


def situations(data: str) -> list[dict[str, str]]:
    """Return title, text and link of each situation of a data set; there are some for the spirals and the digits."""
    return [{"title": s.title, "text": s.text, "hash": _link(data, s)} for s in OF_DATA.get(data, [])]


def _link(data: str, s: Situation) -> str:
    log = ";".join(f"0:{key}:{value}" for key, value in s.changes.items())
    return f"#v=1&data={data}&seed={s.seed}&labels={s.labels}&step={s.step}&log={log}"
