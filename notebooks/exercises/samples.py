"""Exercises of 02_boundary_samples."""

from __future__ import annotations

from typing import Any

import torch

from amkd_viz.boundary import bss, sample_targets
from amkd_viz.core.rng import generator
from amkd_viz.runs import example
from exercises.checking import LookAgain, exercise, number
from exercises.predictions import question

A, GAP, LENGTH = 0.3, 2.0, 4.0  # step size, logit gap, norm of the gradient


@exercise(
    "02.b",
    f"The logit gap f_b - f_k is {GAP:g}, the gradient of f_k - f_b has norm {LENGTH:g}, and a = {A:g}. How "
    "far, in L2, "
    "does the next step of the published code move the image? (Leave eps out.)",
    (
        "What is the length of g / ||g||?",
        "Its length is 1, so the step is as long as a times the gap.",
    ),
)
def step_length(answer: Any) -> str:
    value, code, paper = number(answer), A * GAP, A * GAP / LENGTH
    if abs(value - paper) < 1e-3:
        raise LookAgain(
            "that is the paper's formula (step_rule='newton'), which divides by the squared "
            "norm; the published code divides by it once."
        )
    if abs(value - A * GAP * LENGTH) < 1e-3:
        raise LookAgain("the gradient is divided by its norm, so only its direction is left.")
    if abs(value - A) < 1e-3:
        raise LookAgain("a is multiplied by the logit gap: far from the boundary the steps are longer.")
    if abs(value - code) > 1e-3:
        raise LookAgain("a * gap * g / ||g||: what is the length of g / ||g||?")
    return (
        f"{A:g} x {GAP:g} = {code:g}, whatever the gradient's norm. Scale the logits by ten and the step is ten "
        "times as "
        "long, although every decision of the net stays the same."
    )


@exercise(
    "02.c",
    "In pixel space 0.3 flies too far. Find a step_size for space='pixel' with which at least 80 % of the images cross "
    "within 10 steps and the median gap between the two largest probabilities of those that crossed is below 0.3.",
    (
        "Try half of 0.3, then half again, and read what the checker reports.",
        "It lies between 0.03 and 0.1.",
    ),
)
def pixel_step(answer: Any) -> str:
    value = number(answer, "a step size")
    run = example("digits")
    teacher, x = run.teacher(), run.dataset().test.floats(slice(200))
    target = sample_targets(teacher(x), generator("cpu", "exercise 02.c"))
    found = bss(teacher, x, target, step_size=value, space="pixel")
    top = found.logits.softmax(1).topk(2).values
    crossed, gap = float(found.crossed.float().mean()), (top[:, 0] - top[:, 1])[found.crossed]
    median = float(gap.median()) if len(gap) else float("nan")
    result = f"with {value:g}, {crossed:.0%} of 200 images cross and the median gap is {median:.2f}"
    if crossed < 0.8:
        raise LookAgain(f"{result}. Too short: it stops before the boundary.")
    if not median < 0.3:
        raise LookAgain(f"{result}. Too long: it lands deep inside the next class.")
    return f"{result}. The last step is short and the image has only just crossed, and refine() finds the point itself."


@exercise(
    "02.d",
    "Give the targets (8,) that send each of the first 8 test images of digits to the class which the teacher ranks "
    "second.",
    (
        "topk(2) gives the two largest logits of a row and their classes.",
        "teacher(x[:8]).topk(2).indices has a column per rank; yours is the second.",
    ),
)
def second_ranked(answer: Any) -> str:
    run = example("digits")
    with torch.no_grad():
        logits = run.teacher()(run.dataset().test.floats(slice(8)))
    first, second = logits.topk(2).indices.T
    value = torch.as_tensor(answer).flatten()
    if value.shape != (8,):
        raise LookAgain(f"give one class for each of 8 images, not {len(value)}.")
    if value.dtype.is_floating_point or value.dtype == torch.bool:
        raise LookAgain(f"classes are whole numbers (torch.long), not {value.dtype}.")
    if (value == first).any():
        raise LookAgain("an image that is sent to its own class stays where it is; take the second column of topk.")
    if (value != second).any():
        wrong = int((value != second).nonzero()[0, 0])
        raise LookAgain(
            f"image {wrong} goes to {int(value[wrong])}, but the teacher ranks {int(second[wrong])} second."
        )
    return (
        "these are the most likely draws of sample_targets; it draws, so that every boundary is visited now and then."
    )


@question(
    "02.cross",
    "Where does the student's line cross 0, compared with the teacher's?",
    choices=("earlier", "in the same step", "later", "not at all"),
)
def crossing(view: Any) -> tuple[str, str]:
    end = int(view.notes["steps"]) + 1
    first = {}
    for name in ("teacher", "student"):
        across = view.arrays[f"{name}.gap"][:end] < 0
        first[name] = int(across.argmax()) if across.any() else None
    teacher, student = first["teacher"], first["student"]
    if student is None or teacher is None:
        return "not at all", "The student still predicts the digit at the teacher's boundary: its own lies farther out."
    truth = "in the same step" if student == teacher else "earlier" if student < teacher else "later"
    return truth, f"The student crosses in step {student}, the teacher in step {teacher}."


@question(
    "02.trap",
    "How sure of its new class is the teacher where these walks end, on average? (On the boundary: about 50 %.)",
    low=30.0,
    unit=" %",
)
def sure_at_the_end(view: Any, samples: Any) -> tuple[float, str]:
    sure = samples.logits.softmax(1).amax(1)[samples.crossed]
    return 100 * float(sure.mean()), (
        "After one long step the teacher is certain of another class. Such a sample does not show where the boundary "
        "is; it is a blurred image of something else."
    )


@question(
    "02.samplers",
    "Which of the four leaves most rings in the class in which they started?",
    choices=("bss", "deepfool", "fgsm", "noise"),
)
def left_behind(text: str, found: Any) -> tuple[str, str]:
    crossed = {name: float(samples.crossed.float().mean()) for name, samples in found.items()}
    return min(crossed, key=lambda name: crossed[name]), (
        "noise and fgsm take one step of a fixed length, whether it crosses or not. bss and deepfool go on until the "
        "prediction changes, but that is past the boundary, not on it."
    )
