"""A race is a folder: race.json, which names its methods, and one run folder per method."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim, write_atomic
from amkd_viz.core.parse import read
from amkd_viz.runs.grid import Counted, entrants, train_cells
from amkd_viz.runs.groups import apart
from amkd_viz.runs.job import Job
from amkd_viz.runs.recording import fresh_folder
from amkd_viz.runs.run import Run
from amkd_viz.training.events import EpochEnded, Event, Started, Stepped
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training, changed

__all__ = ["SEEDS", "Race"]

FORMAT = 1
SEEDS = 5  # of a comparison, that of the race included
Place = tuple[float, int]  # epochs that are done, batches of the next one


class Race:
    """Several methods on one problem: one run and one job per method, which train a batch each in turn.

    The runs share data, teacher, initial weights and the order of the data. Each computes what it would compute alone.
    An interrupted race, killed or not, continues with ``Race.open(folder).resume()``: a run that is behind catches up.

    Args:
        path: of the folder.
        runs: by method.
        listen: called with the method and each event, in the training thread; the other methods wait for it.
        like: a training that lends its data and teacher.

    Attributes:
        runs, listen, like: as given.
        trainings: by method, of the jobs that have loaded data and nets. Their students belong to the jobs.
        error: why the race failed, or None.

    >>> race = Race.create(Recipe(dataset="moons", teacher="mlp-tiny", student="mlp-tiny", epochs=2, teacher_epochs=1,
    ...     num_train=20, batch_size=10, magsim_samples=0, device="cpu"), ["ce", "kd"])
    >>> race.resume()
    >>> race.wait()
    'done'
    >>> [len(run.metrics()) for run in race.runs.values()]
    [2, 2]
    """

    def __init__(
        self,
        path: Path,
        runs: Mapping[str, Run],
        listen: Callable[[str, Event], None] | None = None,
        like: Training | None = None,
    ) -> None:
        self.path, self.runs = path, dict(runs)
        self.listen, self.like = listen, like
        self.trainings: dict[str, Training] = {}
        self.error: str | None = None
        self._turns = threading.Condition()
        self._jobs: dict[str, Job] = {}  # in the order in which they were started
        self._left: set[str] = set()  # methods whose job has ended
        self._places: dict[str, Place] = {}  # of the jobs that train
        self._limit: Place = (0, 0)  # no job begins a batch from here on
        self._begun: Place = (0, 0)  # the end of the furthest batch that a job has begun
        self._stopping = False
        self._pending: list[dict[str, dict[str, Any]]] = []  # overrides by method, for the next round
        self._ahead: dict[str, Recipe] = {}  # with the overrides that are pending

    def __repr__(self) -> str:
        return f"Race({', '.join(self.runs)}: {self.state}, {self.path})"

    @classmethod
    def create(
        cls,
        recipe: Recipe,
        methods: Sequence[str],
        out: str | Path | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
    ) -> Race:
        """Start a race in a new or empty folder, by default a new one under ``runs/``.

        Args:
            overrides: by default those of ``recipe``; each goes to the methods that have its term.

        Raises:
            InputError: an unknown method, one named twice or none, an override that fits no method, nets that do not
                fit the data, or a folder that is not empty.
        """
        recipe.check_nets()
        return cls._with_runs(out, entrants(recipe, methods, overrides))

    @classmethod
    def _with_runs(
        cls, out: str | Path | None, recipes: Mapping[str, Recipe], replays: Mapping[str, Run] | None = None
    ) -> Race:
        first = next(iter(recipes.values()))
        path = Path(out) if out is not None else fresh_folder(first, kind="race")
        check_writable(claim(path))
        runs = {
            name: Run.create(path / name, own, replay_of=(replays or {}).get(name)) for name, own in recipes.items()
        }
        write_atomic(path / "race.json", json.dumps({"format": FORMAT, "runs": list(runs)}) + "\n")
        return cls(path, runs)

    @classmethod
    def open(cls, path: str | Path) -> Race:
        """Open the folder of a race, finished or not.

        Raises:
            InputError: not a race, damaged, or of another format.
        """
        path = Path(path)
        if path.is_file():
            raise InputError(
                f"A race is opened by its folder, got the file {path}; plans of earlier versions cannot be opened."
            )
        missing = "give the folder of a race"
        names = read(path / "race.json", "race", {"runs": [str]}, format=FORMAT, missing=missing)["runs"]
        if not names or any(Path(name).name != name or names.count(name) > 1 for name in names):
            file = path / "race.json"
            raise InputError(f"{file} is not a valid race: runs must name folders beside it, each once, got {names!r}.")
        return cls(path, {name: Run.open(path / name) for name in names})

    def replay(self, out: str | Path | None = None) -> Race:
        """Return a new race with the same recipes, and the overrides of this one at the same batches.

        Raises:
            InputError: the folder is not empty, or a line of a log is damaged.
        """
        lines = {name: run.interventions(all_of_them=True) for name, run in self.runs.items()}
        again = self._with_runs(out, {name: run.located() for name, run in self.runs.items()}, self.runs)
        for name, run in again.runs.items():
            _append(run, lines[name])
        return again

    # other seeds

    def seeds(self) -> list[Run]:
        """Return the finished runs of the race and of ``train_seeds``, seed by seed."""
        folders = [self.path / "seeds" / name for name in self._of_seeds(SEEDS)]
        others = [Run.open(path) for path in folders if (path / "summary.json").exists()]
        return [run for run in self.runs.values() if run.finished] + others

    def train_seeds(self, count: int = SEEDS, listen: Callable[[Event | Counted], None] | None = None) -> list[Run]:
        """Train every method with the next seeds, ``count`` in all with that of the race; return all runs.

        They go to ``seeds/`` in the folder of the race, seed by seed. What is there is kept, so the same call goes on
        where it was stopped.

        Args:
            count: from 2 to ``SEEDS``. listen: see ``train_cells``.

        Raises:
            InputError: the race is not finished, or its settings were changed by hand, which other seeds would not
                repeat; or see ``train_cells``.
        """
        if self.state != "done":
            raise InputError(f"The race {self.path} is not finished; train its other seeds after its last epoch.")
        for name, run in self.runs.items():
            if why := apart(run):
                raise InputError(
                    f"{name} of {self.path} is not a seed of its recipe ({why}); race without changes to compare seeds."
                )
        train_cells(self._of_seeds(count), self.path / "seeds", listen=listen)
        return self.seeds()

    def _of_seeds(self, count: int) -> dict[str, Recipe]:
        first = self.recipe.seed
        return {
            f"{name}-seed{seed}": run.located().replace(seed=seed)
            for seed in range(first + 1, first + count)
            for name, run in self.runs.items()
        }

    # state

    @property
    def recipe(self) -> Recipe:
        """The recipe of the first method."""
        return next(iter(self.runs.values())).recipe

    @property
    def place(self) -> Place:
        """What every method has done: epochs, and batches of the next one."""
        with self._turns:
            return min(self._place(name) for name in self.runs)

    @property
    def epoch(self) -> int:
        """Epochs that every method has done."""
        return int(self.place[0])

    @property
    def state(self) -> str:
        """idle, running, paused, stopping, done or failed."""
        with self._turns:
            active = [name for name in self._jobs if name not in self._left]
            if not active:
                if self.error is not None:
                    return "failed"
                return "done" if all(run.finished for run in self.runs.values()) else "idle"
            if self._stopping:
                return "stopping"
            ready = all(name in self._places for name in active) and len(self._jobs) == len(self._unfinished)
            return "paused" if ready and not any(map(self._may_train, active)) else "running"

    def wait(self, seconds: float | None = None) -> str:
        """Wait until the race has ended, at most ``seconds``; return the state."""
        return self._until(("idle", "done", "failed"), seconds)

    def settle(self, seconds: float | None = None) -> str:
        """Wait until the race is paused or has ended, at most ``seconds``; return the state."""
        return self._until(("paused", "idle", "done", "failed"), seconds)

    def _until(self, states: Sequence[str], seconds: float | None) -> str:
        with self._turns:
            self._turns.wait_for(lambda: self.state in states, seconds)
            return self.state

    # control

    def resume(self) -> None:
        """Train to the last epoch: start, continue after a pause, or go on from the checkpoints.

        Raises:
            InputError: a log is damaged, or another process writes one of the runs.
        """
        self._go((math.inf, 0))

    def step_epoch(self) -> None:
        """Train every method to the end of the epoch, then pause."""
        self._go((self.epoch + 1, 0))

    def pause(self) -> None:
        """Pause as soon as every method has done the same number of batches."""
        with self._turns:
            self._limit = max(self._begun, *(self._place(name) for name in self.runs))
            self._turns.notify_all()

    def stop(self) -> None:
        """Stop with a checkpoint of the batch that each method has reached. Idempotent."""
        with self._turns:
            self._stopping = True
            for job in self._jobs.values():
                job.stop()
            self._turns.notify_all()

    def close(self, seconds: float = 30) -> None:
        """Stop, wait at most ``seconds``, and drop data and nets; ``resume`` loads them again. Idempotent."""
        self.stop()
        if self.wait(seconds) not in ("running", "stopping"):
            with self._turns:
                self.like, self.listen, self.trainings, self._jobs = None, None, {}, {}

    def set(self, **overrides: Any) -> list[str]:
        """Override settings from the next round of batches on, in every run that has the term, and in its log.

        Returns:
            the methods that have the settings.

        Raises:
            InputError: a value is not allowed, no method has the term, or the race is finished; nothing changes then.
        """
        with self._turns:
            if self.state == "done":
                raise InputError(f"The race {self.path} is finished; start a new one with other settings.")
            fitting = {name: _fitting(self.runs[name].recipe, overrides) for name in self._unfinished}
            fitting = {name: values for name, values in fitting.items() if values}
            idle = [key for key in overrides if not any(key in values for values in fitting.values())]
            if idle:
                raise InputError(f"None of {', '.join(self.runs)} has the term of {idle[0]}.")
            for name in fitting:
                if name not in self._ahead:
                    self._ahead[name] = self.runs[name].recipe_after(self.recipe.epochs)
            self._ahead |= {name: changed(self._ahead[name], values) for name, values in fitting.items()}
            self._pending.append(fitting)
            return list(fitting)

    # the clock: of the jobs that train, the one that is furthest behind takes the next batch

    @property
    def _unfinished(self) -> list[str]:
        return [name for name in self.runs if name in self._jobs or not self.runs[name].finished]

    def _place(self, name: str) -> Place:
        return self._places[name] if name in self._places else (self.runs[name].epochs_done, 0)

    def _go(self, limit: Place) -> None:
        with self._turns:
            if self.state in ("idle", "failed"):
                self._share_overrides()
                self.like, self.trainings = next(iter(self.trainings.values()), self.like), {}
                self._jobs, self._left, self._places, self._stopping, self.error = {}, set(), {}, False, None
                self._begun = (0, 0)
                self._start_next()
            elif self.state == "stopping":
                raise InputError(f"The race {self.path} is stopping; wait for it.")
            self._limit = limit
            self._turns.notify_all()

    def _share_overrides(self) -> None:
        """Give each run the overrides that only others have logged: the race ended within a round."""
        logs = {name: self.runs[name].interventions(all_of_them=True) for name in self.runs}
        made = _by_place(line for name in reversed(logs) for line in logs[name])  # the first in a round has logged most
        for name in self._unfinished:
            logged = _by_place(logs[name])
            missing = []
            for (epoch, batch), values in made.items():
                known = logged.get((epoch, batch), {})
                late = {k: v for k, v in _fitting(self.runs[name].recipe, values).items() if known.get(k) != v}
                if late:
                    missing.append({"kind": "intervention", "epoch": epoch, "batch": batch, "changes": late})
            if missing:
                _append(self.runs[name], missing)

    def _start_next(self) -> None:
        """Start one job after the other: building a net seeds the RNG of the process."""
        name = next((name for name in self._unfinished if name not in self._jobs), None)
        if name is None or self._stopping:
            return
        self._jobs[name] = Job(
            self.runs[name],
            listen=lambda event: self._hear(name, event),
            like=next(iter(self.trainings.values()), self.like),
            ended=lambda: self._leave(name),
        )
        self._jobs[name].start()

    def _hear(self, name: str, event: Event) -> None:
        """Pass an event on; then wait for the turn, where the event ends one."""
        place: Place | None = None
        match event:
            case Started(training) if training.teacher is not None:  # not the training of the teacher itself
                self.trainings[name] = training
                place = (training.epoch, training.batch)
            case Stepped() if name in self._places and event.batch + 1 < event.batches:
                place = (event.epoch, event.batch + 1)
            case EpochEnded(epoch) if name in self._places:
                place = (epoch, 0)
        if self.listen is not None:
            self.listen(name, event)
        if place is None:
            return
        with self._turns:
            arrives = name not in self._places
            self._places[name] = place
            if arrives:
                self._start_next()
            self._turns.notify_all()
            self._turns.wait_for(lambda: self._stopping or self._may_train(name))
            self._begun = max(self._begun, (place[0], place[1] + 1))
            if not self._stopping and len(set(self._places.values())) == 1:  # a round begins
                for pending in self._pending:
                    for method, values in pending.items():
                        self._jobs[method].set(**values)
                self._pending = []

    def _may_train(self, name: str) -> bool:
        if any(other not in self._places and other not in self._left for other in self._unfinished):
            return False  # still loading
        behind = min(self._places.values())
        first = next(other for other in self.runs if self._places.get(other) == behind)
        return name == first and (behind < self._limit or behind[0] >= self.recipe.epochs)

    def _leave(self, name: str) -> None:
        """A job has ended: let the others go on, or stop them where it failed."""
        with self._turns:
            self._places.pop(name, None)
            self._left.add(name)
            job = self._jobs[name]
            if job.state == "failed":
                self.error = self.error or f"{name}: {job.error}"
                self.stop()
            self._start_next()
            self._turns.notify_all()


def _fitting(recipe: Recipe, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides that a recipe has a field or a term for."""
    terms = {*recipe.objective.names, recipe.sampler}
    return {key: v for key, v in overrides.items() if "." not in key or key.partition(".")[0] in terms}


def _by_place(lines: Iterable[dict[str, Any]]) -> dict[Place, dict[str, Any]]:
    """Return the overrides of a log by (epoch, batch)."""
    made: dict[Place, dict[str, Any]] = {}
    for line in lines:
        made.setdefault((line["epoch"], line["batch"]), {}).update(line["changes"])
    return made


def _append(run: Run, lines: Sequence[dict[str, Any]]) -> None:
    """Log overrides that the run has not come to: ``Run.train`` takes them back and makes them at their batches."""
    with run.writing():
        for line in lines:
            run.log(line)
