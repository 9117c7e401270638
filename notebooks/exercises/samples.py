"""Exercises of 02_boundary_samples."""

from __future__ import annotations

from typing import Any

import torch

from amkd_viz.boundary import bss, sample_targets
from amkd_viz.core.rng import generator
from amkd_viz.runs import example
from exercises.checking import LookAgain, exercise, number

A, GAP, LENGTH = 0.3, 2.0, 4.0  # step size, logit gap, norm of the gradient


@exercise(
    "02.a",
    f"The logit gap f_b - f_k is {GAP:g}, the gradient of f_k - f_b has norm {LENGTH:g}, and a = {A:g}. How "
    "far, in L2, "
    "does the next step of the published code move the image? (Leave eps out.)",
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
    "02.b",
    "In pixel space 0.3 flies too far. Find a step_size for space='pixel' with which at least 80 % of the images cross "
    "within 10 steps and the median gap between the two largest probabilities of those that crossed is below 0.3.",
)
def pixel_step(answer: Any) -> str:
    value = number(answer, "a step size")
    run = example("digits")
    teacher, x = run.teacher(), run.dataset().test.floats(slice(200))
    target = sample_targets(teacher(x), generator("cpu", "exercise 02.b"))
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
    "02.c",
    "Give the targets (8,) that send each of the first 8 test images of digits to the class which the teacher ranks "
    "second.",
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
