"""Interactive training: a background thread that you can pause, step, stop, resume and change."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim
from amkd_viz.core.pauses import pausable
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.recording import continued, fresh_folder
from amkd_viz.runs.run import Listener, Run
from amkd_viz.training.events import EpochEnded, Event, Finished, Started, Stepped
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training, changed

__all__ = ["Job"]


class Stopped(BaseException):
    """Raised at a pause point to end a training; not an Exception, so that no handler mistakes it for an error."""


class Job:
    """Trains in a daemon thread, into a run folder.

    ``state`` is one of idle, running, paused, stopping, done, failed. The thread looks for orders between batches,
    between attack steps, and between evaluation batches. After ``stop`` the job is idle, and ``resume`` goes on at the
    very batch, as a new job on the same folder would.

    Args:
        what: a recipe to start, or a run to go on with.
        out: folder of a new run; by default a new one under ``runs/``.
        listen: called in the training thread with each event; keep it short.
        like: a training that lends its data and teacher.
        ended: called in the training thread when the training has ended, whatever the state is then.
    """

    def __init__(
        self,
        what: Recipe | Run,
        out: str | Path | None = None,
        listen: Listener | None = None,
        like: Training | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self.run: Run | None = what if isinstance(what, Run) else None
        self.recipe = what.recipe if isinstance(what, Run) else what
        self.error: str | None = None
        self._out = Path(out) if out is not None else None
        self._listen, self._like, self._ended = listen, like, ended
        self._training: Training | None = None
        self._thread: threading.Thread | None = None
        self._orders = threading.Condition()
        self._state = "idle"
        self._hold = False
        self._again = False  # start was called while stopping
        self._until: type[Event] | None = None  # pause after the next event of this kind
        self._early: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Job({self.recipe.dataset} {self.recipe.method}: {self.state})"

    @property
    def state(self) -> str:
        with self._orders:
            return self._state

    def start(self) -> None:
        """Start, or continue where the run stopped. A running job keeps running; a stopping job stops first.

        Raises:
            InputError: the output folder holds something.
        """
        with self._orders:
            if self._state in ("idle", "done", "failed") and self.run is None and self._out is not None:
                check_writable(claim(self._out))
            self._hold, self._until = False, None
            self._orders.notify_all()
            if self._state in ("running", "paused"):
                return
            if self._state == "stopping":
                self._again = True
                return
            self._state, self.error = "running", None
            self._thread = threading.Thread(target=self._work, name=f"amkd_viz {self.recipe.method}", daemon=True)
            self._thread.start()

    resume = start

    def pause(self) -> None:
        """Pause at the next pause point."""
        with self._orders:
            self._hold = True

    def step(self) -> None:
        """Train one batch, then pause."""
        self._go_until(Stepped)

    def step_epoch(self) -> None:
        """Train to the end of the epoch, then pause."""
        self._go_until(EpochEnded)

    def stop(self) -> None:
        """Stop at the next pause point, with a checkpoint of the current batch. Idempotent."""
        with self._orders:
            self._again = False
            if self._state in ("running", "paused"):
                self._state = "stopping"
                self._orders.notify_all()

    def wait(self, seconds: float | None = None) -> str:
        """Wait until the thread has ended, at most ``seconds``; return the state."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self.state

    def settle(self, seconds: float | None = None) -> str:
        """Wait until the job is paused or has ended, at most ``seconds``; return the state."""

        def still() -> bool:
            return self._state in ("idle", "done", "failed") or (self._state == "paused" and self._hold)

        with self._orders:
            self._orders.wait_for(still, seconds)
            return self._state

    def set(self, **changes: Any) -> None:
        """Override settings from the next batch on; metrics.jsonl records it. See ``Training.override``."""
        with self._orders:
            if self._training is not None:
                self._training.override(**changes)
            else:
                changed(self.recipe, changes)  # refuses what is not allowed
                self._early |= changes

    def _go_until(self, kind: type[Event]) -> None:
        with self._orders:  # over both lines: the thread must not go before it knows how far
            self.start()
            self._until = kind

    def _gate(self) -> None:
        with self._orders:
            while self._hold and self._state != "stopping":
                self._state = "paused"
                self._orders.notify_all()
                self._orders.wait()
            if self._state == "stopping":
                raise Stopped
            self._state = "running"

    def _work(self) -> None:
        while self._train():
            pass
        if self._ended is not None:
            self._ended()

    def _train(self) -> bool:
        """Train to the end, or until stopped; return whether to start again."""
        try:
            with pausable(self._gate), closing(self._events()) as happening:
                for event in happening:
                    self._note(event)
                    if self._listen is not None:
                        self._listen(event)
            return self._end("done")
        except Stopped:
            return self._end("idle", keep=True)
        except BaseException as error:
            self.error = _said(error)
            return self._end("failed")

    def _events(self) -> Generator[Event]:
        if self.run is not None:
            if not self.run.finished:
                yield from continued(self.run, self._listen, self._like)
            return
        training = prepare(self.recipe, self._like, self._listen)
        out = self._out if self._out is not None else fresh_folder(self.recipe)
        self.run = Run.create(out, self.recipe, training=training)
        yield from self.run.train(lambda: training)

    def _note(self, event: Event) -> None:
        with self._orders:
            if isinstance(event, Started):
                self._training = event.training
                if self._early:
                    event.training.override(**self._early)
                    self._early = {}
            if self._state == "stopping":
                return  # what is to come after belongs to the next start
            if self._until is not None and isinstance(event, self._until | Finished):
                self._hold, self._until = not isinstance(event, Finished), None

    def _end(self, state: str, keep: bool = False) -> bool:
        """Write the checkpoint and the state; return whether ``start`` was called while stopping."""
        try:
            if keep and self._training is not None and self.run is not None:
                with self.run.writing():  # let go of when the training ended: somebody else may have it
                    self.run.save_checkpoint(self._training.state())
        except BaseException as error:  # a full disk: the checkpoint before this one stays
            self.error, state = _said(error), "failed"
        if self.error and self.run is not None:
            with suppress(InputError), self.run.writing():  # another process may be writing the log
                self.run.log({"kind": "failure", "text": self.error})
        with self._orders:
            for wish in self._training.waiting() if self._training is not None and state != "done" else ():
                self._early |= wish  # no batch came after it
            again, self._again = self._again and state == "idle", False
            self._training, self._state = None, "running" if again else state
            self._orders.notify_all()
            return again


def _said(error: BaseException) -> str:
    """Return the message of an InputError, or the whole traceback of any other error."""
    return str(error) if isinstance(error, InputError) else "".join(traceback.format_exception(error))
