"""Exercises of 00_start_here."""

from __future__ import annotations

from typing import Any

from amkd_viz.objectives import methods
from amkd_viz.runs import example
from amkd_viz.views import boundary_map
from exercises.checking import LookAgain, exercise, number


@exercise(
    "00.a",
    "On what share of the square, in per cent, do the teacher and the kd student name different classes? "
    "The caption of the map says on what share they agree.",
)
def disagreement(answer: Any) -> str:
    run = example("spirals", "kd")
    notes = boundary_map({"teacher": run.teacher(), "kd": run.student()}, run.dataset()).notes
    agree = 100 * notes["kd.agreement"]
    value = number(answer, "a percentage")
    if abs(value - agree) < 0.5:
        raise LookAgain("that is the share on which they agree.")
    if abs(100 * value - (100 - agree)) < 0.5:
        raise LookAgain("that is a share between 0 and 1; the question asks for per cent.")
    if abs(value - (100 - agree)) > 0.5:
        raise LookAgain("the caption below the map lists agreements with the teacher; take kd's away from 100 %.")
    accuracy = 100 * run.summary["test_accuracy"]
    return (
        f"{100 - agree:.1f} % of the square. On the test points, which keep to the arms of the spirals, kd is right on "
        f"{accuracy:.1f} %: a boundary can differ where a test set does not look."
    )


@exercise("00.b", "Which one term of its objective does amkd have that bss lacks? Give the name that print() shows.")
def what_amkd_adds(answer: Any) -> str:
    extra = set(methods["amkd"]().names) - set(methods["bss"]().names)
    name = str(answer).strip().partition("(")[0]
    if name not in methods["amkd"]().names:
        raise LookAgain(f"amkd has no term {name!r}; print(amkd_viz.methods['amkd']()) shows those it has.")
    if name not in extra:
        raise LookAgain(f"bss has {name} too; print both objectives and lay them side by side.")
    return (
        f"with the weight of {name} at 0, amkd is bss, to the last bit. The rest of its lead, if any, comes from there."
    )
