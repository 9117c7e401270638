"""Several methods on one problem, a step each in turn, so that none runs ahead of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.runs.grid import entrants
from amkd_viz.runs.race_plan import RacePlan
from amkd_viz.training.device import fitting_threads
from amkd_viz.training.events import Changed, EpochEnded, Event, Finished
from amkd_viz.training.loop import events
from amkd_viz.training.prepare import prepare
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training, changed

__all__ = ["Race"]


class Race:
    """Trainings that share data, teacher, start weights and the order of the data, and differ in the method alone.

    Each computes what it would compute on its own: chance is a function of (seed, epoch, batch), not of history.

    Args:
        recipe: of all.
        methods: names, each once.
        overrides: of terms, by default those of ``recipe``; each goes to the methods that have its term.
        like: an earlier training that lends its data and teacher where the recipes name the same.
        listen: hears the training of the teacher, if there has to be one.
        planned: changes of an earlier race, to be made again at the same steps.

    Attributes:
        recipe, overrides: as given. trainings: by method, in the order given.
        metrics: of each finished epoch, by method.
        summaries: by method, once the last epoch is done.
        made: what was changed while it ran: (epoch, batch), both from 0 -> the settings.

    Raises:
        InputError: an unknown method, one named twice or none, or a change that no method has a term for.

    >>> race = Race(Recipe(dataset="moons", teacher="mlp-tiny", student="mlp-tiny", epochs=2, teacher_epochs=1,
    ...     num_train=20, batch_size=10, magsim_samples=0), ["ce", "kd"])
    >>> [name for name, event in race.events() if isinstance(event, EpochEnded)]
    ['ce', 'kd', 'ce', 'kd']
    >>> sorted(race.summaries["kd"])[:2]
    ['teacher_test_accuracy', 'test_accuracy']
    """

    def __init__(
        self,
        recipe: Recipe,
        methods: Sequence[str],
        overrides: Mapping[str, Any] | None = None,
        like: Training | None = None,
        listen: Callable[[Event], None] | None = None,
        planned: Iterable[Changed] = (),
    ) -> None:
        self.recipe, self.overrides = recipe, dict(recipe.overrides if overrides is None else overrides)
        self.trainings: dict[str, Training] = {}
        for name, own in entrants(recipe, methods, overrides).items():
            like = self.trainings[name] = prepare(own, like, listen)
        self.metrics: dict[str, list[dict[str, Any]]] = {name: [] for name in self.trainings}
        self.summaries: dict[str, dict[str, Any]] = {}
        self.made: dict[tuple[int, int], dict[str, Any]] = {}
        self.planned = tuple(planned)
        self._wishes: deque[dict[str, dict[str, Any]]] = deque()
        self._wished = {name: training.recipe for name, training in self.trainings.items()}  # with all that wait

    @property
    def first(self) -> Training:
        """The first training: data and teacher are those of all."""
        return next(iter(self.trainings.values()))

    @property
    def epoch(self) -> int:
        """So many epochs are done by every method."""
        return min(training.epoch for training in self.trainings.values())

    @property
    def over(self) -> bool:
        return len(self.summaries) == len(self.trainings)

    def events(self) -> Iterator[tuple[str, Event]]:
        """(method, event), in turn: what ``training.events`` yields of each, every method as far as the others."""
        with fitting_threads(self.first.dataset.shape):
            running = {name: events(t, self._planned_of(name)) for name, t in self.trainings.items()}
            while running:
                while self._wishes:  # between two rounds, so that all take a change at the same step
                    for name, wish in self._wishes.popleft().items():
                        self.trainings[name].override(**wish)
                for name in list(running):
                    for event in running[name]:
                        self._note(name, event)
                        yield name, event
                        if not isinstance(event, Changed):  # a change is no turn: the others have not had it
                            break
                    else:
                        del running[name]

    def _note(self, name: str, event: Event) -> None:
        if isinstance(event, Changed):
            self.made.setdefault((event.epoch, event.batch), {}).update(event.changes)
        elif isinstance(event, EpochEnded):
            self.metrics[name].append(event.metrics)
        elif isinstance(event, Finished):
            self.summaries[name] = event.summary

    def wish(self, **changes: Any) -> list[str]:
        """Other settings from the next step on, for the methods that have the term: see ``Training.override``.

        Returns:
            the methods that will change.

        Raises:
            InputError: at once, if a value is not allowed or no method has the term; nothing changes then.
        """
        wishes = {name: self._own(name, changes) for name in self.trainings}
        wishes = {name: wish for name, wish in wishes.items() if wish}
        idle = [key for key in changes if not any(key in wish for wish in wishes.values())]
        if idle:
            raise InputError(f"None of {', '.join(self.trainings)} has the term of {idle[0]}.")
        wished = {name: changed(self._wished[name], wish) for name, wish in wishes.items()}
        self._wished |= wished
        self._wishes.append(wishes)
        return list(wishes)

    def _own(self, method: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the changes that are a method's: settings of all, and numbers of its own terms."""
        terms = self.trainings[method].recipe.objective.names
        return {key: v for key, v in changes.items() if "." not in key or key.partition(".")[0] in terms}

    def _planned_of(self, method: str) -> list[Changed]:
        own = [(change, self._own(method, change.changes)) for change in self.planned]
        return [Changed(change.epoch, change.batch, changes) for change, changes in own if changes]

    @property
    def plan(self) -> RacePlan:
        """All that this race follows from, what has been changed so far included."""
        places = {(change.epoch, change.batch): change.changes for change in self.planned} | self.made
        made = [Changed(epoch, batch, dict(changes)) for (epoch, batch), changes in sorted(places.items())]
        return RacePlan(self.recipe, list(self.trainings), self.overrides, made)

    def step_seconds(self) -> dict[str, float]:
        """What a step of each method costs, in seconds: the median of the last ones; NaN before the first."""
        return {name: training.clock.median for name, training in self.trainings.items()}
