"""Exercises of 05_compare."""

from __future__ import annotations

import math
from typing import Any

from amkd_viz.runs.stats import welch
from exercises.checking import LookAgain, choice, exercise, number

RESULT = welch(0.6056, 0.0044, 3, 0.6071, 0.0015, 3)  # amkd and bss as in README: 2,000 images, three seeds


@exercise(
    "05.a",
    "On 2,000 images of CIFAR-10, three seeds each, bss reaches 60.71 ± 0.15 % and amkd 60.56 ± 0.44 %. What is the "
    "standard error of their difference, in points?",
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
    "A colleague trains ten methods with one seed each, keeps the best test accuracy of any epoch, and names a winner. "
    "Is that winner's printed accuracy, on average, 'too high', 'too low' or 'fair'?",
)
def winners_curse(answer: Any) -> str:
    if choice(answer, ("too high", "too low", "fair")) != "too high":
        raise LookAgain("both the epoch and the method were chosen because the number was large. On which images?")
    return (
        "too high: the largest of many noisy numbers is large partly by luck, twice here, over epochs and over "
        "methods. "
        "So this library prints the last epoch, and test images choose nothing."
    )
