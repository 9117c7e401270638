"""Classes: how a net relates them, students of a part of them, and classes that come one task after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.experiments.result import Experiment, accuracy_of, heat, lines
from amkd_viz.models import Classifier
from amkd_viz.runs import Run, train_cells
from amkd_viz.training import Recipe, logits_on
from amkd_viz.views.view import View

__all__ = ["class_correlations", "class_incremental", "class_parts", "correlations"]


def correlations(logits: Tensor) -> Tensor:
    """Return (K, K) Pearson correlations between the logits of classes over samples (N, K)."""
    z = logits - logits.mean(0)
    z = z / z.norm(dim=0).clamp_min(1e-12)
    return z.T @ z


def class_correlations(run: Run) -> Experiment:
    """Show which classes' logits rise and fall together: teacher, student, and their difference.

    Returns:
        arrays ``teacher`` and ``student`` (K, K) in [-1, 1]; note ``distance``, the mean absolute difference off the
        diagonal.

    Raises:
        InputError: the run is not finished or has no teacher.
    """
    data = run.dataset()
    made = {
        n: correlations(logits_on(net, data.test)).numpy()
        for n, net in (("teacher", run.teacher()), ("student", run.student()))
    }
    apart = made["teacher"] - made["student"]
    off = ~np.eye(len(apart), dtype=bool)
    distance = float(np.abs(apart)[off].mean())
    figure = heat({**made, "teacher less student": apart}, data.classes, -1, 1)
    caption = (
        "Correlation of the logits of two classes over the test samples. Teacher and student differ by "
        f"{distance:.3f} on average, the diagonal left out. A small difference does not say that the student is right."
    )
    return Experiment(View(figure, made, {"distance": distance}, caption, "Correlations of classes"), {"run": run})


def class_parts(recipe: Recipe, parts: int, out: str | Path, **how: Any) -> Experiment:
    """Train one student for each part of the classes, and one for all (MSD, arXiv 2410.23274).

    Each sees the samples of its part only, in as many steps as the one student of all classes.

    Args:
        parts: number of parts of consecutive classes.

    Returns:
        runs ``whole``, ``part0`` ...; notes: test accuracies ``whole`` (one student), ``oracle`` (the part of the label
        is given, an upper bound), ``router`` (the part of the teacher's prediction).

    Raises:
        InputError: fewer than two parts, or more than classes.
    """
    data = recipe.load()
    if not 2 <= parts <= data.num_classes:
        raise InputError(f"parts must be between 2 and {data.num_classes} for {data.name}, got {parts}.")
    of = torch.arange(data.num_classes) * parts // data.num_classes
    made = {"whole": recipe}
    for part in range(parts):
        named = ",".join(str(k) for k in range(data.num_classes) if of[k] == part)
        made[f"part{part}"] = recipe.replace(order=f"part:{named}")
    runs = dict(zip(made, train_cells(made, out, **how), strict=True))
    test, teacher = runs["whole"].dataset().test, logits_on(runs["whole"].teacher(), data.test)
    each = []
    for part in range(parts):
        logits = logits_on(runs[f"part{part}"].student(), test)
        each.append(logits.masked_fill(of != part, -torch.inf).argmax(1))
    predictions = torch.stack(each)
    by_label, by_teacher = (predictions.gather(0, of[c][None])[0] for c in (test.y, teacher.argmax(1)))
    notes = {
        "whole": accuracy_of(runs["whole"]),
        "oracle": float((by_label == test.y).float().mean()),
        "router": float((by_teacher == test.y).float().mean()),
        "teacher": float((teacher.argmax(1) == test.y).float().mean()),
    }
    series = {name: (np.array([place]), np.array([100 * share])) for place, (name, share) in enumerate(notes.items())}
    figure = lines(series, "", "test accuracy, %", joined=False)
    figure.update_xaxes(tickvals=list(range(len(notes))), ticktext=list(notes))
    caption = (
        f"{parts} students of a part of the classes each, against one of all. In generation the class is given "
        "(oracle); in classification it is the question, so the oracle is an upper bound and the router pays with the "
        "teacher's pass. One run each: a difference may be chance."
    )
    return Experiment(View(figure, {}, dict(notes), caption, "Students of class parts"), runs)


ROWS = {
    "naive": ("tasks", "ce"),
    "replay": ("replay", "ce"),
    "replay-kd": ("replay", "replay-kd"),
    "coconut": ("replay", "coconut"),
}


def class_incremental(
    recipe: Recipe, tasks: int, out: str | Path, *, rows: Sequence[str] = tuple(ROWS), **how: Any
) -> Experiment:
    """Show classes in tasks, one after the other, and see what of the earlier ones is kept.

    Args:
        rows: naive, replay (a buffer of 1 % of the samples), replay-kd (and KD from the self of the last task),
            coconut (and contrast with it).

    Returns:
        runs by row; arrays ``ROW`` (epochs,), the test accuracy over the classes seen so far; notes ``ROW.first``, the
        accuracy on the classes of the first task at the end, and ``ROW.last``.

    Raises:
        InputError: fewer than two tasks, an unknown row, or see ``train_cells``.
    """
    for row in rows:
        if row not in ROWS:
            raise InputError(f"rows must be among {', '.join(ROWS)}, got {row!r}.")
    made = {row: recipe.replace(order=f"{ROWS[row][0]}:{tasks}", method=ROWS[row][1], overrides={}) for row in rows}
    runs = dict(zip(made, train_cells(made, out, **how), strict=True))
    arrays: dict[str, Any] = {}
    notes: dict[str, Any] = {}
    for row, run in runs.items():
        each = {epoch: _by_class(run.student(epoch), run.dataset().test) for epoch in run.snapshots() if epoch}
        classes = len(next(iter(each.values())))
        count = min(tasks, classes)
        of = np.arange(classes) * count // classes
        now = {epoch: count * (epoch - 1) // run.recipe.epochs for epoch in each}
        arrays[row] = np.array([np.nanmean(shares[of <= now[epoch]]) for epoch, shares in each.items()])
        final = each[max(each)]
        notes |= {
            f"{row}.first": float(np.nanmean(final[of == 0])),
            f"{row}.last": float(np.nanmean(final[of == count - 1])),
        }
    epochs = {row: np.array([e for e in run.snapshots() if e]) for row, run in runs.items()}
    series = {row: (epochs[row], 100 * arrays[row]) for row in arrays}
    figure = lines(series, "epoch", "accuracy on the classes seen so far, %")
    figure.update_traces(mode="lines")
    kept = ", ".join(f"{row} {100 * notes[f'{row}.first']:.0f} %" for row in rows)
    caption = (
        f"Mean over classes of the test accuracy. Kept of the first task at the end: {kept}. One run each; "
        "paired, since all start alike and see the same samples of a task."
    )
    return Experiment(View(figure, arrays, notes, caption, "Classes in tasks"), runs)


def _by_class(net: Classifier, test: Any) -> Any:
    logits = logits_on(net, test)
    right = (logits.argmax(1) == test.y).double()
    sums = torch.zeros(logits.shape[1], dtype=torch.float64).index_add_(0, test.y, right)
    return (sums / test.y.bincount(minlength=logits.shape[1])).numpy()
