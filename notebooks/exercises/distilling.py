"""Exercises of 04_distill."""

from __future__ import annotations

from typing import Any

from amkd_viz.runs import Run
from amkd_viz.training import DIGITS
from exercises.checking import LookAgain, exercise, number
from exercises.predictions import question


@exercise(
    "04.a",
    f"The demo on digits has {DIGITS.epochs} epochs, and the weight of the boundary terms falls to 0 at three "
    "quarters. "
    "In which epoch (from 1) is the attack run for the last time?",
    (
        "At which share of the training does the weight reach 0?",
        "After epoch e the progress is e / 200; a weight of exactly 0 runs no attack.",
    ),
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
    (
        "One run of this notebook was changed by set() while it trained.",
        "job.run is the folder of that job.",
    ),
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


@exercise(
    "04.c",
    "Fork a run, train the fork to its end with another learning rate, and give the fork.",
    (
        "fork(run, epoch=..., learning_rate=...) prepares a folder, resume() trains it.",
        "The notebook has made one already.",
    ),
)
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


@question(
    "04.margin",
    "The margin doubles at epoch 20. What happens to the triplet loss at that moment?",
    choices=("it jumps up", "it drops", "it goes on as before"),
)
def loss_after_a_change(view: Any, run: Run) -> tuple[str, str]:
    lines = run.metrics()
    before, after = (line["terms"]["boundary_triplet"] for line in lines[19:21])
    truth = "it jumps up" if after > 1.1 * before else "it drops" if after < 0.9 * before else "it goes on as before"
    return truth, (
        f"From {before:.2f} to {after:.2f} within an epoch: the target moved, not the student. More triplets are "
        "active, too: negatives that were far enough are no longer. The line marks your change. Compare losses "
        "only at equal settings."
    )


@question(
    "04.fork",
    "Which one has the better test accuracy at epoch 40?",
    choices=("the parent, at up to 0.1", "the fork, at 0.01", "they are equal"),
)
def parent_or_fork(view: Any, parent: Run, child: Run) -> tuple[str, str]:
    a, b = (run.summary["test_accuracy"] for run in (parent, child))
    truth = "they are equal" if a == b else "the parent, at up to 0.1" if a > b else "the fork, at 0.01"
    return truth, f"{a:.1%} and {b:.1%}. Two runs, one seed: this is what happened, not what would happen again."
