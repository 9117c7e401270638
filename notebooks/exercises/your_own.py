"""Exercises of 06_your_own."""

from __future__ import annotations

from typing import Any

import torch

from amkd_viz.export import Exported
from amkd_viz.models import Classifier
from amkd_viz.runs import Run
from exercises.checking import LookAgain, exercise, number

MEAN, STD = 0.5, 0.25


@exercise(
    "06.a",
    f"A torchvision net was trained on 3 x 64 x 64 images normalised with mean {MEAN:g} and standard deviation "
    f"{STD:g} in "
    "every channel. Give it wrapped, so that it takes images in [0, 1].",
)
def wrapped(answer: Any) -> str:
    if not isinstance(answer, Classifier):
        raise LookAgain(f"give what wrap(net, shape=..., mean=..., std=...) returns, not {type(answer).__name__}.")
    if tuple(answer.shape) != (3, 64, 64):
        raise LookAgain(f"its shape is {tuple(answer.shape)}; the images are (3, 64, 64).")
    with torch.no_grad():
        grey = answer.normalise(torch.full((1, 3, 64, 64), MEAN + STD))
    if (grey - 1).abs().max() > 1e-4:
        raise LookAgain("its normalisation differs; without mean= and std= three channels get ImageNet's numbers.")
    return "normalisation is now part of the net, so it cannot be forgotten, and attacks know the valid pixel range."


@exercise("06.b", "Export your student and give what export() returns.")
def exported(answer: Any) -> str:
    if not isinstance(answer, Exported):
        raise LookAgain(f"give what export(run, format='torch-export') returns, not {type(answer).__name__}.")
    if not answer.path.is_file() or not answer.card.is_file():
        raise LookAgain(f"{answer.path} or its card does not exist any more.")
    return (
        f"{answer.path.name} ({answer.path.stat().st_size / 1000:,.0f} kB) gives the student's predictions on "
        f"{answer.checked} "
        f"inputs, logits within {answer.difference:.1g}. Its card says what it was trained on and what it cannot do."
    )


@exercise(
    "06.c",
    "How many times fewer parameters has your student than its teacher? Give the pair (run, factor).",
)
def smaller(answer: Any) -> str:
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[0], Run):
        raise LookAgain("give a pair: your finished run, and the factor.")
    run, value = answer[0], number(answer[1], "the factor")
    big, small = (sum(p.numel() for p in net.parameters()) for net in (run.teacher(), run.student()))
    if abs(value - big / small) > 0.02 * big / small:
        raise LookAgain(f"the teacher has {big:,} parameters; count the student's with sum(p.numel() for p in ...).")
    return (
        f"{big:,} against {small:,}: {big / small:,.0f} times fewer. Fewer parameters are not always fewer seconds; "
        "measure both."
    )
