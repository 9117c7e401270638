"""What is trained survives divergence, kill -9, two processes at once, and data that change behind a run's back."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import POINTS, same

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import PART, claim, write_atomic
from amkd_viz.data import load
from amkd_viz.runs import Job, Run, distill, replay, resume, teacher_for
from amkd_viz.runs import run as run_module
from amkd_viz.runs.follow import Held, locked
from amkd_viz.training import EpochEnded, Event, Finished, Recipe, Started, Stepped, Waiting
from amkd_viz.training.teachers import cache_folder
from exercises import example_folder
from tests.waiting import until

pytestmark = [pytest.mark.usefixtures("checkpoint_each_epoch"), pytest.mark.processes]
CE = POINTS.replace(method="ce", magsim_samples=0)
SLOW = CE.replace(teacher_epochs=12)
HUGE = {"ce.weight": 1e30}


def notes(run: Run) -> list[str]:
    return [line["text"] for line in run.lines() if line["kind"] == "note"]


def checkpoints(run: Run) -> list[str]:
    return sorted(path.stem for path in (run.path / "checkpoints").glob("*.pt"))


# divergence


class Poison:
    """A listener that makes one weight of the student NaN after a batch."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.at = epoch, batch

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.training = event.training
        elif isinstance(event, Stepped) and self.training.teacher and (event.epoch, event.batch) == self.at:
            next(self.training.student.parameters()).data[0] = float("nan")


@pytest.mark.parametrize(
    ("batch", "kept", "place"),
    [
        (0, ["epoch-0001", "epoch-0001-000001"], (1, 1)),
        (2, ["epoch-0001-000002", "epoch-0001-000003"], (2, 0)),  # written before the weight is spoilt
    ],
    ids=["within an epoch", "in its last batch"],
)
def test_nan_never_reaches_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, kept: list[str], place: tuple[int, int]
) -> None:
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(InputError, match=r"A weight or its momentum is not finite in epoch 2; lower learning_rate=0.1"):
        distill(CE, tmp_path / "run", listen=Poison(1, batch))
    run = Run.open(tmp_path / "run")
    assert checkpoints(run) == kept
    assert [line["epoch"] for line in run.metrics()] == [1]
    assert run.snapshots() == [0, 1]
    state = run.load_checkpoint()
    assert state is not None
    assert all(value.isfinite().all() for value in state["student"].values())

    assert resume(run, learning_rate=0.05).finished
    (change,) = run.interventions()
    assert (change["epoch"], change["batch"], change["changes"]) == (*place, {"learning_rate": 0.05})
    assert run.recipe_after(CE.epochs) == CE.replace(learning_rate=0.05)
    assert same(replay(run, tmp_path / "again").student(), run.student())
    with pytest.raises(InputError, match=r"run is finished; fork it"):
        resume(run, learning_rate=0.05)


def diverged(path: Path) -> Run:
    """A run that was changed by hand after its first epoch, so that it diverged in the second."""
    job = Job(CE, path)
    job.step_epoch()
    assert job.settle(60) == "paused", job.error
    job.set(**HUGE)
    job.resume()
    assert job.wait(60) == "failed"
    assert "not finite in epoch 2" in str(job.error)
    assert job.run is not None
    return job.run


def test_a_change_that_made_a_run_diverge_is_taken_back(tmp_path: Path, call: Any) -> None:
    run = diverged(tmp_path / "run")
    assert checkpoints(run) == ["epoch-0001"]
    with pytest.raises(InputError, match="not finite in epoch 2"):
        resume(run)  # makes the change again
    with pytest.raises(InputError, match="Unknown setting to change while training 'epochs'"):
        resume(run, epochs=9)
    words = ("--learning-rate", "0.05", "--set", "ce.weight=1")
    status, _, err = call("distill", "--resume", run.path, *words)
    assert status == 0, err
    assert [line["changes"] for line in run.interventions()] == [{"learning_rate": 0.05, "ce.weight": 1}]
    assert same(replay(run, tmp_path / "again").student(), run.student())


def test_a_stop_after_a_divergence_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    poison = Poison(1, 0)

    def hear(event: Event) -> None:
        poison(event)
        if isinstance(event, Stepped) and event.epoch == 1:
            job.stop()

    job = Job(CE, tmp_path / "run", listen=hear)
    job.start()
    assert job.wait(60) == "failed"
    assert job.run is not None
    assert checkpoints(job.run) == ["epoch-0001"]
    assert "A weight or its momentum is not finite in epoch 2" in job.run.lines()[-1]["text"]


def test_a_checkpoint_of_an_earlier_version_that_holds_nan_is_passed_over(tmp_path: Path) -> None:
    run = distill(CE, tmp_path / "run")
    expected = run.student()
    state = run.load_checkpoint()
    assert state is not None
    state["student"] = {name: torch.full_like(value, torch.nan) for name, value in state["student"].items()}
    run.save_checkpoint(state)
    (run.path / "summary.json").unlink()
    assert same(resume(run).student(), expected)
    assert notes(run) == ["epoch-0004.pt is damaged; going back to epoch-0003.pt."]


# kill -9


def slowly(event: Event) -> None:
    if isinstance(event, EpochEnded):
        time.sleep(0.3)


def teach(recipe: Recipe) -> None:
    run_module.EPOCH_SECONDS = 0.0  # another process than that of the fixture
    teacher_for(recipe, slowly)


def in_cache(cache: Path, what: Callable[[Any], None], argument: Any) -> None:
    os.environ["AMKD_VIZ_CACHE"] = str(cache)
    what(argument)


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Start a process that runs a function, with a cache of this test."""
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    made = []

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["amkd_viz.runs.grid"])  # torch is imported once

    def start(what: Callable[[Any], None], argument: Any) -> Any:
        process = context.Process(target=in_cache, args=(tmp_path / "cache", what, argument))
        process.start()
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.join()


def epochs_of_teacher() -> int:
    found = list((cache_folder() / "teachers").glob("*/config.json"))
    return Run.open(found[0].parent).epochs_done if found else 0


@pytest.mark.slow
def test_a_teacher_that_is_killed_twice_goes_on_and_comes_out_the_same(
    begin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for epochs in (2, 5):
        process = begin(teach, SLOW)
        until(lambda epochs=epochs: epochs_of_teacher() >= epochs)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    starts: list[int] = []
    teacher = teacher_for(SLOW, lambda e: starts.append(e.training.epoch) if isinstance(e, Started) else None)
    assert starts[0] >= 4  # five lines, of which the last may be ahead of its checkpoint
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "other"))
    assert same(teacher, teacher_for(SLOW))


@pytest.mark.slow
def test_who_needs_a_teacher_that_another_process_trains_waits_and_goes_on_when_that_one_is_killed(
    begin: Any, tmp_path: Path
) -> None:
    process = begin(teach, SLOW)
    until(lambda: epochs_of_teacher() >= 1)
    heard: list[Any] = []

    def hear(event: Event) -> None:
        heard.append(event.training.epoch if isinstance(event, Started) else event)
        if isinstance(event, Waiting) and epochs_of_teacher() >= 3:
            process.kill()

    job = Job(SLOW, tmp_path / "run", listen=hear)
    job.start()
    assert job.wait(120) == "done", job.error
    assert isinstance(heard[0], Waiting)
    assert f"is being written by process {process.pid}: waiting, " in heard[0].text
    assert heard[0].text.endswith(" of 12 epochs are done.")
    first, second = (n for n, event in enumerate(heard) if isinstance(event, int))
    assert heard[first] >= 2  # not from the start
    assert sum(isinstance(event, EpochEnded) for event in heard[first:second]) == 12 - heard[first]
    assert len({event.text for event in heard[:first]}) == first  # each said once
    assert heard[second] == 0
    assert isinstance(heard[-1], Finished)


@pytest.mark.slow
def test_one_that_waits_without_a_listener_warns_and_trains_nothing(begin: Any) -> None:
    begin(teach, SLOW)
    until(lambda: epochs_of_teacher() >= 9)
    with pytest.warns(UserWarning, match="is being written by process"):
        waited = teacher_for(SLOW)
    (folder,) = (cache_folder() / "teachers").iterdir()
    assert same(waited, Run.open(folder).student())
    assert [line["epoch"] for line in Run.open(folder).metrics()] == list(range(1, 13))


def write_for_ever(path: Path) -> None:
    os.fsync = lambda _: time.sleep(600)  # type: ignore[assignment]
    write_atomic(path, "half")


def test_what_a_killed_writer_left_goes_with_the_next_write_and_nothing_else(begin: Any, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    process = begin(write_for_ever, folder / "one.json")
    until(lambda: list(folder.glob(f".*{PART}")))
    (part,) = folder.glob(f".*{PART}")
    until(lambda: part.stat().st_size)
    own = [folder / ".one.json.0123abcd", folder / f"notes{PART}"]
    for path in own:
        path.write_text("mine")
    write_atomic(folder / "two.json", "2")
    assert part.exists()  # its writer lives
    process.kill()
    process.join()
    assert part.exists()
    write_atomic(folder / "two.json", "3")
    assert not part.exists()
    assert [path.read_text() for path in own] == ["mine", "mine"]
    for path in own:
        path.unlink()
    (folder / "two.json").unlink()
    part.write_text("of a writer that was killed at its first file")
    assert claim(folder) == folder


FORKS = """
import os, sys, time
from pathlib import Path
from amkd_viz.runs.follow import locked
with locked(Path(sys.argv[1]), "The run"):
    if os.fork() == 0:
        time.sleep(600)
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_keeps_no_lock_of_its_dead_parent(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS, path], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        holder = rf"^The run is being written by process {process.pid}; stop that one"
        with pytest.raises(Held, match=holder), locked(path, "The run"):
            pass
        process.kill()
        process.wait()
        with locked(path, "The run"):  # though the child lives
            os.killpg(process.pid, 0)
            path.write_text(str(process.pid))  # a holder that is dead is not named
            with pytest.raises(Held, match=r"^The run is being written by another process; "), locked(path, "The run"):
                pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# data and versions


def test_a_run_goes_on_with_its_own_data_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "pictures"
    example_folder(images, classes=(0, 7), most=6)
    small = {"batch_size": 4, "teacher_batch_size": 4, "num_train": None, "teacher_epochs": 1, "epochs": 2}
    recipe = CE.replace(dataset=f"folder:{images}", teacher="cnn-tiny", student="cnn-tiny", **small)
    run = distill(recipe, tmp_path / "run")
    assert run.config["classes"] == list(load(recipe.dataset).classes)
    assert run.config["data"] == load(recipe.dataset).fingerprint
    (run.path / "summary.json").unlink()
    before = run.lines()

    first, second = sorted(images.iterdir())
    moved = sorted(first.iterdir())[0]
    moved.rename(second / f"moved-{moved.name}")  # another label
    for attempt in (lambda: resume(run), lambda: replay(run, tmp_path / "again")):
        with pytest.raises(InputError, match="was trained on: its images or labels have changed; restore it, or start"):
            attempt()
    (second / f"moved-{moved.name}").rename(moved)
    second.rename(second.with_name("zebras"))  # another class
    with pytest.raises(InputError, match=r"was trained on: its classes now are digit-0, zebras; restore it, or start"):
        resume(run)
    assert run.lines() == before
    assert not (tmp_path / "again").exists()
    second.with_name("zebras").rename(second)
    assert resume(run).finished


def test_data_are_the_same_on_another_processor() -> None:
    data = load("blobs")
    rounded = dataclasses.replace(data, mean=tuple(value * (1 + 1e-13) for value in data.mean))
    assert rounded.fingerprint == data.fingerprint
    moved = dataclasses.replace(data, mean=tuple(value * 1.001 for value in data.mean))
    assert moved.fingerprint != data.fingerprint


def test_other_versions_are_noted_and_old_runs_go_on(tmp_path: Path) -> None:
    run = distill(CE, tmp_path / "run")
    student = run.student()
    config = run.config | {"versions": run.config["versions"] | {"torch": "1.0", "python": "3.1"}}
    (run.path / "config.json").write_text(json.dumps(config))
    for _ in range(2):
        (run.path / "summary.json").unlink()
        assert same(resume(Run.open(run.path)).student(), student)
    assert notes(run) == [
        f"The run goes on with torch {torch.__version__} (begun with 1.0): its student may not be bit-identical to one "
        "trained in one go."
    ]
    old = Run.open(shutil.copytree(run.path, tmp_path / "old"))
    config = {name: value for name, value in old.config.items() if name not in ("versions", "data", "classes")}
    (old.path / "config.json").write_text(json.dumps(config))
    (old.path / "summary.json").unlink()
    (old.path / "metrics.jsonl").unlink()
    old = resume(Run.open(old.path))
    assert same(old.student(), student)
    assert notes(old) == []
    assert old.config["data"] == run.config["data"]  # known from now on


def test_threads_of_one_process_wait_for_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    heard: dict[str, list[Any]] = {"one": [], "two": []}
    threads = [threading.Thread(target=teacher_for, args=(CE, h.append)) for h in heard.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    trained = [sum(isinstance(event, Finished) for event in events) for events in heard.values()]
    assert sorted(trained) == [0, 1]
