"""Tune the numbers of several methods on the validation split, with the same number of trials for each.

Optuna proposes settings and stops hopeless trials early (successive halving). The test split is read once, by the runs
that :func:`confirm` trains with the best settings and seeds that no trial has had.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim, write_atomic
from amkd_viz.core.parse import read
from amkd_viz.core.rng import mix
from amkd_viz.data.checks import require
from amkd_viz.runs.engines import known_elsewhere, own_process
from amkd_viz.runs.grid import Listener, entrants, train_cells
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.run import Run
from amkd_viz.training.events import EpochEnded
from amkd_viz.training.loop import events
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training

__all__ = ["Trial", "Tuned", "confirm", "format_tuned", "search_space", "tune"]

FORMAT = 1
FRESH = 1000  # seeds of confirmed runs begin here: trials have those from 0
SCALE = (0.125, 16.0)
NUMBERS = {"margin": (0.1, 4.0), "temperature": (1.0, 16.0)}  # fields of terms that are tuned, where a term has them


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: field of Recipe or TERM.FIELD -> number.
        accuracy: on the validation split, mean over the seeds, last epoch; None of a trial that was stopped early.
        epochs: that it trained, over all seeds.
    """

    settings: dict[str, float]
    accuracy: float | None
    epochs: int


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
    jobs: int = 1,
    listen: Callable[[str, int], None] | None = None,
) -> list[Tuned]:
    """Try ``trials`` settings of each method. Called again with the same arguments, it goes on where it was stopped.

    The first trial of each method has the numbers of ``recipe``. A training that diverges counts as a trial of accuracy
    0. Trials read training and validation samples alone.

    Args:
        overrides: of terms, by default those of ``recipe``; each goes to the methods that have its term.
        seeds: trainings per trial, seeds 0 .. seeds - 1.
        jobs: number of processes, each with one CPU thread. With more than one, the settings that are tried depend on
            how fast each process is.
        listen: called with the method and its trials so far, in this process, after each trial (with ``jobs`` > 1, at
            the end).

    Raises:
        InputError: optuna is missing, ``out`` holds something else, a number is below 1, a recipe does not fit its
            data, or see ``entrants``.
    """
    for name, value in (("trials", trials), ("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}.")
    recipes = entrants(recipe, methods, overrides)
    out = Path(out)
    plan = {"format": FORMAT, "recipes": {name: own.to_json() for name, own in recipes.items()}, "seeds": seeds}
    _claim(out, plan)
    like: Training | None = None
    for own in recipes.values():  # data, teacher and objective, before any trial
        like = prepare(own, like)
    for method in methods:
        _again(_study(out, method, seeds * recipe.epochs))
    order = {**plan, "out": str(out), "trials": trials}
    if jobs > 1 and all(map(known_elsewhere, recipes.values())):
        code = "from amkd_viz.runs.tune import serve; serve()"
        workers = [own_process(code, json.dumps(order)) for _ in range(jobs)]
        try:
            failed = [worker.wait() for worker in workers]
        finally:
            for worker in workers:
                worker.terminate()
        if any(failed):
            raise InputError(f"A process that tunes ended with exit status {max(failed)}; call tune again to go on.")
    else:
        _work(order, listen, like)
    return [_tuned(out, own, seeds) for own in recipes.values()]


def confirm(
    tuned: Sequence[Tuned],
    seeds: int,
    out: str | Path,
    *,
    jobs: int | None = None,
    listen: Listener | None = None,
) -> list[Run]:
    """Train the best recipe of each method with seeds that no trial has had; see ``train_cells``.

    These runs are the only ones that read the test split.
    """
    cells = {f"{one.method}-seed{FRESH + k}": one.best.replace(seed=FRESH + k) for one in tuned for k in range(seeds)}
    return train_cells(cells, out, jobs=jobs, listen=listen)


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


def _claim(out: Path, plan: Mapping[str, Any]) -> None:
    file = out / "tuning.json"
    if file.exists():
        kept = read(file, "tuning", {"recipes": {str: dict}, "seeds": range(1, 10**6)}, format=FORMAT)
        if kept != json.loads(json.dumps(plan)):
            raise InputError(f"{out} holds the trials of another recipe; choose another folder.")
        return
    check_writable(claim(out))
    write_atomic(file, json.dumps(plan, indent=1) + "\n")


def _study(out: Path, method: str, steps: int) -> Any:
    optuna = require("optuna", "optuna", "Tuning")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = optuna.storages.journal
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(journal.JournalFileBackend(str(out / "journal.log"))),
        study_name=method,
        direction="maximize",
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, steps // 4), reduction_factor=2),
        load_if_exists=True,
    )


def _again(study: Any) -> None:
    """Try the settings of trials again whose process was killed."""
    states = require("optuna.trial", "optuna", "Tuning").TrialState
    for trial in study.get_trials(states=(states.RUNNING,)):
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=states.FAIL)


def serve() -> None:
    """Work on the trials that the last argument of this process names, until they are done."""
    torch.set_num_threads(1)
    _work(json.loads(sys.argv[-1]))


def _work(
    order: Mapping[str, Any], listen: Callable[[str, int], None] | None = None, like: Training | None = None
) -> None:
    for method, values in order["recipes"].items():
        recipe = Recipe.from_json(values)
        study = _study(Path(order["out"]), method, order["seeds"] * recipe.epochs)
        while _count(study) < order["trials"]:
            like = _try(study, recipe, order["seeds"], like)
            if listen is not None:
                listen(method, _count(study))


def _count(study: Any) -> int:
    """Return the number of trials that are done or in work."""
    return sum(trial.state.name in ("COMPLETE", "PRUNED", "RUNNING") for trial in study.get_trials(deepcopy=False))


def _try(study: Any, recipe: Recipe, seeds: int, like: Training | None) -> Training | None:
    """Try one setting; return a training that lends its data and teacher."""
    optuna = require("optuna", "optuna", "Tuning")
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(_own(recipe))
    trial = study.ask()
    study.sampler = optuna.samplers.TPESampler(seed=mix("tune", recipe.method, trial.number) % 2**32)
    settings = {name: trial.suggest_float(name, *bounds, log=True) for name, bounds in search_space(recipe).items()}
    scores, epochs = [], 0
    try:
        for seed in range(seeds):
            training = prepare(_with(recipe, settings, seed), like)
            like = training
            for epoch, accuracy in _validated(training):
                epochs = seed * recipe.epochs + epoch
                trial.set_user_attr("epochs", epochs)
                if accuracy is not None:
                    trial.report(accuracy, epochs)
                    if trial.should_prune():
                        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                        return like
            scores.append(accuracy or 0.0)
    except InputError as error:  # it diverged
        trial.set_user_attr("why", str(error)[:200])
        scores = [0.0]
    study.tell(trial, sum(scores) / len(scores))
    return like


def _validated(training: Training) -> Iterator[tuple[int, float | None]]:
    """Train; yield (epochs done, validation accuracy, where it was measured), and stop before the test is read."""
    with closing(events(training)) as happening:
        for event in happening:
            if isinstance(event, EpochEnded):
                yield event.epoch, event.metrics.get("val_accuracy")
                if event.epoch == training.recipe.epochs:
                    return


def _own(recipe: Recipe) -> dict[str, float]:
    """Return the settings of a recipe itself, moved into the search space where they lie outside."""
    terms = {term.label: term for term, _ in recipe.objective.summands}
    found = {}
    for name, (low, high) in search_space(recipe).items():
        label, _, field = name.partition(".")
        plain = recipe.learning_rate if not field else 1.0 if field == "scale" else getattr(terms[label], field)
        found[name] = min(high, max(low, float(recipe.overrides.get(name, plain))))
    return found


def _with(recipe: Recipe, settings: Mapping[str, float], seed: int) -> Recipe:
    numbers = {name: value for name, value in settings.items() if "." in name}
    return recipe.replace(seed=seed, learning_rate=settings["learning_rate"], overrides={**recipe.overrides, **numbers})


def _tuned(out: Path, recipe: Recipe, seeds: int) -> Tuned:
    study = _study(out, recipe.method, seeds * recipe.epochs)
    trials = tuple(
        Trial(
            dict(trial.params),
            trial.value if trial.state.name == "COMPLETE" else None,
            trial.user_attrs.get("epochs", 0),
        )
        for trial in study.get_trials()
        if trial.state.name in ("COMPLETE", "PRUNED")
    )
    best = max(trials, key=lambda trial: -1.0 if trial.accuracy is None else trial.accuracy)
    return Tuned(recipe.method, _with(recipe, best.settings, recipe.seed), trials)
