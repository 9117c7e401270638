"""Exercises of 01_decision_boundaries."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from amkd_viz.runs import distill, example
from amkd_viz.training import SPIRALS, Recipe
from amkd_viz.views import boundary_map
from exercises.checking import LookAgain, choice, exercise

WANTED = 0.92  # agreement with the teacher over the window, from 0.85


@exercise("01.a", "Give a point (x1, x2) of the square that the teacher and the kd student put into different classes.")
def a_point_between(answer: Any) -> str:
    try:
        x1, x2 = map(float, answer)
    except (TypeError, ValueError) as error:
        raise LookAgain(f"give two numbers, such as (0.5, -1.0), got {answer!r}.") from error
    run = example("spirals", "kd")
    data = run.dataset()
    low, high = data.train.x.min(0).values - 1, data.train.x.max(0).values + 1
    point = torch.tensor([[x1, x2]])
    if not ((point >= low) & (point <= high)).all():
        raise LookAgain(f"({x1:g}, {x2:g}) lies outside the picture; hover over the map to read coordinates.")
    with torch.no_grad():
        p_teacher, p_student = (net(point).softmax(1)[0] for net in (run.teacher(), run.student()))
    t, s = int(p_teacher.argmax()), int(p_student.argmax())
    if t == s:
        raise LookAgain(
            f"both say {data.classes[t]} at ({x1:g}, {x2:g}). Look for a place where the same spot has two colours."
        )
    return (
        f"the teacher says {data.classes[t]} ({p_teacher[t]:.0%} sure), the student {data.classes[s]} "
        f"({p_student[s]:.0%} sure)."
    )


@exercise(
    "01.b",
    "Where the two nets disagree, is the teacher's margin (its largest minus its second probability), on average, "
    "'smaller' or 'larger' than where they agree?",
)
def margins(answer: Any) -> str:
    word = choice(answer, ("smaller", "larger"))
    run = example("spirals", "kd")
    arrays = boundary_map({"teacher": run.teacher(), "kd": run.student()}, run.dataset()).arrays
    apart = arrays["teacher.winner"] != arrays["kd.winner"]
    there, elsewhere = (float(arrays["teacher.margin"][where].mean()) for where in (apart, ~apart))
    if (word == "smaller") != (there < elsewhere):
        raise LookAgain("margins are 0 on the boundary itself; the dotted lines are where they are 0.5.")
    return (
        f"{there:.2f} where they disagree and {elsewhere:.2f} elsewhere. But {there:.2f} is still a confident teacher: "
        "the student is wrong in places where the teacher has no doubt."
    )


@exercise(
    "01.c",
    "Change one field of the recipe, other than teacher, student and method, so that the student agrees with the "
    f"teacher on at least {WANTED:.0%} of the square. Give the recipe; it is trained for you (epochs up to 200).",
)
def closer(answer: Any) -> str:
    base = SPIRALS.replace(method="kd")
    if not isinstance(answer, Recipe):
        raise LookAgain("give a Recipe, such as recipe.replace(seed=1).")
    differ = [name for name, value in answer.to_json().items() if value != base.to_json()[name]]
    if len(differ) != 1 or differ[0] in ("dataset", "teacher", "student", "method", "device"):
        raise LookAgain(f"change exactly one field, and none of teacher, student and method; yours differ in {differ}.")
    if answer.epochs > 200:
        raise LookAgain(f"{answer.epochs} epochs take long; stay at 200 or below.")
    with TemporaryDirectory() as folder:
        run = distill(answer, Path(folder) / "run", snapshots=False)
        teacher, data = example("spirals", "kd").teacher(), run.dataset()
        agree = boundary_map({"teacher": teacher, "student": run.student()}, data).notes["student.agreement"]
    result = f"{differ[0]}={getattr(answer, differ[0])} gives {agree:.1%} agreement"
    if agree < WANTED:
        raise LookAgain(f"{result}. What does a student lack that has seen 100 points of three long arms?")
    if differ[0] == "num_train":
        return (
            f"{result}, from 84.9 %. Boundary samples are one way to say more about a boundary; more data is another."
        )
    points = "other" if differ[0] in ("seed", "data_seed") else "the same"
    return f"{result}, from 84.9 %, on {points} {base.num_train} points. Now see what num_train=400 gives."
