"""Train a grid of recipes, such as several methods with several seeds, each cell into its own run folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim, files_below
from amkd_viz.objectives import methods as known_methods
from amkd_viz.runs.engines import Cell, Ended, Engine, Stored, going_on, train_all, unfinished
from amkd_viz.runs.prepare import OF_DATA, OF_TEACHER, prepare
from amkd_viz.runs.remote import Remote, patiently
from amkd_viz.runs.run import Run
from amkd_viz.training.events import Event
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training

__all__ = ["Counted", "Unfinished", "cells", "compare", "entrants", "train_cells"]


@dataclass(frozen=True)
class Counted:
    """How far a grid is: ``done`` of ``total`` runs are finished and ``failed`` have ended without.

    Attributes:
        epochs: epochs that all runs together still have to train, in the first event of a grid; else 0.
    """

    done: int
    total: int
    failed: int = 0
    epochs: int = 0


class Unfinished(InputError):
    """Some cells of a grid did not finish.

    Attributes:
        runs: the finished runs.
        reasons: name of each other cell -> why it did not finish.
    """

    def __init__(self, runs: list[Run], reasons: Mapping[str, str]) -> None:
        self.runs, self.reasons = runs, dict(reasons)
        super().__init__(unfinished(reasons, len(runs) + len(reasons), "runs"))


Listener = Callable[[Event | Counted], None]


def compare(
    recipe: Recipe,
    methods: Sequence[str],
    seeds: int,
    out: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    engine: Engine | None = None,
    listen: Listener | None = None,
) -> list[Run]:
    """Train ``recipe`` by each method with seeds 0 .. seeds - 1, each into its own folder ``out/METHOD-seedK``.

    Data and teacher are shared. Called again with the same arguments, it goes on where it was stopped.

    Args:
        overrides: of terms, by default those of ``recipe``; each goes to the methods that have its term.
        jobs, engine, listen: see ``train_cells``.

    Raises:
        InputError: an unknown method, one named twice or none, no seed, a change that no method has a term for; or see
            ``train_cells``.
    """
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}.")
    grid = cells(recipe, overrides, method=methods, seed=range(seeds))
    return train_cells(grid, out, jobs=jobs, engine=engine, listen=listen)


def cells(
    recipe: Recipe, overrides: Mapping[str, Any] | None = None, **axes: Sequence[Any] | Iterable[Any]
) -> dict[str, Recipe]:
    """Return one recipe per combination of values of fields, by name.

    Args:
        overrides: of terms, by default those of ``recipe``; each goes to the methods that have its term.
        axes: field of Recipe -> its values.

    Raises:
        InputError: see ``Recipe`` and ``entrants``.

    >>> recipe = Recipe(method="bss", overrides={"kd.scale": 8, "boundary_kd.scale": 8})
    >>> {name: own.overrides for name, own in cells(recipe, method=["kd", "bss"], seed=range(1)).items()}
    {'kd-seed0': {'kd.scale': 8.0}, 'bss-seed0': {'kd.scale': 8.0, 'boundary_kd.scale': 8.0}}
    """
    by_method = entrants(recipe, list(axes.get("method", [recipe.method])), overrides)
    found = {}
    for values in itertools.product(*axes.values()):
        own = dict(zip(axes, values, strict=True))
        name = "-".join(str(value) if field == "method" else f"{field}{value}" for field, value in own.items())
        found[name] = by_method[own.pop("method", recipe.method)].replace(**own)
    return found


def train_cells(
    cells: Mapping[str, Recipe],
    out: str | Path,
    *,
    jobs: int | None = None,
    engine: Engine | None = None,
    listen: Listener | None = None,
) -> list[Run]:
    """Train each recipe into the folder ``out/NAME``, missing teachers first.

    A finished run is kept and an unfinished one resumed, so the same call goes on with what was stopped or killed. A
    cell that fails does not keep the others from training. On a CPU the students do not depend on ``jobs``.

    Args:
        cells: folder below ``out`` -> recipe.
        out: a folder, or a URL that fsspec opens, such as s3://BUCKET/FOLDER; the runs returned are then copies here.
        jobs: number of processes, with one CPU thread each. By default one per core where all networks train on one
            thread (points, images below 16 x 16); else the cells train one after the other in this process. Recipes
            with a name that was added by ``register`` always train in this process, which alone knows it.
        engine: trains them elsewhere in place of ``jobs`` processes here, such as ``cluster.Cluster()``.
        listen: called with each event that happens in this process, with ``EpochEnded`` of the others, and with
            ``Counted`` at the start and after each run.

    Raises:
        InputError: ``out`` holds other runs or other files, or cannot be reached, or a recipe does not fit its data;
            nothing is trained then.
        Unfinished: some runs have failed; all others are finished.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be at least 1, got {jobs}.")
    for recipe in cells.values():
        recipe.check_nets()
    remote = Remote.of(out)
    out = Path(out) if remote is None else remote.pull()
    folders = {out / name: recipe for name, recipe in cells.items()}
    runs = _runs_there(folders, out, remote)
    todo = {path: recipe for path, recipe in folders.items() if path not in runs or not runs[path].finished}
    check_writable(out)
    if engine is not None:
        engine.connect(remote or out)
    reasons: dict[str, str] = {}
    ended = 0

    def count(epochs: int = 0) -> None:
        if listen is not None:
            listen(Counted(len(folders) - len(todo) + ended - len(reasons), len(folders), len(reasons), epochs))

    def hear(path: Path, event: Event | Ended) -> None:
        nonlocal ended
        if isinstance(event, Ended):
            ended += 1
            if remote is not None:
                patiently(remote.pull)
            if event.reason is not None:
                reasons[str(path.relative_to(out))] = event.reason
            count()
        elif listen is not None:
            listen(event)

    with going_on():
        count(sum(recipe.epochs - (runs[path].epochs_done if path in runs else 0) for path, recipe in todo.items()))
        likes = _prepared(todo.values(), listen)
        count()
        waiting: Mapping[Path, Cell] = todo
        if remote is not None:
            waiting = {path: Stored(recipe, remote.url_of(path)) for path, recipe in todo.items()}
        train_all(waiting, hear, jobs=jobs, engine=engine, likes=likes)
    finished = [Run.open(path) for path in folders if str(path.relative_to(out)) not in reasons]
    if reasons:
        raise Unfinished(finished, reasons)
    return finished


def _runs_there(folders: Mapping[Path, Recipe], out: Path, remote: Remote | None) -> dict[Path, Run]:
    """Return the runs that are in ``out`` already.

    Raises:
        InputError: it holds other files, or runs of other recipes.
    """
    if out.is_dir():
        present = files_below(out)
        runs = {file.parent: Run.open(file.parent) for file in present if file.name == "config.json"}
        if runs or not (present or remote):
            for path, run in runs.items():
                if path not in folders or run.recipe != folders[path]:
                    where = path if remote is None else remote.url_of(path)
                    raise InputError(
                        f"{where} holds a run of another recipe and is never overwritten; choose another name."
                    )
            return runs
    if remote is None:
        claim(out)
    else:
        remote.claim()
    return {}


def _prepared(recipes: Iterable[Recipe], listen: Listener | None) -> list[Training]:
    """Return a training for each data set and teacher, so that no two processes train the same teacher."""
    kinds: dict[tuple[Any, ...], Recipe] = {}
    for recipe in recipes:
        kinds.setdefault(tuple(getattr(recipe, field) for field in (*OF_DATA, *OF_TEACHER, "num_train")), recipe)
    likes: list[Training] = []
    for recipe in kinds.values():
        likes.append(prepare(recipe, likes[-1] if likes else None, listen))
    return likes


def entrants(recipe: Recipe, methods: Sequence[str], overrides: Mapping[str, Any] | None = None) -> dict[str, Recipe]:
    """Return the recipe of each method, by name; overrides go to the methods that have the term.

    Raises:
        InputError: an unknown method, one named twice or none, or a change that no method has a term for.
    """
    if not methods or len(set(methods)) < len(methods):
        raise InputError(
            f"methods must name one or more, each once, not {','.join(methods)!r}; allowed: {', '.join(known_methods)}."
        )
    overrides = recipe.overrides if overrides is None else overrides
    found = {}
    for method in methods:
        terms = known_methods[method]().names
        own_changes = {
            name: value for name, value in overrides.items() if name.partition(".")[0] in {*terms, recipe.sampler}
        }
        found[method] = recipe.replace(method=method, overrides=own_changes)
    idle = [name for name in overrides if not any(name in own.overrides for own in found.values())]
    if idle:
        raise InputError(f"None of {', '.join(methods)} has the term of {idle[0]}; leave it out or add such a method.")
    return found
