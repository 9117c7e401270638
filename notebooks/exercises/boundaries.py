"""Exercises of 01_decision_boundaries."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from amkd_viz.runs import distill, example
from amkd_viz.training import SPIRALS, Recipe
from amkd_viz.views import boundary_map
from amkd_viz.views.labels import plural
from exercises.checking import LookAgain, exercise, number
from exercises.predictions import question

NEAR = 0.1  # distance from a labelled point
WANTED = 0.92  # agreement with the teacher over the window, from 0.85


@exercise(
    "01.a",
    "Give a point (x1, x2) of the square that the teacher and the kd student put into different classes.",
    (
        "Look for a place where the same spot has two colours.",
        "Between the arms of the spirals, left of the middle; hover over both maps there.",
    ),
)
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
    f"On what share, in per cent, of the cells within {NEAR:g} of a labelled point do the teacher and the kd student "
    "predict the same class? Take the map of both nets: its arrays x, y, teacher.winner and student.winner.",
    (
        "torch.cdist(cells, data.train.x).amin(1) is each cell's distance from the nearest labelled point.",
        'torch.cartesian_prod(y, x).flip(1) lists the cells (x, y) in the order of arrays["teacher.winner"].ravel().',
    ),
)
def near_the_points(answer: Any) -> str:
    value = number(answer, "a percentage")
    run = example("spirals", "kd")
    data = run.dataset()
    arrays = boundary_map({"teacher": run.teacher(), "kd": run.student()}, data).arrays
    x, y = (torch.as_tensor(arrays[name]).float() for name in ("x", "y"))
    near = (torch.cdist(torch.cartesian_prod(y, x).flip(1), data.train.x).amin(1) <= NEAR).numpy()
    same = (arrays["teacher.winner"] == arrays["kd.winner"]).ravel()
    right, rest = 100 * same[near].mean(), 100 * same[~near].mean()
    turned = (torch.cdist(torch.cartesian_prod(x, y), data.train.x).amin(1) <= NEAR).numpy()
    wrong = {
        right / 100: "that is a share between 0 and 1; the question asks for per cent.",
        100 * same.mean(): "that is the share of the whole square.",
        rest: "those are the cells farther away.",
        100 * same[turned].mean(): "x and y are exchanged: row i of the array is at y[i], column j at x[j].",
    }
    nearest = min(wrong, key=lambda other: abs(value - other))
    if abs(value - right) > 0.3:
        first = f"find the cells within {NEAR:g} of a labelled point first, then count agreement on them."
        raise LookAgain(wrong[nearest] if abs(value - nearest) < 0.3 else first)
    return (
        f"{right:.1f} % near the labelled points, {rest:.1f} % elsewhere. Beside its points the student knows what the "
        "teacher predicts; where it has none it guesses."
    )


@question(
    "01.sure",
    "Where the student predicts another class, on what share of these cells is the teacher more than 90 % sure?",
    unit=" %",
)
def sure_where_wrong(view: Any) -> tuple[float, str]:
    apart = view.arrays["teacher.winner"] != view.arrays["student.winner"]
    sure, margin = view.arrays["teacher.confidence"] > 0.9, view.arrays["teacher.margin"]
    return 100 * float(sure[apart].mean()), (
        "These are not just undecided points: the student is wrong in places where the teacher has no doubt. The "
        f"teacher's margin is {margin[apart].mean():.2f} there and {margin[~apart].mean():.2f} elsewhere."
    )


@question(
    "01.landing",
    "The attack moves this point from spiral 2 towards spiral 3 until the teacher's prediction changes. Click where it "
    "will end.",
    of="teacher",
    classes=("spiral 1", "spiral 2", "spiral 3"),
    unit="units",
)
def landing(view: Any, samples: Any) -> tuple[tuple[float, float], str]:
    (x0, y0), (x1, y1) = samples.origin[0].tolist(), samples.x[0].tolist()
    return (x1, y1), (
        f"It went {math.hypot(x1 - x0, y1 - y0):.2f} units in {plural(int(samples.steps[0]), 'step')}, along the "
        "gradient: not to the nearest boundary, and past the one that it crossed. Notebook 02 shows why, and how "
        "refine() goes back."
    )


@question(
    "01.rise",
    "By how many percentage points does the agreement over the square rise with boundary samples?",
    low=-5.0,
    high=15.0,
    step=0.5,
    unit=" points",
)
def rise(view: Any) -> tuple[float, str]:
    kd, bss = (100 * view.notes[f"{name}.agreement"] for name in ("kd", "bss"))
    return bss - kd, f"From {kd:.1f} to {bss:.1f} %, with the same 100 labelled points and this one seed."


@exercise(
    "01.c",
    "Change one field of the recipe, other than teacher, student and method, so that the student agrees with the "
    f"teacher on at least {WANTED:.0%} of the square. Give the recipe; it is trained for you (epochs up to 200).",
    (
        "What does a student lack that has seen 100 points of three long arms?",
        "num_train is the number of labelled points; epochs=200 suffices as well.",
    ),
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
