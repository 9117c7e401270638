"""Train a recipe to the end, into a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amkd_viz.training.loop import EpochEnded, Event, Finished, Started, Training, events
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.run import Run, refuse_used

__all__ = ["distill"]


def distill(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    listen: Callable[[Event], None] | None = None,
    training: Training | None = None,
    snapshots: bool = True,
) -> Run:
    """Train the student of ``recipe`` and write everything that happens to the run folder ``out``.

    Args:
        out: a new or empty folder; default: a new one under ``runs/``, named after the recipe.
        listen: called with each event, for a progress bar or a picture.
        training: the recipe's ``Training``, where the caller has made it already.
        snapshots: keep the student of each epoch.

    Raises:
        InputError: see ``Recipe``, ``Run.create`` and ``events``. What has been written stays.
    """
    if out is not None:
        refuse_used(Path(out))  # before a teacher is trained for nothing
    # then the training: a recipe that does not fit its data leaves no folder behind
    training = training or Training(recipe, listen=listen)
    run = Run.create(out if out is not None else fresh_folder(recipe), recipe)
    for event in events(recipe, training):
        record(run, event, training, snapshots)
        if listen is not None:
            listen(event)
    return run


def record(run: Run, event: Event, training: Training, snapshots: bool = True) -> None:
    """Write what an event says to the run: the same files whoever trains."""
    match event:
        case Started():
            if snapshots and training.epoch == 0:
                run.save_snapshot(training.student, 0)
        case EpochEnded(epoch, metrics):
            run.log({"kind": "epoch", "epoch": epoch, **metrics})
            run.save_checkpoint(training.state())
            if snapshots:
                run.save_snapshot(training.student, epoch)
        case Finished(summary):
            run.finish(training.student, summary)


def fresh_folder(recipe: Recipe, parent: str | Path = "runs") -> Path:
    """A folder that does not exist yet."""
    stem = f"{Path(recipe.dataset.removeprefix('folder:')).name}-{recipe.method}-seed{recipe.seed}-{recipe.hash}"
    path, number = Path(parent) / stem, 2
    while path.exists():
        path, number = Path(parent) / f"{stem}-{number}", number + 1
    return path
