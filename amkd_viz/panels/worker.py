"""A thread that runs the newest request of each kind: a burst of a slider costs one evaluation, not fifty."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable

from amkd_viz.core.errors import InputError
from amkd_viz.training.device import one_heap, threads_here

__all__ = ["Worker"]

CALM, LONGEST = 1.0, 20.0  # seconds without a task, or of tasks without a pause, after which ``calm`` is called
SWITCH = 0.001  # seconds after which a busy thread lets another one run: a message passes through several


class Worker:
    """Run tasks one by one in a daemon thread; of waiting tasks with the same key only the newest runs.

    Args:
        name: name of the thread.
        failed: called in the thread with one sentence (or a traceback) when a task raises.
        pause: seconds to wait after a round of tasks, so that a burst of requests is bundled.
        calm: called in the thread when the tasks have come to rest, and from time to time while they do not.
    """

    def __init__(
        self,
        name: str,
        failed: Callable[[str], None],
        pause: float = 0.0,
        calm: Callable[[], object] | None = None,
    ) -> None:
        one_heap()
        sys.setswitchinterval(min(SWITCH, sys.getswitchinterval()))
        self._failed, self._pause, self._calm = failed, pause, calm
        self._stirred = False  # whether a task has run since ``calm``
        self._waiting: dict[str, Callable[[], object]] = {}
        self._news = threading.Condition()
        self._busy = False
        self._soon = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def ask(self, key: str, task: Callable[[], object], soon: bool = False) -> None:
        """Run ``task`` in place of a waiting one with the same key. Thread-safe; ignored after close.

        Args:
            soon: end the pause after a round, since a person is waiting.
        """
        with self._news:
            if not self._closed:
                self._soon = self._soon or soon
                self._waiting.pop(key, None)  # the newest goes last
                self._waiting[key] = task
                self._news.notify_all()

    def waits(self, *keys: str) -> bool:
        """Return whether a task waits under one of ``keys``, so that a long task can end early."""
        with self._news:
            return self._closed or any(key in self._waiting for key in keys)

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait until nothing is left to do; return False on a timeout. Not to be called in a task."""
        with self._news:
            return self._news.wait_for(lambda: self._closed or (not self._busy and not self._waiting), seconds)

    def close(self) -> None:
        """Drop waiting tasks and end the thread after the current one."""
        with self._news:
            self._closed = True
            self._waiting.clear()
            self._news.notify_all()

    def join(self, seconds: float) -> None:
        """Wait for the end of a closed worker's current task, at most ``seconds``; in that task, do not wait."""
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _work(self) -> None:
        threads_here(1)  # the other cores are for a training and the page
        rested = time.monotonic()
        while True:
            with self._news:
                stirred = self._calm is not None and self._stirred
                seconds = max(0.0, min(CALM, rested + LONGEST - time.monotonic())) if stirred else None
                self._news.wait_for(lambda: self._closed or bool(self._waiting), seconds)
                if self._closed:
                    return
                over = time.monotonic() > rested + LONGEST
                if stirred and (over or not self._waiting):
                    task, self._stirred, rested = self._calm, False, time.monotonic()
                else:
                    task = self._waiting.pop(next(iter(self._waiting)))
                    rested = rested if self._stirred else time.monotonic()
                    self._busy, self._soon, self._stirred = True, False, True
            assert task is not None
            try:
                task()
            except InputError as error:
                self._failed(str(error))
            except Exception:
                self._failed(traceback.format_exc())
            with self._news:
                self._busy = False
                self._news.notify_all()
                if self._pause and not self._waiting:
                    self._news.wait_for(lambda: self._closed or self._soon, self._pause)
