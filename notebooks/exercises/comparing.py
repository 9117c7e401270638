"""Exercises of 05_compare."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np

from amkd_viz.runs.stats import welch
from exercises.checking import LookAgain, exercise, number
from exercises.predictions import question

__all__ = ["few_labels"]

METHODS = ("ce", "kd", "bss", "amkd")
# means as in README, test accuracy in %, by benchmarks.few_labels; the last row: benchmarks/results/tuned_digits.json
FEW_LABELS = {
    "published weights": (40, 72.85, 75.28, 77.33),
    "all of the teacher's weights times 8": (40, 82.74, 86.07, 84.42),
    "each method tuned by 24 trials on validation": (32, 83.75, 85.39, 83.05),
}
SD = 0.3  # points, of the methods of exercise 05.c
BEST_OF_TEN = 1.5388  # mean of the largest of ten standard normal draws
RESULT = welch(0.6056, 0.0044, 3, 0.6071, 0.0015, 3)  # amkd and bss as in README: 2,000 images, three seeds


@exercise(
    "05.a",
    "On 2,000 images of CIFAR-10, three seeds each, bss reaches 60.71 ± 0.15 % and amkd 60.56 ± 0.44 %. What is the "
    "standard error of their difference, in points?",
    (
        "The variance of a mean of n is sd^2 / n; variances of independent means add.",
        "sqrt(0.15^2 / 3 + 0.44^2 / 3).",
    ),
)
def error_of_difference(answer: Any) -> str:
    assert RESULT is not None
    value, right = number(answer), RESULT.error
    if abs(value - math.hypot(0.15, 0.44)) < 0.005:
        raise LookAgain("that is the sd of the difference of two single runs; a mean of three varies less.")
    if abs(value - 0.59) < 0.005:
        raise LookAgain("standard deviations do not add; their squares do.")
    if abs(value - right) > 0.006:
        raise LookAgain("sqrt(sd1^2 / n1 + sd2^2 / n2), with n = 3 for both.")
    return (
        f"{right:.2f} points. The difference of -0.15 is about half of that: there is no evidence in either direction."
    )


@exercise(
    "05.b",
    "With the same two standard deviations: how many seeds of each method would it take, at least, until a true "
    "difference of 0.15 points is two standard errors or more?",
    (
        "Set two standard errors equal to 0.15 and solve for n.",
        "n = (2 / 0.15)^2 (0.15^2 + 0.44^2), rounded up.",
    ),
)
def seeds_needed(answer: Any) -> str:
    value, exact = number(answer, "a number of seeds"), (2 / 0.15) ** 2 * (0.15**2 + 0.44**2)
    right = math.ceil(exact)
    if value != right:
        few = "few: the error falls only with the square root of the number" if value < right else "many"
        raise LookAgain(f"{value:g} is too {few}. Solve 2 sqrt((0.15^2 + 0.44^2) / n) = 0.15 for n.")
    return f"n = {exact:.1f}, so {right} of each. A table with one seed per method could not distinguish them at all."


@exercise(
    "05.c",
    "Ten methods are equally good; one seed of each is trained, and test accuracies of one method vary with a standard "
    f"deviation of {SD:g} points from seed to seed. By how many points is the best of the ten printed accuracies above "
    "the true one, on average?",
    (
        "Draw ten numbers of a normal distribution and take the largest. Repeat this 100,000 times.",
        "torch.randn(100_000, 10).amax(1).mean(), times the standard deviation.",
    ),
)
def winners_curse(answer: Any) -> str:
    value = number(answer, "a number of points")
    if abs(value) < 0.02:
        raise LookAgain("each number alone is fair, but the winner was chosen because its number was large.")
    if abs(value - SD) < 0.02:
        raise LookAgain("that is what one method varies by; the largest of ten is farther out.")
    if abs(value - BEST_OF_TEN) < 0.05:
        raise LookAgain("that is in standard deviations; the question asks for points.")
    if abs(value - SD * BEST_OF_TEN) > 0.03:
        raise LookAgain("simulate it: ten draws, the largest, the mean over many repetitions.")
    return (
        f"{SD * BEST_OF_TEN:.2f} points, although all ten are equal, and more if each keeps its best epoch. So this "
        "library prints the last epoch, and test images choose nothing."
    )


@question("05.best", "Which method has the best mean test accuracy over three seeds?", choices=METHODS)
def best_of_three(view: Any) -> tuple[str, str]:
    mean = {name: 100 * view.notes[f"{name}.mean"] for name in METHODS}
    order = sorted(mean, key=lambda name: -mean[name])
    return order[0], ", ".join(f"{name} {mean[name]:.1f} %" for name in order) + "."


@question(
    "05.spread",
    "How many points lie between the best and the worst seed of one method, on average over the four?",
    high=20.0,
    step=0.5,
    unit=" points",
)
def spread(text: str, view: Any) -> tuple[float, str]:
    spreads = [100 * float(np.ptp(view.arrays[name])) for name in METHODS]
    mean = [100 * view.notes[f"{name}.mean"] for name in METHODS]
    first, second = sorted(mean)[:-3:-1]
    return statistics.fmean(spreads), (
        f"The two best methods are {first - second:.1f} points apart. Look at how far apart the dots of one method are "
        "first, and only then at the bars."
    )


@question("05.alone", "With seed 0 alone, which method wins?", choices=METHODS)
def winner_of_one(view: Any) -> tuple[str, str]:
    mean = {name: 100 * view.notes[f"{name}.mean"] for name in METHODS}
    best = max(mean, key=lambda name: mean[name])
    return best, f"With {mean[best]:.1f} %. Nothing in this picture says that another seed has another winner."


def few_labels() -> str:
    """Return the test accuracies of students on 50 labelled digits, by how much weight the teacher has."""
    lines = [f"{'50 labelled digits, test accuracy in %':46}seeds{'kd':>8}{'bss':>8}{'amkd':>8}"]
    lines += [
        f"{words:46}{seeds:5}{kd:8.2f}{bss:8.2f}{amkd:8.2f}" for words, (seeds, kd, bss, amkd) in FEW_LABELS.items()
    ]
    return "\n".join(lines)


@question(
    "05.heavier",
    "Eight times the teacher's weight for each method: which one has the best mean over the forty seeds?",
    choices=("kd", "bss", "amkd"),
)
def with_a_heavier_teacher(text: str) -> tuple[str, str]:
    _, *heavier = FEW_LABELS["all of the teacher's weights times 8"]
    return ("kd", "bss", "amkd")[int(np.argmax(heavier))], (
        "A heavier teacher helps every method, and kd alone passes the amkd of the published weights. Now amkd is "
        "behind bss by 1.64 [0.44, 2.85] points, and by 2.34 [1.23, 3.45] where both are tuned alike. So the "
        "lead of amkd at the published weights was mostly the heavier teacher. Boundary samples of the published step "
        "do help: bss leads a tuned kd by 1.65 [0.80, 2.49] points. amkd has seven numbers to tune, bss five and kd "
        "three, so as many trials find less of what amkd could do."
    )


@question(
    "05.more",
    "With 400 labelled points: how many points lie between the best and the worst method?",
    high=20.0,
    step=0.5,
    unit=" points",
)
def with_more_points(view: Any) -> tuple[float, str]:
    mean = {name: 100 * view.notes[f"{name}.mean"] for name in METHODS}
    return max(mean.values()) - min(mean.values()), (
        f"Here the labels alone nearly suffice: ce has {mean['ce']:.1f} %. That holds for these spirals, this teacher "
        "and two seeds."
    )
