"""Where cells train, runs of a grid or trials: one after the other in this process, or side by side in others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import torch

from amkd_viz.boundary import samplers
from amkd_viz.core.errors import InputError
from amkd_viz.core.registry import Registry
from amkd_viz.data import datasets, parse_name
from amkd_viz.models.zoo import nets
from amkd_viz.objectives import methods
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.recording import distill, resume
from amkd_viz.runs.remote import Remote, patiently, worked_on
from amkd_viz.runs.run import Run
from amkd_viz.runs.trial import Attempt
from amkd_viz.training.device import fitting_threads, on_one_thread
from amkd_viz.training.events import EpochEnded, Event, Started
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training

__all__ = [
    "RETRIES",
    "Cell",
    "Cells",
    "Ended",
    "Engine",
    "Hear",
    "Stored",
    "going_on",
    "local",
    "order",
    "processes",
    "serve",
    "train_all",
    "train_here",
    "unfinished",
]

RETRIES = 5  # of a cell whose process has died, where dead ones are tried again


@dataclass(frozen=True)
class Ended:
    """A cell has ended; ``reason`` says why it is not finished, or is None."""

    reason: str | None


@dataclass(frozen=True)
class Stored:
    """A cell whose run, or trial, is kept at a URL; see ``remote``."""

    cell: Recipe | Attempt
    url: str


Cell = Recipe | Attempt | Stored  # to train as a run, or as a trial
Cells = Mapping[Path, Cell]  # by the folder of a run, or the file of a trial
Hear = Callable[[Path, Event | Ended], None]


class Engine(Protocol):
    """Trains cells elsewhere."""

    def connect(self, out: Path | Remote) -> None:
        """Raise InputError if cells cannot be trained into ``out``."""

    def __call__(self, cells: Cells, hear: Hear) -> None: ...


def train_all(
    cells: Cells,
    hear: Hear,
    *,
    jobs: int | None,
    engine: Engine | None,
    likes: Sequence[Training],
    retries: int = 0,
) -> None:
    """Train cells by ``engine``, or in ``jobs`` processes; those with a name of this process alone in this process.

    Args:
        hear: see ``processes``.
        jobs: default: one per core where all networks train on one thread, else 1 and the threads that fit.
        likes: a training for each data set of the cells; the first lends its data and teacher.
        retries: how often a cell starts again whose process has died; an engine has a number of its own.
    """
    if jobs is None and all(like.device.type == "cpu" and on_one_thread(like.dataset.shape) for like in likes):
        jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    elsewhere = {path: cell for path, cell in cells.items() if _known_elsewhere(cell)}
    if engine is None and (jobs is None or min(jobs, len(elsewhere)) < 2):
        elsewhere = {}
    if elsewhere:
        engine(elsewhere, hear) if engine is not None else processes(elsewhere, hear, jobs or 1, retries)
    here = {path: cell for path, cell in cells.items() if path not in elsewhere}
    local(here, hear, one_thread=jobs is not None, like=likes[0] if likes else None)


@contextmanager
def going_on() -> Iterator[None]:
    """Note on Ctrl-C that the same command goes on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.__notes__ = ["The same command goes on where it stopped."]
        raise


def unfinished(reasons: Mapping[str, str], total: int, what: str) -> str:
    """Return a sentence that says why some of ``total`` cells are not finished."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted(reasons.items()):  # cells that train side by side end in any order
        by_reason.setdefault(reason, []).append(name)
    each = [
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") + f": {reason}"
        for reason, names in by_reason.items()
    ]
    return f"{len(reasons)} of {total} {what} did not finish ({'; '.join(each)}); the same command goes on with them."


def local(cells: Cells, hear: Hear, *, one_thread: bool, like: Training | None = None) -> None:
    """Train cells one after the other in this process.

    Args:
        hear: called with the folder and each event, and with ``Ended`` once per cell.
        one_thread: use one CPU thread also for large images, as ``processes`` does.
        like: a training that lends its data and teacher.
    """
    with fitting_threads(()) if one_thread else nullcontext():
        for path, cell in cells.items():
            reason = None
            try:
                like = _train(path, cell, lambda event, path=path: hear(path, event), like)  # type: ignore[misc]
            except Exception as error:
                reason = _why(error)
            hear(path, Ended(reason))


def processes(cells: Cells, hear: Hear, jobs: int, retries: int = 0) -> None:
    """Train cells in ``jobs`` other processes, on one CPU thread each.

    A process that dies takes one cell with it, unless that may start again; another one goes on with the rest. All of
    them end with this call, and also if this process is killed.

    Args:
        hear: called in this thread with the folder and ``EpochEnded``, and with ``Ended`` once per cell.
        retries: how often a cell starts again whose process has died.
    """
    deaths, ended = Counter[Path](), threading.Event()
    waiting, heard, workers = deque(cells.items()), SimpleQueue[tuple[Path, Event | Ended]](), list[_Worker]()

    def attend() -> None:
        worker: _Worker | None = None
        while True:
            try:
                path, cell = waiting.popleft()
            except IndexError:
                break
            try:
                if worker is None:
                    worker = _worker()
                    workers.append(worker)
                reason = _ask(worker, path, cell, lambda event, path=path: heard.put((path, event)))  # type: ignore[misc]
            except (OSError, EOFError) as error:
                reason, worker = _death(worker) if worker else str(error), None
                deaths[path] += 1
                if deaths[path] <= retries and not ended.is_set():
                    waiting.appendleft((path, cell))
                    continue
                reason += f", {deaths[path]} times" if deaths[path] > 1 else ""
            heard.put((path, Ended(reason)))
        if worker is not None:
            _close(worker)

    threads = [threading.Thread(target=attend, daemon=True) for _ in range(min(jobs, len(cells)))]
    try:
        for thread in threads:
            thread.start()
        left = len(cells)
        while left:
            path, event = heard.get()
            left -= isinstance(event, Ended)
            hear(path, event)
    finally:
        ended.set()
        waiting.clear()
        for worker in workers:
            worker.terminate()
        for thread in threads:
            thread.join(10)


_Worker = subprocess.Popen[str]


def _worker() -> _Worker:
    """Start a process that trains cells on one CPU thread, with nothing of the user's script or notebook."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", "from amkd_viz.runs.engines import serve; serve()"],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C reaches this process only, which ends the others
    )


def order(cell: Cell) -> dict[str, Any]:
    """Return a cell as values of JSON, for ``train_here``."""
    if isinstance(cell, Stored):
        return {**order(cell.cell), "url": cell.url}
    return {"recipe": cell.to_json()} if isinstance(cell, Recipe) else cell.to_json()


def _ask(worker: _Worker, path: Path, cell: Cell, hear: Callable[[Event], None]) -> str | None:
    """Let a worker train a cell; return why it is not finished, or None.

    Raises:
        OSError, EOFError: the worker has died.
    """
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(json.dumps({"path": str(path), **order(cell)}), file=worker.stdin, flush=True)
    for line in worker.stdout:
        if not line.endswith("\n"):
            break
        answer = json.loads(line)
        if "reason" in answer:
            reason: str | None = answer["reason"]
            return reason
        hear(EpochEnded(**answer))
    raise EOFError


def _death(worker: _Worker) -> str:
    code = worker.wait()
    if code >= 0:
        return f"its process ended with exit status {code}"
    with suppress(ValueError):
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process was killed by signal {-code}"


def _close(worker: _Worker) -> None:
    assert worker.stdin is not None
    with suppress(OSError):
        worker.stdin.close()
    worker.wait()
    assert worker.stdout is not None
    worker.stdout.close()


def serve() -> None:
    """Train the cells that come on standard input, one JSON object a line; answer on standard output in the same way.

    Ends with its input, or at the next epoch when nothing reads its answers.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that files are closed
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # text that a module prints is not an answer
    like: Training | None = None

    def answer(**content: object) -> None:
        print(json.dumps(content), file=answers, flush=True)

    def hear(event: Event) -> None:
        if isinstance(event, EpochEnded):
            answer(epoch=event.epoch, metrics=event.metrics)

    for line in sys.stdin:
        asked, reason = json.loads(line), None
        try:
            like = _train(Path(asked["path"]), _cell(asked), hear, like)
        except BrokenPipeError:  # nothing reads the answers
            os._exit(1)
        except Exception as error:
            reason = _why(error)
        answer(reason=reason)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # an exception while the interpreter ends would be printed


_lent: list[Training] = []  # of the last cell that this process has trained


def train_here(path: str, order: Mapping[str, Any]) -> str | None:
    """Train a cell on one CPU thread in a process that trains several; return why it is not finished, or None."""
    torch.set_num_threads(1)
    try:
        like = _train(Path(path), _cell(order), lambda event: None, _lent[-1] if _lent else None)
    except Exception as error:
        return _why(error)
    _lent[:] = [like] if like is not None else []
    return None


def _cell(order: Mapping[str, Any]) -> Cell:
    own = Attempt.from_json(order) if "settings" in order else Recipe.from_json(order["recipe"])
    return Stored(own, order["url"]) if "url" in order else own


def _known_elsewhere(cell: Cell) -> bool:
    """Return whether another process knows every name of a recipe: ``register`` adds names to one process only."""
    cell = cell.cell if isinstance(cell, Stored) else cell
    recipe = cell if isinstance(cell, Recipe) else cell.recipe
    names: list[tuple[Registry[Any], str]] = [
        (methods, recipe.method),
        (samplers, recipe.sampler),
        (datasets, parse_name(recipe.dataset)[0]),
        *((nets, name) for name in (recipe.student, *recipe.teachers, *recipe.peers)),
    ]
    return not any(name in registry.registered for registry, name in names)


def _train(path: Path, cell: Cell, listen: Callable[[Event], None], like: Training | None) -> Training | None:
    """Train a cell, or go on with a run; return a training that lends its data and teacher to the next one."""
    if isinstance(cell, Stored):
        return _train_stored(path, cell, listen, like)
    if isinstance(cell, Attempt):
        return cell.train(path, listen, like)

    def hear(event: Event) -> None:
        nonlocal like
        if isinstance(event, Started) and event.training.teacher is not None:
            like = event.training
        listen(event)

    if (path / "config.json").exists():
        resume(Run.open(path), listen=hear)
    else:
        distill(cell, path, listen=hear, training=prepare(cell, like, hear))
    return like


def _train_stored(
    path: Path, stored: Stored, listen: Callable[[Event], None], like: Training | None
) -> Training | None:
    """Train in a scratch folder, and send what is there to the URL as it changes."""
    if isinstance(stored.cell, Attempt):
        with tempfile.TemporaryDirectory() as folder:
            like = stored.cell.train(Path(folder, path.name), listen, like)
            content = Path(folder, path.name).read_bytes()
        remote = Remote(stored.url.rpartition("/")[0])
        patiently(lambda: remote.write(path.name, content))
        return like
    with worked_on(stored.url) as work:

        def hear(event: Event) -> None:
            listen(event)
            work.send()

        try:
            like = _train(work.path, stored.cell, hear, like)
        except InputError as error:
            with suppress(InputError):
                work.send(last=True)
            raise InputError(str(error).replace(str(work.path), stored.url)) from error
        work.send(last=True)
    return like


def _why(error: Exception) -> str:
    text = " ".join(str(error).split())[:500].rstrip(".")
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
