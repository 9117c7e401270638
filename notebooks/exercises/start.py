"""Exercises of 00_start_here."""

from __future__ import annotations

from typing import Any

import numpy as np

from amkd_viz.runs import example
from amkd_viz.views import boundary_map
from exercises.checking import LookAgain, exercise, number
from exercises.predictions import question


@exercise(
    "00.b",
    "On what share of the square, in per cent, do the teacher and the kd student name different classes? "
    "The caption of the map says on what share they agree.",
    (
        "The caption below the map has the share of the square on which each student agrees.",
        "Disagreement is 100 % minus agreement.",
    ),
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


@question(
    "00.map",
    "Which student's map will look most like the teacher's?",
    choices=("ce", "kd", "bss", "amkd"),
)
def most_alike(view: Any) -> tuple[str, str]:
    share = {name: view.notes[f"{name}.agreement"] for name in ("ce", "kd", "bss", "amkd")}
    order = sorted(share, key=lambda name: -share[name])
    return order[0], "Same class as the teacher, share of the square: " + ", ".join(
        f"{name} {share[name]:.1%}" for name in order
    ) + ". The worst one goes wrong between the arms and in the corners, where it has no points."


@question(
    "00.epochs",
    "In which order does the student learn the arms?",
    choices=("from the inside out", "from the outside in", "everywhere at once"),
)
def order_of_learning(view: Any) -> tuple[str, str]:
    """Compare when the inner and the outer half first have 80 % of their final agreement."""
    x, y = view.arrays["x"], view.arrays["y"]
    radius = np.hypot(*np.meshgrid(x, y))
    same = view.arrays["winner"] == view.arrays["teacher.winner"]
    first = {}
    for part, low, high in (("inner", 0.0, 1.0), ("outer", 1.5, 2.0)):
        share = same[:, (radius >= low) & (radius < high)].mean(1)
        first[part] = int(view.arrays["epoch"][np.argmax(share >= 0.8 * share[-1])])
    apart = first["inner"] - first["outer"]
    truth = "everywhere at once" if apart == 0 else "from the outside in" if apart > 0 else "from the inside out"
    return truth, (
        f"The outer arms have most of their final agreement at epoch {first['outer']}, the inner ones at epoch "
        f"{first['inner']}: far out one straight cut separates much, at the centre the arms are narrow."
    )
