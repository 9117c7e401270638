"""Exercises of 06_your_own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from amkd_viz.models import Classifier
from amkd_viz.runs import Run
from exercises.checking import LookAgain, NotAnswered, exercise, number
from exercises.predictions import question

MEAN, STD = 0.5, 0.25


@exercise(
    "06.a",
    f"A torchvision net was trained on 3 x 64 x 64 images normalised with mean {MEAN:g} and standard deviation "
    f"{STD:g} in "
    "every channel. Give it wrapped, so that it takes images in [0, 1].",
    (
        "wrap has the arguments shape, mean and std.",
        "mean and std have one number per channel: [0.5] * 3 and [0.25] * 3.",
    ),
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


@exercise(
    "06.b",
    "Write my_classify(path, images): the class of each image, (N,), from uint8 images (N, H, W, 3) as PIL gives them, "
    "by the exported file alone. Give the pair (done.path, my_classify).",
    (
        "torch.export.load(path).module() is the net. It takes float images (N, 3, H, W) in [0, 1].",
        "images.permute(0, 3, 1, 2).float() / 255, then argmax(1).",
    ),
)
def from_the_file(answer: Any) -> str:
    if not isinstance(answer, tuple) or len(answer) != 2 or not callable(answer[1]):
        raise LookAgain("give a pair: the path of the exported file, and your function.")
    path, function = answer
    if not Path(path).is_file():
        raise LookAgain(f"{path} does not exist; export(...).path is the file.")
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(64, 3, 4, 4, generator=draw) ** torch.linspace(0.3, 3, 64)[:, None, None, None]
    images = (255 * torch.nn.functional.interpolate(coarse, 64)).to(torch.uint8)
    value = function(path, images.permute(0, 2, 3, 1).contiguous())
    if value is None or value is ...:
        raise NotAnswered
    value = torch.as_tensor(value)
    net = torch.export.load(path).module()
    right = net(images.float() / 255).argmax(1)
    if value.shape != right.shape:
        raise LookAgain(f"return one class per image, (64,), got {tuple(value.shape)}.")
    if (value != right).any() and torch.equal(value, net(images.float()).argmax(1)):
        raise LookAgain("the net takes images in [0, 1]; divide by 255.")
    if (value != right).any():
        raise LookAgain(
            f"{int((value != right).sum())} of 64 hidden images get another class; look at order and range."
        )
    return "right on 64 hidden images. State order and range beside the file: the net takes any images and never fails."


@question(
    "06.better",
    "The teacher has 1.3 million parameters, the student 580 thousand, and there are 129 training images. Which one is "
    "better on the test images?",
    choices=("the teacher", "the student", "they are equal"),
)
def better(text: str, run: Run) -> tuple[str, str]:
    student, teacher = run.summary["test_accuracy"], run.summary["teacher_test_accuracy"]
    truth = "they are equal" if student == teacher else "the student" if student > teacher else "the teacher"
    return truth, (
        f"Teacher {teacher:.1%}, student {student:.1%}. With 36 test images, each one is worth three points: see "
        "notebook 05 before you believe a difference."
    )


@question("06.rare", "On what share of the test images of an 8 will the student be right?", unit=" %")
def rare_class(text: str, run: Run) -> tuple[float, str]:
    three, eight = run.summary["test_class_accuracies"]
    return 100 * eight, (
        f"It is right on {three:.0%} of the 3s and on {run.summary['test_accuracy']:.0%} of all: 26 of the 28 test "
        f"images are a 3, so a network that predicts 3 everywhere is right on most. The balanced accuracy, the mean "
        f"over the classes, is {run.summary['test_balanced_accuracy']:.0%}: that of a coin."
    )


@exercise(
    "06.c",
    "How many times as large as your student is its teacher, in parameters? Give the pair (run, factor).",
    (
        "sum(p.numel() for p in net.parameters()) counts a net.",
        "Divide the teacher's count by the student's; give (run, factor).",
    ),
)
def smaller(answer: Any) -> str:
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[0], Run):
        raise LookAgain("give a pair: your finished run, and the factor.")
    run, value = answer[0], number(answer[1], "the factor")
    big, small = (sum(p.numel() for p in net.parameters()) for net in (run.teacher(), run.student()))
    if abs(value - big / small) > 0.02 * big / small:
        raise LookAgain(f"the teacher has {big:,} parameters; count the student's with sum(p.numel() for p in ...).")
    return (
        f"{big:,} against {small:,}: {big / small:,.1f} times as large. Fewer parameters do not always take less time; "
        "measure both."
    )
