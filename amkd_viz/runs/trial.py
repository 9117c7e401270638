"""One trial of a tuning: a few trainings with the same settings, judged on the validation split alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import write_atomic
from amkd_viz.core.parse import NUMBER, SHARE, read
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.run import Listener
from amkd_viz.training.events import EpochEnded
from amkd_viz.training.loop import events
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training

__all__ = ["Attempt", "Trial"]

FORMAT = 1
SHAPE = {
    "settings": {str: NUMBER},
    "accuracy": (None, SHARE),
    "epochs": range(0, 2**31),
    "curve": [[NUMBER]],
}


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: field of Recipe or TERM.FIELD -> number.
        accuracy: on the validation split, mean over the seeds, last epoch; None of a trial that was stopped early.
        epochs: that it trained, over all seeds.
        curve: epochs over all seeds and the validation accuracy there, in [0, 1].
    """

    settings: dict[str, float]
    accuracy: float | None
    epochs: int
    curve: tuple[tuple[int, float], ...] = ()

    def at(self, epochs: int) -> float | None:
        """Return the first validation accuracy after ``epochs`` or more epochs; None if it did not get there."""
        return next((accuracy for done, accuracy in self.curve if done >= epochs), None)

    @classmethod
    def open(cls, path: Path) -> Trial:
        """Read a trial.

        Raises:
            InputError: the file is damaged or cannot be read.
        """
        found = read(path, "trial", SHAPE, format=FORMAT, repair="delete it, and the same command tries it again")
        curve = tuple((int(done), accuracy) for done, accuracy in found["curve"])
        return cls(found["settings"], found["accuracy"], found["epochs"], curve)


@dataclass(frozen=True)
class Attempt:
    """What a trial trains. The same attempt gives the same trial.

    Attributes:
        recipe: to which the settings are applied.
        settings: field of Recipe or TERM.FIELD -> number.
        seeds: trainings, one after the other, with seeds 0 .. ``seeds`` - 1.
        limits: pairs (epochs over all trainings, validation accuracy below which the trial stops there).
    """

    recipe: Recipe
    settings: Mapping[str, float]
    seeds: int
    limits: tuple[tuple[int, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "recipe": self.recipe.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Attempt:
        limits = tuple((epochs, accuracy) for epochs, accuracy in values["limits"])
        return cls(Recipe.from_json(values["recipe"]), values["settings"], values["seeds"], limits)

    def with_seed(self, seed: int) -> Recipe:
        """Return the recipe with the settings and a seed."""
        rate = self.settings["learning_rate"]
        numbers = {name: value for name, value in self.settings.items() if "." in name}
        return self.recipe.replace(seed=seed, learning_rate=rate, overrides={**self.recipe.overrides, **numbers})

    def train(self, path: Path, listen: Listener, like: Training | None = None) -> Training | None:
        """Train, and write the trial to the file ``path``; return a training that lends its data and teacher.

        A training that diverges ends the trial with accuracy 0.

        Raises:
            InputError: the recipe does not fit its data, or the file cannot be written.
        """
        curve: list[tuple[int, float]] = []
        last, epochs, stopped = [], 0, False
        for seed in range(self.seeds):
            like = prepare(self.with_seed(seed), like)
            before, accuracy = epochs, None
            try:
                for epoch, accuracy in _validated(like, listen):
                    epochs = before + epoch
                    if accuracy is not None:
                        stopped = self._stops(curve, epochs, accuracy)
                        curve.append((epochs, accuracy))
                    if stopped:
                        break
            except InputError:  # it diverged
                last = [0.0]
                break
            if stopped:
                break
            last.append(accuracy or 0.0)
        trial = Trial(dict(self.settings), None if stopped else sum(last) / len(last), epochs, tuple(curve))
        write_atomic(path, json.dumps({"format": FORMAT, **asdict(trial)}) + "\n")
        return like

    def _stops(self, curve: list[tuple[int, float]], epochs: int, accuracy: float) -> bool:
        """Return whether this accuracy, the first at or after a limit, is below it."""
        before = curve[-1][0] if curve else 0
        return any(before < at <= epochs and accuracy < limit for at, limit in self.limits)


def _validated(training: Training, listen: Listener) -> Iterator[tuple[int, float | None]]:
    """Train; yield (epochs done, validation accuracy, where it was measured), and stop before the test is read."""
    with closing(events(training)) as happening:
        for event in happening:
            listen(event)
            if isinstance(event, EpochEnded):
                yield event.epoch, event.metrics.get("val_accuracy")
                if event.epoch == training.recipe.epochs:
                    return
