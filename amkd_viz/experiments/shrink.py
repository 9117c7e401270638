"""Shrink a net by trial and reward (N2N, ICLR 2018, arXiv 1709.06030)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amkd_viz.core.errors import InputError
from amkd_viz.experiments.result import Experiment, accuracy_of, lines
from amkd_viz.models import build
from amkd_viz.runs import Run, train_cells
from amkd_viz.training import Recipe
from amkd_viz.views.view import View

__all__ = ["reward", "shrink"]

RATE = 0.5  # of the policy's logits
PATIENCE = 15  # rounds in which a student above the budget comes to have a negative reward


def reward(
    accuracy: float,
    parameters: float,
    of_accuracy: float,
    of_parameters: float,
    *,
    budget: float | None = None,
    number: int = 0,
) -> float:
    """Return N2N's reward: accuracy relative to the teacher's, times C (2 - C), C the share of parameters saved.

    A student that is larger than the teacher has a negative one. One of more parameters than ``budget`` has e - 1 +
    e times its reward, e = (1 - number / 15)^4 in round ``number``: at first all of it, -1 in round 15, and as
    released more again after it.

    >>> round(reward(0.9, 25, 1.0, 100), 3)
    0.844
    """
    saved = 1 - parameters / of_parameters
    made = accuracy / of_accuracy * saved * (2 - saved)
    if budget is None or parameters <= budget:
        return made
    left = min(1.0, (1 - number / PATIENCE) ** 4)
    return left - 1 + left * made


def shrink(
    recipe: Recipe,
    students: Sequence[str],
    rounds: int,
    out: str | Path,
    *,
    propose: str = "reinforce",
    budget: float | None = None,
    **how: Any,
) -> Experiment:
    """Try students of the recipe's teacher, one a round, and learn which are worth trying.

    Args:
        students: architectures to choose from. propose: "reinforce" (a table of logits, moved by each student's own
            reward less the mean so far; the released code gives all candidates of a round their mean) or "random".
        budget: number of parameters above which a student is punished, more in later rounds.

    Returns:
        runs by architecture, each trained once; arrays ``reward`` (rounds,) and ``share`` (students,), how probable
        each is at the end; note ``best``, the architecture of the largest reward.

    Raises:
        InputError: fewer than two students, no round, another way to propose, or see ``train_cells``.
    """
    if len(students) < 2 or rounds < 1 or propose not in ("reinforce", "random"):
        raise InputError(
            f"shrink needs two students, a round and propose=reinforce|random, got {list(students)}, {rounds} and "
            f"{propose!r}."
        )
    data, draws = recipe.load(), np.random.default_rng(recipe.seed)
    sizes = {n: sum(p.numel() for p in build(n, data).parameters()) for n in (recipe.teacher, *students)}
    logits, mean = np.zeros(len(students)), 0.0
    runs: dict[str, Run] = {}
    rewards: list[float] = []
    tried: list[str] = []
    for number in range(rounds):
        share = np.exp(logits) / np.exp(logits).sum()
        at = int(draws.choice(len(students), p=share))
        name = students[at]
        if name not in runs:
            (runs[name],) = train_cells({name: recipe.replace(student=name)}, Path(out) / name, **how)
        summary = runs[name].summary
        about = accuracy_of(runs[name]), sizes[name], summary["teacher_test_accuracy"], sizes[recipe.teacher]
        own = reward(*about, budget=budget, number=min(number, PATIENCE))
        rewards.append(own)
        tried.append(name)
        if propose == "reinforce":
            logits += RATE * (own - mean) * (np.eye(len(students))[at] - share)
        mean += (own - mean) / (number + 1)
    share = np.exp(logits) / np.exp(logits).sum()
    best = tried[int(np.argmax(rewards))]
    across = np.array([sizes[n] for n in runs], float)
    series = {"students": (across, 100 * np.array([accuracy_of(run) for run in runs.values()]))}
    figure = lines(series, "parameters", "test accuracy, %", text={"students": list(runs)}, joined=False, log=True)
    caption = (
        f"{len(runs)} of {len(students)} students were trained in {rounds} rounds; the largest reward, "
        f"{max(rewards):.3f}, is that of {best}. One run each: rewards that are close may change places."
    )
    arrays = {"reward": np.array(rewards), "share": share}
    return Experiment(View(figure, arrays, {"best": best}, caption, "Shrink by reward"), runs)
