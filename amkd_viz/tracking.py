"""TensorBoard event files of a training. metrics.jsonl of the run stays the truth; these are for looking."""

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
    """A listener for ``distill``, ``resume`` and ``Job``: ``distill(recipe, listen=TensorBoard("logs"))``.

    Each training, also of a teacher, writes to a folder of its own: the terms of the loss every few batches, the
    numbers of each epoch, changes made by hand, and the last numbers on the test split. Steps count batches from the
    start of training; what a resumed training does again takes the place of what was written before.

    Args:
        folder: what ``tensorboard --logdir`` shows; made when the first event comes.
        every: batches between two readings of the terms, each of which waits for the device; 0 for none.

    Raises:
        InputError: tensorboard is not installed, ``every`` is below 0, or ``folder`` is a file or cannot be written.
    """

    def __init__(self, folder: str | Path, every: int = 50) -> None:
        if find_spec("tensorboard") is None:
            raise InputError(
                "TensorBoard event files need tensorboard, not installed here; run 'pip install tensorboard'."
            )
        if every < 0:
            raise InputError(f"every must be at least 0, not {every}.")
        self.folder, self.every = Path(folder), every
        check_writable(self.folder)
        self._writer: Any = None
        self._batches = self._last_step = 0  # an epoch's, and all epochs'

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._begin(event)
        if self._writer is None:
            return  # it was asked to listen in the middle
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
        """Close the file of the training that is going on, if any."""
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
        """One number, or each number of a dict under its name; what is none, such as a histogram, is left out."""
        if isinstance(value, dict):
            for key, part in value.items():
                self._number(f"{name}/{key}", part, step)
        elif isinstance(value, int | float):
            self._writer.add_scalar(name, value, step)
