"""Exercises of 08_teachers_and_students."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from amkd_viz.experiments.ridge import best_weight
from amkd_viz.experiments.shrink import reward
from exercises.checking import LookAgain, exercise, number
from exercises.predictions import question

LABELS, TAUGHT, TARGET = np.array([0.9, 0.2]), np.array([0.5, 0.4]), np.array([0.8, 0.3])
BY_SIZE, BY_ACCURACY = (1, 2, 3, 4), (2, 1, 4, 3)


@exercise(
    "08.a",
    "On two validation samples a fit to labels alone predicts 0.9 and 0.2 for the class, a fit to the teacher alone "
    "0.5 and 0.4, and 0.8 and 0.3 would be best. Which weight of the labels is the best mixture?",
    hints=(
        "The squared error is smallest where its derivative with respect to a is 0.",
        "a = (v - p0).(p1 - p0) / |p1 - p0|^2 is the weight of the teacher or of the labels: which one is p0?",
    ),
)
def weight_of_labels(answer: Any) -> str:
    value, right = number(answer), best_weight(LABELS, TAUGHT, TARGET)
    if abs(value - (1 - right)) < 0.006:
        raise LookAgain("that is the weight of the teacher.")
    if abs(value - right) > 0.006:
        raise LookAgain("minimise the sum of ((1 - a) p0 + a p1 - v)^2 over a: a = (v - p0).(p1 - p0) / |p1 - p0|^2.")
    return f"{right:.2f}, without a grid of trainings: predictions are linear in the weight, at least for a ridge."


@exercise(
    "08.b",
    "Four students are ranked 1, 2, 3, 4 by their size and 2, 1, 4, 3 by their accuracy. What is Kendall's tau?",
    hints=(
        "Go through the six pairs of students one by one: is the order of both lists the same?",
        "Tau is (pairs in the same order - pairs in the other order) / all pairs.",
    ),
)
def tau(answer: Any) -> str:
    value, pairs = number(answer), list(combinations(range(4), 2))
    agree = sum((BY_SIZE[i] < BY_SIZE[j]) == (BY_ACCURACY[i] < BY_ACCURACY[j]) for i, j in pairs)
    right = (2 * agree - len(pairs)) / len(pairs)
    if abs(value - agree / len(pairs)) < 0.006:
        raise LookAgain("that is the share of pairs in the same order; tau also subtracts those in the other order.")
    if abs(value - right) > 0.006:
        raise LookAgain("of the six pairs, count those in the same order and those in the other order.")
    return f"({agree} - {len(pairs) - agree}) / {len(pairs)} = {right:.2f}. With four students that is weak evidence."


@exercise(
    "08.c",
    "A student has a quarter of its teacher's parameters and 0.9 of its accuracy. What is its reward in N2N?",
    hints=(
        "C is the share of the parameters that was saved; the reward is not linear in it.",
        "The reward is accuracy / accuracy of the teacher times C (2 - C).",
    ),
)
def reward_of(answer: Any) -> str:
    value, right = number(answer), reward(0.9, 0.25, 1.0, 1.0)
    if abs(value - 0.9 * 0.75) < 0.006:
        raise LookAgain("the factor is C (2 - C), not C: the last parameters saved count least.")
    if abs(value - right) > 0.006:
        raise LookAgain(
            "accuracy / accuracy of the teacher times C (2 - C), C = 1 - parameters / parameters of the teacher."
        )
    return f"0.9 x 0.75 x 1.25 = {right:.2f}. Half the accuracy at a hundredth of the size has 0.50."


@question("08.gap", "Which teacher has the best students?", choices=("mlp-tiny", "mlp-small", "mlp"))
def best_teacher(view: Any) -> tuple[str, str]:
    shares = dict(zip(("mlp-tiny", "mlp-small", "mlp"), 100 * view.arrays["mlp-small.accuracy"], strict=True))
    falls = "falls" if shares["mlp"] < shares["mlp-small"] else "does not fall"
    words = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
    return view.notes["mlp-small.best"], f"Accuracy of the students by teacher: {words}. The curve {falls} at the end."


GENERATIONS = tuple(f"generation {n}" for n in range(6))


@question("08.ridge", "Which generation is nearest to the sine?", choices=GENERATIONS)
def best_generation(view: Any) -> tuple[str, str]:
    mse = view.arrays["mse"]
    return GENERATIONS[int(mse.argmin())], (
        f"Its mean squared distance is {mse.min():.3f}, that of generation 0 {mse[0]:.3f} and of generation 5 "
        f"{mse[5]:.3f}. Each generation is smoother than the one before, and the limit is 0 everywhere."
    )


@question("08.labels", "Which weight of the labels is read off for generation 1?", high=1.0, step=0.05)
def weight_read_off(view: Any) -> tuple[float, str]:
    weight = float(view.arrays["weights"][1])
    return weight, (
        "With a weight of 1 the labels alone predict the validation labels best: a teacher of the same kind adds "
        "nothing. With 0 the teacher's predictions are better targets than the labels."
    )


@question(
    "08.scores",
    "Which number ranks the three students better by their accuracy: the relation or the number of parameters?",
    choices=("the relation", "the parameters", "both alike"),
)
def better_score(view: Any) -> tuple[str, str]:
    relation, parameters = view.notes["tau.relation"], view.notes["tau.parameters"]
    truth = "both alike" if relation == parameters else "the relation" if relation > parameters else "the parameters"
    return truth, f"Kendall's tau is {relation:.2f} for the relation and {parameters:.2f} for the parameters."
