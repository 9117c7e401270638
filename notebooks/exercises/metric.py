"""Exercises of 03_metric_distillation."""

from __future__ import annotations

from typing import Any

import torch

from amkd_viz.objectives.losses.triplets import negatives_of
from amkd_viz.objectives.metric import triplet_hinge
from exercises.checking import LookAgain, exercise, number

POSITIVE, NEGATIVES, MARGIN = 0.3, (0.5, 0.9, 1.6), 0.5
BASE, TARGET = 3, 8


def _loss(mining: str) -> float:
    negative = torch.tensor([NEGATIVES])
    loss, _ = triplet_hinge(
        torch.tensor([POSITIVE]), negative, torch.ones_like(negative, dtype=torch.bool), MARGIN, mining
    )
    return float(loss)


@exercise(
    "03.a",
    f"d(a, p) = {POSITIVE:g}, the three negatives lie at d(a, n) = {NEGATIVES[0]:g}, {NEGATIVES[1]:g} and "
    f'{NEGATIVES[2]:g}, and the margin is {MARGIN:g}. What is the loss with mining "all"?',
)
def hinge(answer: Any) -> str:
    value, right, hard = number(answer), _loss("all"), _loss("hard")
    if abs(value - hard) < 1e-3:
        raise LookAgain('that is the mean over the active triplets; with mining "all" the zeros count as well.')
    linear = sum(POSITIVE - n + MARGIN for n in NEGATIVES) / len(NEGATIVES)
    if abs(value - linear) < 1e-3:
        raise LookAgain("[.]_+ cuts off below 0: a negative beyond the margin earns nothing.")
    if abs(value - right) > 1e-3:
        raise LookAgain("write [d(a, p) - d(a, n) + m]_+ for each negative, then take the mean of the three.")
    return "only the first negative is active, [0.3 - 0.5 + 0.5]_+ = 0.3; the mean over all three is 0.1."


@exercise(
    "03.b",
    f"A boundary sample leaves class {BASE} for class {TARGET} (digits, classes 0 to 9). Which classes may its "
    "negatives "
    "have in the default variant? Give a set.",
)
def negative_classes(answer: Any) -> str:
    y = torch.arange(10)
    valid = negatives_of(y, torch.tensor([BASE]), torch.tensor([TARGET]))[0]
    right, value = set(y[valid].tolist()), {int(k) for k in answer}
    if value == right | {TARGET}:
        raise LookAgain(
            f"pushing the sample away from class {TARGET} would undo what boundary_kd does: it belongs beside "
            "that class."
        )
    if value == right | {BASE}:
        raise LookAgain(f"the sample lies on the boundary of class {BASE} too; it should stay near both.")
    if value != right:
        raise LookAgain(
            f"yours are {sorted(value)}; leave out the two classes whose boundary the sample supports, no more."
        )
    return f"all but {BASE} and {TARGET}: the sample stays between its two classes, and at a distance from the others."


@exercise(
    "03.c",
    "Find a margin in [0, 4] with which between 45 and 55 % of the student's triplets are active, for the samples and "
    "the distances() view above. Give that View.",
)
def half_active(answer: Any) -> str:
    notes = getattr(answer, "notes", None)
    if not isinstance(notes, dict) or "student.active" not in notes:
        raise LookAgain("give the View that distances(nets, data, samples, margin=...) returns.")
    active, d_ap, d_an = (
        notes["student.active"],
        answer.arrays["student.d_ap"].mean(),
        answer.arrays["student.d_an"].mean(),
    )
    result = f"{active:.0%} are active"
    if active < 0.45:
        raise LookAgain(f"{result}: the margin asks for too little.")
    if active > 0.55:
        raise LookAgain(f"{result}: the margin asks for more than most triplets have.")
    return (
        f"{result}, with d(a, p) at {d_ap:.2f} and d(a, n) at {d_an:.2f} on average. A margin near their "
        "difference keeps "
        "about half of the triplets at work."
    )
