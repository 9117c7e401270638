"""Tune the numbers of several methods on the validation split, with the same number of trials for each.

Optuna proposes settings. Trials are cells that the engines of grids train, a few at once, and each is one file. What is
proposed, and where a trial stops early (asynchronous successive halving: Li et al., MLSys 2020), depends on whole
batches of earlier trials only, so the trials do not depend on how many processes there are, or how fast they are. The
test split is read once, by the runs that :func:`confirm` trains with the best settings and seeds that no trial has had.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim, write_atomic
from amkd_viz.core.parse import read
from amkd_viz.core.rng import mix
from amkd_viz.data.checks import require
from amkd_viz.runs.engines import RETRIES, Cell, Ended, Engine, Stored, going_on, train_all, unfinished
from amkd_viz.runs.grid import Listener, entrants, train_cells
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.remote import Remote, patiently
from amkd_viz.runs.run import Run
from amkd_viz.runs.trial import Attempt, Trial
from amkd_viz.training.events import Event
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training

__all__ = ["Trial", "Tuned", "confirm", "format_tuned", "search_space", "tune"]

FORMAT = 2  # 1: the trials were in a journal of Optuna
TOGETHER = 4  # trials of a method that train at once; the next ones are proposed when all of them have ended
REDUCTION = 2  # of successive halving: at each rung the better half goes on
FRESH = 1000  # seeds of confirmed runs begin here: trials have those from 0
SCALE = (0.125, 16.0)
NUMBERS = {"margin": (0.1, 4.0), "temperature": (1.0, 16.0)}  # fields of terms that are tuned, where a term has them


@dataclass(frozen=True)
class Tuned:
    """The trials of one method. ``best`` is the recipe of the best one, with the seed of the recipe that was tuned."""

    method: str
    best: Recipe
    trials: tuple[Trial, ...]

    @property
    def accuracy(self) -> float:
        """Validation accuracy of the best trial: the largest of many, so it is too high."""
        return max(trial.accuracy or 0.0 for trial in self.trials)


def search_space(recipe: Recipe) -> dict[str, tuple[float, float]]:
    """Return the bounds of each number that is tuned, on a logarithmic scale.

    These are the learning rate, the factor of each term beside ``ce`` (1/8 to 16), and the margins and temperatures of
    terms that have one.

    >>> list(search_space(Recipe(method="bss")))
    ['learning_rate', 'kd.scale', 'kd.temperature', 'boundary_kd.scale', 'boundary_kd.temperature']
    """
    space = {"learning_rate": (recipe.learning_rate / 10, min(10.0, recipe.learning_rate * 3))}
    for term, _ in recipe.objective.summands:
        if term.label != "ce":
            space[f"{term.label}.scale"] = SCALE
            space |= {f"{term.label}.{name}": bounds for name, bounds in NUMBERS.items() if hasattr(term, name)}
    return space


def tune(
    recipe: Recipe,
    methods: Sequence[str],
    trials: int,
    out: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    seeds: int = 1,
    jobs: int | None = None,
    engine: Engine | None = None,
    listen: Callable[[str, int], None] | None = None,
) -> list[Tuned]:
    """Try ``trials`` settings of each method. Called again with the same arguments, it goes on where it was stopped.

    The first trial of each method has the numbers of ``recipe``. A training that diverges counts as a trial of accuracy
    0. Trials read training and validation samples alone. A trial whose process dies starts again. On a CPU the trials
    depend neither on ``jobs`` nor on ``engine`` (where cells train on one thread each, see ``train_cells``).

    Args:
        overrides: of terms, by default those of ``recipe``; each goes to the methods that have its term.
        seeds: trainings per trial, seeds 0 .. seeds - 1.
        jobs, engine: see ``train_cells``. No more than four trials of each method train at once.
        listen: called with the method and the number of its trials, in this process, after each trial.

    Raises:
        InputError: optuna is missing, ``out`` holds something else, a number is below 1, a recipe does not fit its
            data, a trial cannot be written or its process has died 6 times, or see ``entrants``.
    """
    for name, value in (("trials", trials), ("seeds", seeds), ("jobs", 1 if jobs is None else jobs)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}.")
    recipes = entrants(recipe, methods, overrides)
    require("optuna", "optuna", "Tuning").logging.set_verbosity(30)
    remote = Remote.of(out)
    out = Path(out) if remote is None else remote.pull()
    plan = {"format": FORMAT, "recipes": {name: own.to_json() for name, own in recipes.items()}, "seeds": seeds}
    begun = _begun(out, plan, remote)
    if engine is not None:
        engine.connect(remote or out)
    if not begun:
        content = json.dumps(plan, indent=1) + "\n"
        write_atomic(out / "tuning.json", content)
        if remote is not None:
            remote.write("tuning.json", content.encode(), new=True)
    files = {name: [out / "trials" / f"{name}-{n:04d}.json" for n in range(trials)] for name in recipes}
    tried = Counter({name: sum(map(Path.exists, own)) for name, own in files.items()})
    reasons: dict[str, str] = {}

    def hear(file: Path, event: Event | Ended) -> None:
        if isinstance(event, Ended) and remote is not None:
            patiently(remote.pull)
        if isinstance(event, Ended) and event.reason is not None:
            reasons[file.stem] = event.reason
        elif isinstance(event, Ended):
            tried[method := file.stem.rpartition("-")[0]] += 1
            if listen is not None:
                listen(method, tried[method])

    done: dict[str, list[Trial]] = {name: [] for name in recipes}
    with going_on():
        likes: list[Training] = []
        for own in recipes.values():  # data, teacher and objective, before any trial
            likes = [prepare(own, likes[0] if likes else None)]
        for start in range(0, trials, TOGETHER):
            batch = range(start, min(start + TOGETHER, trials))
            todo = {
                files[name][n]: Attempt(
                    own, _proposed(own, n, done[name]), seeds, _limits(done[name], seeds * own.epochs)
                )
                for name, own in recipes.items()
                for n in batch
                if not files[name][n].exists()
            }
            waiting: Mapping[Path, Cell] = todo
            if remote is not None:
                waiting = {file: Stored(cell, remote.url_of(file)) for file, cell in todo.items()}
            train_all(waiting, hear, jobs=jobs, engine=engine, likes=likes, retries=RETRIES)
            if reasons:
                raise InputError(unfinished(reasons, trials * len(recipes), "trials"))
            for name in recipes:
                done[name] += [Trial.open(files[name][n]) for n in batch]
    return [Tuned(name, _best(recipes[name], own), tuple(own)) for name, own in done.items()]


def confirm(
    tuned: Sequence[Tuned],
    seeds: int,
    out: str | Path,
    *,
    jobs: int | None = None,
    engine: Engine | None = None,
    listen: Listener | None = None,
) -> list[Run]:
    """Train the best recipe of each method with seeds that no trial has had; see ``train_cells``.

    These runs are the only ones that read the test split.
    """
    cells = {f"{one.method}-seed{FRESH + k}": one.best.replace(seed=FRESH + k) for one in tuned for k in range(seeds)}
    return train_cells(cells, out, jobs=jobs, engine=engine, listen=listen)


def format_tuned(tuned: Sequence[Tuned]) -> str:
    """Return one line per method: trials, epochs that they trained, best validation accuracy and its settings."""
    lines = ["method    trials  stopped early  epochs  best val %  settings"]
    for one in tuned:
        stopped = sum(trial.accuracy is None for trial in one.trials)
        epochs = sum(trial.epochs for trial in one.trials)
        numbers = {"learning_rate": one.best.learning_rate, **one.best.overrides}
        settings = ", ".join(f"{name}={value:.3g}" for name, value in numbers.items())
        lines.append(
            f"{one.method:8s}  {len(one.trials):6d}  {stopped:13d}  {epochs:6d}  {100 * one.accuracy:10.2f}  {settings}"
        )
    return "\n".join([*lines, "", "The best of many trials on the validation split is too high an estimate."])


def _begun(out: Path, plan: Mapping[str, Any], remote: Remote | None) -> bool:
    """Return whether ``out`` holds trials of this plan.

    Raises:
        InputError: it holds others, or other files.
    """
    file = out / "tuning.json"
    if file.exists():
        kept = read(file, "tuning", {"recipes": {str: dict}, "seeds": range(1, 10**6)}, format=FORMAT)
        if kept != json.loads(json.dumps(plan)):
            where = out if remote is None else remote.url
            raise InputError(f"{where} holds the trials of another recipe; choose another folder.")
        return True
    if remote is None:
        check_writable(claim(out))
    else:
        remote.claim()
    return False


def _proposed(recipe: Recipe, number: int, earlier: Sequence[Trial]) -> dict[str, float]:
    """Return the settings of a trial, as Optuna's TPE proposes them after ``earlier`` trials."""
    if number == 0:
        return _own(recipe)
    optuna = require("optuna", "optuna", "Tuning")
    kinds = {
        name: optuna.distributions.FloatDistribution(*bounds, log=True) for name, bounds in search_space(recipe).items()
    }
    sampler = optuna.samplers.TPESampler(seed=mix("tune", recipe.method, number) % 2**32)
    study = optuna.create_study(direction="maximize", sampler=sampler)  # in memory
    states = optuna.trial.TrialState
    for trial in earlier:
        stopped = trial.accuracy is None
        study.add_trial(
            optuna.trial.create_trial(
                params=trial.settings,
                distributions=kinds,
                value=trial.accuracy,
                state=states.PRUNED if stopped else states.COMPLETE,
                intermediate_values=dict(trial.curve),
            )
        )
    return dict(study.ask(kinds).params)


def _limits(earlier: Sequence[Trial], epochs: int) -> tuple[tuple[int, float], ...]:
    """Return, for each rung, how good a trial must be to be in the better half there, among ``earlier`` and itself."""
    limits, rung = [], max(1, epochs // 4)
    while rung < epochs:
        values = sorted((value for trial in earlier if (value := trial.at(rung)) is not None), reverse=True)
        if values:
            limits.append((rung, values[max(0, (len(values) + 1) // REDUCTION - 1)]))
        rung *= REDUCTION
    return tuple(limits)


def _best(recipe: Recipe, trials: Sequence[Trial]) -> Recipe:
    best = max(trials, key=lambda trial: -1.0 if trial.accuracy is None else trial.accuracy)
    return Attempt(recipe, best.settings, 1).with_seed(recipe.seed)


def _own(recipe: Recipe) -> dict[str, float]:
    """Return the settings of a recipe itself, moved into the search space where they lie outside."""
    terms = {term.label: term for term, _ in recipe.objective.summands}
    found = {}
    for name, (low, high) in search_space(recipe).items():
        label, _, field = name.partition(".")
        plain = recipe.learning_rate if not field else 1.0 if field == "scale" else getattr(terms[label], field)
        found[name] = min(high, max(low, float(recipe.overrides.get(name, plain))))
    return found
