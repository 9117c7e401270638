"""The training loop: a generator of events that fits on one screen."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch

from amkd_viz.boundary import boundary_similarity
from amkd_viz.core.pauses import pause_point
from amkd_viz.core.rng import generator
from amkd_viz.training.device import fitting_threads, kept_memory, tf32
from amkd_viz.training.evaluation import accuracy
from amkd_viz.training.events import Changed, EpochEnded, Event, Finished, Started, Stepped
from amkd_viz.training.training import Training

__all__ = ["events"]


def events(training: Training, planned: Iterable[Changed] = ()) -> Generator[Event]:
    """Train from where ``training`` stands, and yield what happens. Nothing is written to disk.

    The caller may stop between any two events. ``runs.prepare(recipe)`` makes a training.

    Args:
        planned: overrides of an earlier training, to be made again at the same batches. A setting that a person
            changes meanwhile keeps that value.

    Raises:
        InputError: the loss or a weight is no longer finite, or another training runs with another ``tf32``.
    """
    left = list(planned)
    with (
        fitting_threads(training.dataset.shape),
        kept_memory(),
        tf32(training.recipe.tf32, training.device.type),
        closing(training),
    ):
        yield Started(training)
        for epoch in range(training.epoch, training.recipe.epochs):
            before, seen = training.clock.seconds, 0
            for x, y, index in training.batches():
                pause_point()
                by_hand = list(training.waiting())
                left = _without(left, {name for overrides in by_hand for name in overrides}) if by_hand else left
                here = [change.changes for change in left if (change.epoch, change.batch) == (epoch, training.batch)]
                for overrides in [*here, *by_hand]:
                    training.change(overrides)
                    yield Changed(epoch, training.batch, overrides)
                step = training.step(x, y, index)
                seen += len(index)
                yield Stepped(epoch, training.batch - 1, len(training.loader), step.terms, step.made("boundary"))
            terms = training.averages()  # CPU-GPU sync point, so that the clock is read after the work
            took = training.clock.seconds - before
            speed = seen / took if took else math.nan  # a session that began after the last batch
            yield EpochEnded(epoch + 1, {"images_per_s": speed, **terms, **training.end_epoch()})
        yield Finished({**final_scores(training), "train_seconds": training.clock.seconds})


def _without(planned: Iterable[Changed], names: Collection[str]) -> list[Changed]:
    """Return overrides without those of ``names``."""
    kept = [(c, {name: value for name, value in c.changes.items() if name not in names}) for c in planned]
    return [replace(change, changes=changes) for change, changes in kept if changes]


def final_scores(training: Training) -> dict[str, Any]:
    """Return the last-epoch numbers on the test split; nothing else reads that split."""
    recipe, test = training.recipe, training.dataset.test
    found: dict[str, Any] = training.evaluate("test") | training.evaluate("val")
    if training.teacher is None:
        return found
    found["teacher_test_accuracy"] = accuracy(training.teacher_logits["test"], test.y)
    count = min(recipe.magsim_samples, len(test))
    if count:
        chosen = torch.randperm(len(test), generator=generator("cpu", "similarity"))[:count].to(test.y.device)
        found |= boundary_similarity(
            training.teacher,
            training.student,
            test.floats(chosen),
            test.y[chosen],
            step_size=float(recipe.step_size),
            steps=recipe.attack_steps,
            step_rule=recipe.step_rule,
            max_targets=9,
        )._asdict()
    return found
