"""Train into a run folder: distill to the end, resume, fork from an earlier epoch, or replay."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim
from amkd_viz.data import Dataset, short_name
from amkd_viz.models import Classifier, build
from amkd_viz.objectives import methods
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.run import Listener, Run, changes_in, follow_rank
from amkd_viz.training.events import Event
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training, changed, numbered

__all__ = ["continued", "distill", "fork", "fresh_folder", "replay", "resume"]


def distill(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    listen: Listener | None = None,
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
    if not isinstance(recipe, Recipe):
        raise InputError(f"distill takes a recipe, such as Recipe(dataset='digits'), not {recipe!r}.")
    recipe.check_nets()
    check_writable(claim(Path(out) if out is not None else fresh_folder(recipe)))  # before training a teacher
    # then the training: a recipe that does not fit its data leaves no folder behind
    training = training or prepare(recipe, listen=listen)
    if training.asked != recipe or not training.follows_recipe:
        raise InputError(
            "What is recorded must be what the recipe says: give a sum of your own a name by methods.register, and a "
            "net of your own one by models.register, then name them in the recipe."
        )
    run = Run.create(out if out is not None else fresh_folder(recipe), recipe, training=training)
    return _hear(run, run.train(lambda: training, snapshots=snapshots), listen)


def resume(run: Run, *, listen: Listener | None = None, **overrides: Any) -> Run:
    """Continue from the newest intact checkpoint: the student is the same as if training had never stopped.

    A finished run is returned as it is; one without any whole checkpoint starts again, a fork from the student that it
    had of its parent.

    Args:
        overrides: other settings from here on, such as ``learning_rate=0.01`` after a divergence; see
            ``Training.override``. The log records them as changes made by hand.

    Raises:
        InputError: another process writes the run; data or teacher of the recipe are gone, or the data have changed; or
            an override is not allowed, or the run is finished.
    """
    if overrides:
        changed(run.recipe, overrides)  # before a teacher is trained
    if not run.finished:
        return _hear(run, continued(run, listen, overrides=overrides), listen)
    if overrides:
        raise InputError(f"The run {run.path} is finished; fork it from one of its epochs with other settings.")
    return run


def take_part(recipe: Recipe, run: Run | None = None) -> None:
    """Train on another rank than the first, which calls ``distill`` or ``resume`` with the same recipe or run.

    Raises:
        InputError: see ``distill``.
    """
    recipe.check_nets()
    if run is None:
        follow_rank(lambda: prepare(recipe))
    elif not run.finished:
        follow_rank(lambda: prepare(run.located()))


def begun(recipe: Recipe, out: str | Path | None = None) -> Run | None:
    """Return the run that ``distill(recipe, out)`` has begun before, or None."""
    last = [path for path in _folders(recipe) if path.exists()][-1:] if out is None else [Path(out)]
    found = [Run.open(path) for path in last if (path / "config.json").exists()]
    return next((run for run in found if run.recipe == recipe), None)


def continued(
    run: Run,
    listen: Listener | None = None,
    like: Training | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Iterator[Event]:
    """Yield, and record, the events of a run from its newest intact checkpoint on; ``like`` lends data and teacher."""
    return run.train(lambda: prepare(run.located(), like, listen), overrides=overrides)


def fork(run: Run, epoch: int, out: str | Path | None = None, **changes: Any) -> Run:
    """Make a new run that starts from the snapshot of ``run`` after ``epoch``; ``resume`` trains it.

    Its settings are those that ``run`` had by then: its recipe, what was changed by hand before, and ``changes``.

    Args:
        changes: fields of the recipe; the student's architecture stays.

    Raises:
        InputError: no such snapshot, an unknown setting, another student, data that it does not fit, no epoch left to
            train, or a damaged line in the log; nothing is written then.
    """
    recipe = run.located(_changed(run.recipe_after(epoch), changes))
    if recipe.student != run.recipe.student:
        raise InputError(f"A fork keeps its student {run.recipe.student!r}; start a new run for {recipe.student!r}.")
    if recipe.epochs <= epoch:
        raise InputError(f"A fork from epoch {epoch} needs epochs > {epoch}, not {recipe.epochs}.")
    student = run.student(epoch)
    before = run.located()
    if (recipe.dataset, recipe.root) != (before.dataset, before.root):
        _check_fits(student, recipe.load())
    parent = {"path": str(run.path.resolve()), "epoch": epoch, "recipe": run.recipe.hash}
    made = Run.create(out if out is not None else fresh_folder(recipe), recipe, parent=parent)
    peers = numbered("peer", recipe.peers) if recipe.peers == run.recipe.peers else {}  # other peers start anew
    made.save_snapshot({"student": student} | {name: run.net(name, epoch) for name in peers}, epoch)
    made.save_checkpoint(made.inherited())
    return made


def _changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """Return the recipe with changes, without the overrides of terms that a new method does not have."""
    terms = methods[changes.get("method", recipe.method)]().names
    numbers = {
        name: value for name, value in recipe.overrides.items() if name.partition(".")[0] in {*terms, recipe.sampler}
    }
    return recipe.replace(**{"overrides": numbers, **changes})


def _check_fits(student: Classifier, data: Dataset) -> None:
    """Refuse data that the student does not fit; compares weights, since some nets take any height and width."""
    try:
        fitting = build(student.architecture, data, shortcut=getattr(student.body, "shortcut", None)).state_dict()
    except InputError:  # no such net for data of this kind
        fitting = {}
    own = student.state_dict()
    if {name: t.shape for name, t in own.items()} != {name: t.shape for name, t in fitting.items()}:
        raise InputError(
            f"A fork keeps its student, which takes inputs of shape {student.shape} and knows {student.num_classes} "
            f"classes, but {data.name} has {data.shape} and {data.num_classes}; start a new run for {data.name}."
        )


def replay(run: Run, out: str | Path | None = None, *, listen: Listener | None = None) -> Run:
    """Train again with the same overrides at the same batches: the same student, bit for bit on a CPU.

    Raises:
        InputError: see ``distill``; or a line of the run's log is damaged, and may have held such a change.
    """
    run.check_objective()
    planned = changes_in(run.interventions(all_of_them=True))
    recipe, parent = run.located(), run.config.get("parent")
    training = prepare(recipe, listen=listen)
    run.check_data(training.full)
    names = [name for name in numbered("peer", recipe.peers) if parent and run.has_net(name, parent["epoch"])]
    nets = {name: run.net(name, parent["epoch"]) for name in ["student", *names]} if parent else {}
    again = Run.create(out if out is not None else fresh_folder(recipe), recipe, parent, training, run)
    if parent:  # also from epoch 0: the parent's first student may be of another seed
        again.save_snapshot(nets, parent["epoch"])
    return _hear(again, again.train(lambda: training, planned), listen)


def fresh_folder(recipe: Recipe, parent: str | Path = "runs", kind: str = "") -> Path:
    """Return the path of a folder that does not exist yet, named after the recipe; ``kind`` replaces its method."""
    *_, path = _folders(recipe, parent, kind)
    return path


def _folders(recipe: Recipe, parent: str | Path = "runs", kind: str = "") -> Iterator[Path]:
    """Yield the folders of a recipe's runs, STEM, STEM-2, ..., up to the first that does not exist."""
    stem = f"{short_name(recipe.dataset)}-{kind or recipe.method}-seed{recipe.seed}-{recipe.hash}"
    path, number = Path(parent) / stem, 2
    yield path
    while path.exists():
        path, number = Path(parent) / f"{stem}-{number}", number + 1
        yield path


def _hear(run: Run, happening: Iterable[Event], listen: Listener | None) -> Run:
    try:
        for event in happening:
            if listen is not None:
                listen(event)
    except KeyboardInterrupt as stop:  # name the default folder
        if not run.finished:
            stop.add_note(f"'amkd-viz distill --resume {shlex.quote(str(run.path))}' goes on with the run it left.")
        raise
    return run
