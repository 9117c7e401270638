"""TensorBoard event files of a training, in addition to the metrics.jsonl of its run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, explained
from amkd_viz.training import Changed, EpochEnded, Event, Finished, Started, Stepped

__all__ = ["TensorBoard"]


class TensorBoard:
    """Write events for TensorBoard: ``distill(recipe, listen=TensorBoard("logs"))``; also for ``resume`` and ``Job``.

    Each training, including that of a teacher, writes to its own subfolder: loss terms every few batches, metrics of
    each epoch, overrides made during training, and the final metrics on the test split. Steps count batches from the
    start of training. A resumed training replaces the events after its checkpoint.

    Args:
        folder: folder for ``tensorboard --logdir``, created at the first event.
        every: number of batches between two readings of the loss terms, each of which synchronizes with the device;
            0 to skip them.

    Raises:
        InputError: tensorboard is not installed, ``every`` is below 0, or ``folder`` is a file or not writable.
    """

    def __init__(self, folder: str | Path, every: int = 50) -> None:
        if find_spec("tensorboard") is None:
            raise InputError(
                "TensorBoard event files need the package tensorboard; install it with 'pip install tensorboard'."
            )
        if every < 0:
            raise InputError(f"every must be at least 0, got {every}.")
        self.folder, self.every = Path(folder), every
        check_writable(self.folder)
        self._writer: Any = None
        self._batches = self._last_step = 0  # batches per epoch, and in all epochs

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._begin(event)
        if self._writer is None:
            return  # this listener was added after the start
        match event:
            case Stepped(epoch, batch, batches, terms) if self.every and (epoch * batches + batch) % self.every == 0:
                for name, value in terms.items():
                    self._number(f"terms/{name}", float(value), epoch * batches + batch)  # CPU-GPU sync point
            case Changed(epoch, batch, changes):
                self._writer.add_text("intervention", json.dumps(changes), epoch * self._batches + batch)
            case EpochEnded(epoch, metrics):
                self._number("epoch", metrics, epoch * self._batches)
                self._writer.flush()
            case Finished(summary):
                self._number("last", summary, self._last_step)
                self.close()

    def close(self) -> None:
        """Close the event file of the current training, if any."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, event: Started) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        training = event.training
        recipe, self._batches = training.recipe, len(training.loader)
        self._last_step = recipe.epochs * self._batches
        done = training.epoch * self._batches + training.batch
        who = f"teacher-{recipe.student}" if training.teacher is None else f"{recipe.method}-seed{recipe.seed}"
        folder = self.folder / f"{who}-{recipe.hash}"
        with explained(folder):
            self._writer = SummaryWriter(str(folder), purge_step=done + 1 if done else None)
        if not done:
            self._writer.add_text("recipe", f"```json\n{json.dumps(recipe.to_json(), indent=2)}\n```", 0)
            self._writer.add_text("objective", str(recipe.objective), 0)

    def _number(self, name: str, value: Any, step: int) -> None:
        """Write a number, or the numbers of a nested dict under their names; skip other values, such as histograms."""
        if isinstance(value, dict):
            for key, part in value.items():
                self._number(f"{name}/{key}", part, step)
        elif isinstance(value, int | float):
            self._writer.add_scalar(name, value, step)
