"""Exercises of 03_metric_distillation."""

from __future__ import annotations

from typing import Any

import torch

from amkd_viz.objectives.losses.triplets import negatives_of
from amkd_viz.objectives.metric import triplet_hinge
from exercises.checking import LookAgain, exercise, number
from exercises.predictions import question

POSITIVE, NEGATIVES, MARGIN = 0.3, (0.5, 0.9, 1.6), 0.5
BASE, TARGET = 3, 8


def _loss(mining: str) -> float:
    negative = torch.tensor([NEGATIVES])
    loss, _ = triplet_hinge(
        torch.tensor([POSITIVE]), negative, torch.ones_like(negative, dtype=torch.bool), MARGIN, mining
    )
    return float(loss)


@exercise(
    "03.b",
    f"d(a, p) = {POSITIVE:g}, the three negatives lie at d(a, n) = {NEGATIVES[0]:g}, {NEGATIVES[1]:g} and "
    f'{NEGATIVES[2]:g}, and the margin is {MARGIN:g}. What is the loss with mining "all"?',
    (
        "Write down one bracket per negative, and cut off below 0.",
        "The brackets are 0.3, -0.1 and -0.8 before the cut; the mean is over all three.",
    ),
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
    "03.c",
    f"A boundary sample leaves class {BASE} for class {TARGET} (digits, classes 0 to 9). Which classes may its "
    "negatives "
    "have in the default variant? Give a set.",
    (
        "Between which two classes does the sample lie?",
        "It should stay near both of its classes, so neither may push.",
    ),
)
def negative_classes(answer: Any) -> str:
    y = torch.arange(10)
    valid = negatives_of(y, torch.tensor([BASE]), torch.tensor([TARGET]))[0]
    if not isinstance(answer, set | frozenset | list | tuple):
        raise LookAgain(f"give a set of classes, such as {{0, 1}}, not {answer!r}.")
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
    "03.d",
    "Find a margin in [0, 4] with which between 45 and 55 % of the student's triplets are active, for the samples and "
    "the distances() view above. Give that View.",
    (
        "The table of active shares above tells between which two margins the half lies.",
        "Between 1 and 2.",
    ),
)
def half_active(answer: Any) -> str:
    notes = getattr(answer, "notes", None)
    if not isinstance(notes, dict) or "student.active" not in notes:
        raise LookAgain(
            "give the View distances(student, data, samples, margin=...); student is the dict of two nets above."
        )
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


@question(
    "03.nearer",
    "What share of the valid negatives is active, that is, nearer to the anchor than the positive plus the margin?",
    unit=" %",
)
def active_share(view: Any) -> tuple[float, str]:
    return 100 * view.notes["active"], (
        f"The positive is at d(a, p) = {view.notes['d_ap']:.2f} of at most 4, so the band ends at "
        f"{view.notes['d_ap'] + 1:.2f}."
    )


@question(
    "03.positive",
    "What is better by more than 0.1 in the student that was trained with triplets?",
    choices=("the positive is nearer", "the negatives are farther", "both", "neither"),
)
def what_moved(view: Any, before: Any) -> tuple[str, str]:
    near = before.notes["d_ap"], view.notes["d_ap"]
    far = float(before.arrays["d_an"].mean()), float(view.arrays["d_an"].mean())
    nearer, farther = near[1] < near[0] - 0.1, far[1] > far[0] + 0.1
    words = {(True, True): "both", (True, False): "the positive is nearer", (False, True): "the negatives are farther"}
    worse = "Here the positive is even farther away. " if near[1] > near[0] + 0.1 else ""
    return words.get((nearer, farther), "neither"), (
        f"d(a, p) went from {near[0]:.2f} to {near[1]:.2f}, the mean of the drawn nearest negatives from {far[0]:.2f} "
        f"to {far[1]:.2f}. {worse}One sample is an anecdote; a picture below has all."
    )


@question("03.margin", "What share of all triplets of the kd student is active at a margin of 2?", unit=" %")
def active_at_two(text: str, view: Any) -> tuple[float, str]:
    return 100 * view.notes["student.active"], (
        "With 0 few triplets teach anything. With 4 the loss is the mean of d(a, p) - d(a, n) plus a constant: every "
        "negative is pushed on, even those that are far away. The default, 1, was the best of a published grid on the "
        "validation split of 2,000 CIFAR-10 images; its neighbours are within the noise."
    )
