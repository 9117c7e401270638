"""Exercises of 04_distill."""

from __future__ import annotations

from typing import Any

from amkd_viz.runs import Run
from amkd_viz.training import DIGITS
from exercises.checking import LookAgain, exercise, number


@exercise(
    "04.a",
    f"The demo on digits has {DIGITS.epochs} epochs, and the weight of the boundary terms falls to 0 at three "
    "quarters. "
    "In which epoch (from 1) is the attack run for the last time?",
)
def last_attack(answer: Any) -> str:
    value, epochs = number(answer, "an epoch"), DIGITS.epochs
    right = max(e for e in range(1, epochs + 1) if "boundary" in DIGITS.objective.batches(e / epochs))
    if value == right + 1:
        raise LookAgain(f"in epoch {right + 1} the weight is exactly 0, and a term of weight 0 is not computed.")
    if value != right:
        raise LookAgain("'boundary' in objective.batches(e / E) says whether the attack runs in epoch e of E.")
    return f"epoch {right}: from then on an epoch costs no more than one of kd."


@exercise(
    "04.b",
    "Give a finished run whose triplet margin was changed by hand while it was training.",
)
def changed_by_hand(answer: Any) -> str:
    run = _run(answer)
    found = [line for line in run.interventions() if "boundary_triplet.margin" in line["changes"]]
    if not found:
        raise LookAgain(
            'this run has no such change. job.set(**{"boundary_triplet.margin": 0.5}) has to come while it '
            "trains or is "
            "paused, not before start() and not after the end."
        )
    if not run.finished:
        raise LookAgain("the change is there, but the run is not finished; let the job go on, or resume(run).")
    line = found[0]
    return (
        f"in epoch {line['epoch'] + 1}, before batch {line['batch'] + 1}, to "
        f"{line['changes']['boundary_triplet.margin']:g}. "
        "It is in metrics.jsonl, so replay(run) can do it again, bit for bit on a CPU."
    )


@exercise("04.c", "Fork a run, train the fork to its end with another learning rate, and give the fork.")
def forked(answer: Any) -> str:
    run = _run(answer)
    parent = run.config.get("parent")
    if not parent:
        raise LookAgain("this run has no parent; resume(fork(run, epoch, learning_rate=...)) gives one that has.")
    if not run.finished:
        raise LookAgain("fork() only prepares the folder; resume() trains it.")
    recipe = Run.open(parent["path"]).recipe if "path" in parent else None
    if recipe is not None and recipe.learning_rate == run.recipe.learning_rate:
        raise LookAgain(f"its learning rate is its parent's, {run.recipe.learning_rate:g}.")
    return f"it started from epoch {parent['epoch']} of its parent, which is still there as it was."


def _run(answer: Any) -> Run:
    if not isinstance(answer, Run):
        raise LookAgain(f"give a Run (job.run, or what distill and resume return), not {type(answer).__name__}.")
    return answer
