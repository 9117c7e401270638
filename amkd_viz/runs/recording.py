"""Train into a run folder: distill to the end, resume, fork from an earlier epoch, or replay."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim
from amkd_viz.data import Dataset, load, short_name
from amkd_viz.models import Classifier, build
from amkd_viz.objectives import methods
from amkd_viz.runs.run import Run
from amkd_viz.training.events import Changed, EpochEnded, Event, Finished, Started, Stepped
from amkd_viz.training.loop import events
from amkd_viz.training.prepare import prepare
from amkd_viz.training.recipe import Recipe, renamed
from amkd_viz.training.training import Training, numbered

__all__ = ["distill", "fork", "fresh_folder", "recorded", "replay", "resume"]

CHECKPOINT_SECONDS = 60.0  # within an epoch; at its end there is always one
Listener = Callable[[Event], None]


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
    if training.recipe != recipe or not training.follows_recipe:
        raise InputError(
            "What is recorded must be what the recipe says: give a sum of your own a name by methods.register, and a "
            "net of your own one by models.register, then name them in the recipe."
        )
    run = Run.create(out if out is not None else fresh_folder(recipe), recipe, teacher=training.teacher_weights)
    return _hear(run, recorded(run, training, snapshots=snapshots), listen)


def resume(run: Run, *, listen: Listener | None = None) -> Run:
    """Continue from the newest intact checkpoint: the student is the same as if training had never stopped.

    A finished run is returned as it is; one without any whole checkpoint starts again, a fork from the student that it
    had of its parent.

    Raises:
        InputError: somebody else is writing the run; or data or teacher of the recipe are gone, or the data are others.
    """
    return run if run.finished else _hear(run, continued(run, listen), listen)


def continued(run: Run, listen: Listener | None = None, like: Training | None = None) -> Iterator[Event]:
    """Yield, and record, the events of a run from its newest intact checkpoint on; ``like`` lends data and teacher."""
    _same_objective(run)
    with run.writing():  # first: who is refused has trained no teacher
        training = prepare(run.located(), like, listen)
        state = run.load_checkpoint()
        if state is None and "parent" in run.config:
            state = _inherited(run)
        if state is not None:
            try:
                training.restore(state)
            except (KeyError, RuntimeError, TypeError, ValueError) as error:
                why = " ".join(str(error).split())[:200]
                raise InputError(
                    f"The newest checkpoint of {run.path} does not fit its recipe ({why}); the data have changed, or "
                    "it is another run's: start a new run."
                ) from error
        undone = run.rewind(training.epoch, training.batch)
        yield from _record(run, training, _planned(undone))


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
        _check_fits(student, load(recipe.dataset, root=recipe.root, seed=recipe.data_seed))
    parent = {"path": str(run.path.resolve()), "epoch": epoch, "recipe": run.recipe.hash}
    made = Run.create(out if out is not None else fresh_folder(recipe), recipe, parent=parent)
    peers = numbered("peer", recipe.peers) if recipe.peers == run.recipe.peers else {}  # other peers start anew
    made.save_snapshot({"student": student} | {name: run.net(name, epoch) for name in peers}, epoch)
    made.save_checkpoint(_inherited(made))
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
        fitting = build(student.architecture, data).state_dict()
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
    _same_objective(run)
    planned = _planned(run.interventions(all_of_them=True))
    recipe, parent = run.located(), run.config.get("parent")
    training = prepare(recipe, listen=listen)
    if parent:  # also from epoch 0: the parent's first student may be of another seed
        training.restore(_inherited(run))
    out = out if out is not None else fresh_folder(recipe)
    again = Run.create(out, recipe, parent, training.teacher_weights, replay_of=run)
    return _hear(again, recorded(again, training, planned), listen)


def recorded(run: Run, training: Training, planned: Iterable[Changed] = (), snapshots: bool = True) -> Iterator[Event]:
    """Yield the events of a training, each written to the run first."""
    with run.writing():
        yield from _record(run, training, planned, snapshots)


def _record(run: Run, training: Training, planned: Iterable[Changed], snapshots: bool = True) -> Iterator[Event]:
    saved = time.monotonic()
    for event in events(training, planned):
        match event:
            case Started():
                run.know_teacher(training.teacher_weights)
                told = [line.get("text") for line in run.lines()]
                for note in (note for note in training.notes if note not in told):  # a run that goes on has them
                    run.log({"kind": "note", "text": note})
                if snapshots and training.batch == 0 and training.epoch not in run.snapshots():
                    run.save_snapshot(training.learning, training.epoch)
            case Changed(epoch, batch, changes):
                run.log({"kind": "intervention", "epoch": epoch, "batch": batch, "changes": changes})
            case Stepped() if time.monotonic() - saved > CHECKPOINT_SECONDS:
                run.save_checkpoint(training.state())
                saved = time.monotonic()
            case EpochEnded(epoch, metrics):
                step = epoch * len(training.loader)  # a fork's parent counts as if it had had the same batches
                run.log({"kind": "epoch", "epoch": epoch, "step": step, **metrics})
                run.save_checkpoint(training.state())
                saved = time.monotonic()
                if snapshots:
                    run.save_snapshot(training.learning, epoch)
            case Finished(summary):
                run.finish(training.learning, summary)
        yield event


def fresh_folder(recipe: Recipe, parent: str | Path = "runs", kind: str = "") -> Path:
    """Return the path of a folder that does not exist yet, named after the recipe; ``kind`` replaces its method."""
    stem = f"{short_name(recipe.dataset)}-{kind or recipe.method}-seed{recipe.seed}-{recipe.hash}"
    path, number = Path(parent) / stem, 2
    while path.exists():
        path, number = Path(parent) / f"{stem}-{number}", number + 1
    return path


def _inherited(run: Run) -> dict[str, Any]:
    """Return the state that a fork starts from: its parent's nets, which it keeps as snapshots."""
    epoch = run.config["parent"]["epoch"]
    peers = [name for name in numbered("peer", run.recipe.peers) if run.has_net(name, epoch)]
    nets = {name: run.net(name, epoch).state_dict() for name in peers}
    return {"epoch": epoch, "student": run.student(epoch).state_dict(), "nets": nets}


def _planned(lines: Iterable[dict[str, Any]]) -> list[Changed]:
    return [Changed(line["epoch"], line["batch"], renamed(line["changes"])) for line in lines]


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


def _same_objective(run: Run) -> None:
    """Refuse a run whose registered method now stands for another sum."""
    now, then = str(run.recipe.objective), run.objective
    if now != then:
        raise InputError(
            f"The run {run.path} was trained with {then}, but its method {run.recipe.method!r} now is {now}; register "
            "the sum that it was, or start a new run."
        )
