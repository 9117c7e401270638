"""Jobs obey, and whatever stops a training, it comes out as if it had never stopped."""

from __future__ import annotations

import errno
import itertools
import json
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

from amkd_viz.core.errors import InputError
from amkd_viz.runs import Job, Run, distill, fork, replay, resume
from amkd_viz.runs import recording as recording_module
from amkd_viz.runs import run as run_module
from amkd_viz.runs.follow import Follower, locked
from amkd_viz.training import EpochEnded, Event, Recipe, Stepped, teacher_for

SMALL = Recipe(
    dataset="moons",
    teacher="mlp-small",
    student="mlp-tiny",
    method="amkd-student",
    epochs=4,
    num_train=60,
    batch_size=20,
    teacher_batch_size=20,
    max_boundary_samples=8,
    step_rule="newton",
    step_size=1.0,
    teacher_epochs=2,
    magsim_samples=20,
)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "job-cache"))


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.student().state_dict()


def same_student(a: Run, b: Run) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def numbers(run: Run) -> list[dict[str, Any]]:
    """The epochs of a run without its clock."""
    return [{k: v for k, v in line.items() if k != "images_per_s"} for line in run.metrics()]


def test_a_job_trains_what_distill_trains(tmp_path: Path) -> None:
    job = Job(SMALL, tmp_path / "job")
    assert job.state == "idle"
    job.start()
    assert job.wait(60) == "done"
    assert job.run is not None
    straight = distill(SMALL, tmp_path / "straight")
    assert same_student(job.run, straight)
    assert numbers(job.run) == numbers(straight)


def test_stop_and_resume_at_any_batch_is_never_having_stopped(tmp_path: Path) -> None:
    straight = distill(SMALL, tmp_path / "straight")
    for stop_after in (1, 2, 3, 7):
        count = itertools.count(1)
        job = Job(SMALL, tmp_path / f"stopped-{stop_after}")

        def hear(event: Event, job: Job = job, count: Any = count, at: int = stop_after) -> None:
            if isinstance(event, Stepped) and next(count) == at:
                job.stop()

        job._listen = hear
        job.start()
        assert job.wait(60) == "idle", job.error
        assert job.run is not None
        assert not job.run.finished
        again = Job(Run.open(job.run.path))
        again.resume()
        assert again.wait(60) == "done", again.error
        assert same_student(job.run, straight)
        assert numbers(job.run) == numbers(straight)


def test_pause_step_and_step_epoch(tmp_path: Path) -> None:
    teacher_for(SMALL)  # its training would be heard too
    seen: list[Event] = []
    job = Job(SMALL, tmp_path / "run", listen=seen.append)
    job.step()
    until(lambda: job.state == "paused")
    assert sum(isinstance(e, Stepped) for e in seen) == 1
    job.step()
    until(lambda: sum(isinstance(e, Stepped) for e in seen) == 2)
    until(lambda: job.state == "paused")
    job.step_epoch()
    until(lambda: any(isinstance(e, EpochEnded) for e in seen))
    until(lambda: job.state == "paused")
    assert sum(isinstance(e, EpochEnded) for e in seen) == 1
    steps = sum(isinstance(e, Stepped) for e in seen)
    time.sleep(0.1)
    assert sum(isinstance(e, Stepped) for e in seen) == steps == 3
    job.resume()
    assert job.wait(60) == "done"
    assert sum(isinstance(e, EpochEnded) for e in seen) == SMALL.epochs


def test_settle_waits_for_the_pause_or_the_end(tmp_path: Path) -> None:
    job = Job(SMALL, tmp_path / "run")
    assert job.settle() == "idle"
    for epochs in (1, 2):
        job.step_epoch()
        assert job.settle(60) == "paused"
        assert job.run is not None
        assert len(job.run.metrics()) == epochs
    job.resume()
    assert job.settle(60) == "done"


def test_changes_while_training_are_written_and_replayed(tmp_path: Path) -> None:
    job = Job(SMALL, tmp_path / "run")
    job.set(**{"kd.temperature": 5.0})
    job.step_epoch()
    until(lambda: job.state == "paused")
    job.set(learning_rate=0.02, step_size=0.8)
    job.step()
    until(lambda: job.state == "paused" and job.run is not None and len(job.run.interventions()) == 2)
    job.stop()
    assert job.wait(60) == "idle"
    assert job.run is not None
    finished = resume(Run.open(job.run.path))
    assert [(i["epoch"], i["batch"]) for i in finished.interventions()] == [(0, 0), (1, 0)]
    assert finished.interventions()[1]["changes"] == {"learning_rate": 0.02, "step_size": 0.8}
    assert max(line["learning_rate"] for line in finished.metrics()[1:]) <= 0.02
    again = replay(finished, tmp_path / "again")
    assert same_student(again, finished)
    assert again.interventions() == finished.interventions()
    assert not same_student(distill(SMALL, tmp_path / "untouched"), finished)


def test_a_change_that_no_batch_came_after_is_made_when_the_job_goes_on(tmp_path: Path) -> None:
    job = Job(SMALL, tmp_path / "run")
    job.step()
    assert job.settle(60) == "paused"
    job.set(learning_rate=0.02)
    job.set(**{"kd.temperature": 5.0})
    job.stop()
    assert job.wait(60) == "idle"
    assert job.run is not None
    assert job.run.interventions() == []
    job.resume()
    assert job.wait(60) == "done"
    made = [(line["epoch"], line["batch"], line["changes"]) for line in job.run.interventions()]
    assert made == [(0, 1, {"learning_rate": 0.02, "kd.temperature": 5.0})]


@pytest.mark.parametrize("changes", [{"epochs": 3}, {"lr": 0.1}, {"kd.temperature": -1}, {"learning_rate": 1e9}])
def test_a_change_that_is_not_allowed_is_refused_at_once(tmp_path: Path, changes: dict[str, Any]) -> None:
    job = Job(SMALL, tmp_path / "run")
    with pytest.raises(InputError):
        job.set(**changes)
    job.step()
    until(lambda: job.state == "paused")
    with pytest.raises(InputError):
        job.set(**changes)
    job.stop()
    assert job.wait(60) == "idle"
    assert job.run is not None
    assert job.run.interventions() == []


def test_a_failure_is_kept_in_the_run(tmp_path: Path) -> None:
    def break_down(event: Event) -> None:
        if isinstance(event, EpochEnded):
            raise RuntimeError("the listener broke")

    teacher_for(SMALL)  # not its training shall fail
    job = Job(SMALL, tmp_path / "run", listen=break_down)
    job.start()
    assert job.wait(60) == "failed"
    assert job.error is not None
    assert "the listener broke" in job.error
    assert job.run is not None
    assert any(line["kind"] == "failure" and "the listener broke" in line["text"] for line in job.run.lines())
    assert resume(job.run).finished


def test_starting_again_leaves_no_second_trainer(tmp_path: Path) -> None:
    job = Job(SMALL, tmp_path / "run")
    job.step()
    until(lambda: job.state == "paused")
    trainers = [t for t in threading.enumerate() if t.name.startswith("amkd_viz")]
    job.start()
    job.start()
    assert len([t for t in threading.enumerate() if t.name.startswith("amkd_viz")]) <= len(trainers)
    assert job.wait(60) == "done"


def test_a_job_that_is_stopping_can_be_started_again(tmp_path: Path) -> None:
    straight = distill(SMALL, tmp_path / "straight")
    job, orders = Job(SMALL, tmp_path / "run"), itertools.count()

    def hear(event: Event) -> None:
        if isinstance(event, Stepped) and next(orders) == 4:
            job.stop()
            assert job.state == "stopping"
            job.start()

    job._listen = hear
    job.start()
    assert job.wait(60) == "done", job.error
    assert job.run is not None
    assert same_student(job.run, straight)
    assert numbers(job.run) == numbers(straight)


@pytest.mark.parametrize(
    ("order", "trained", "state"), [("step", 2, "paused"), ("pause", 1, "paused"), ("stop", 1, "idle")]
)
def test_the_last_order_to_a_job_that_is_stopping_counts(tmp_path: Path, order: str, trained: int, state: str) -> None:
    teacher_for(SMALL)  # its training would be heard too
    job, seen = Job(SMALL, tmp_path / "run"), itertools.count(1)
    steps: list[int] = []

    def hear(event: Event) -> None:
        if isinstance(event, Stepped):
            steps.append(next(seen))
            if len(steps) == 1:
                job.stop()
                job.start()
                getattr(job, order)()

    job._listen = hear
    job.start()
    assert job.settle(60) == state, job.error
    assert len(steps) == trained
    job.stop()
    assert job.wait(60) == "idle"


def test_resume_forgets_where_a_step_was_to_hold(tmp_path: Path) -> None:
    teacher_for(SMALL)
    job = Job(SMALL, tmp_path / "run")

    def hear(event: Event) -> None:
        if isinstance(event, Stepped) and (event.epoch, event.batch) == (0, 0):
            job.stop()

    job._listen = hear
    job.step_epoch()
    assert job.wait(60) == "idle"
    job.resume()
    assert job.settle(60) == "done"


def test_start_right_after_the_end_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a stopped job may live a moment longer than its state says."""
    job = Job(SMALL, tmp_path / "run")
    job.step()
    assert job.settle(60) == "paused"
    end = job._end
    lingering = threading.Event()

    def slow_end(*how: Any, **more: Any) -> Any:
        found = end(*how, **more)
        lingering.wait(60)
        return found

    monkeypatch.setattr(job, "_end", slow_end)
    job.stop()
    assert job.settle(60) == "idle"
    monkeypatch.setattr(job, "_end", end)
    job.start()
    assert job.wait(60) == "done"
    lingering.set()


def test_two_writers_are_refused_with_the_others_process(tmp_path: Path) -> None:
    job = Job(SMALL, tmp_path / "run")
    job.step()
    until(lambda: job.state == "paused")
    assert job.run is not None
    with pytest.raises(InputError, match=f"process {os.getpid()}"):
        resume(Run.open(job.run.path))
    second = Job(Run.open(job.run.path))
    second.start()
    assert second.wait(60) == "failed"
    assert f"process {os.getpid()}" in str(second.error)
    assert not [line for line in job.run.lines() if line["kind"] == "failure"]  # it is not the first one's
    job.stop()
    job.wait(60)
    assert resume(Run.open(job.run.path)).finished


def test_a_second_writer_trains_no_teacher_before_it_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    run = Run.create(tmp_path / "run", SMALL.replace(teacher_epochs=3))
    heard: list[Event] = []
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "empty"))
    with run.writing(), pytest.raises(InputError, match="is being written"):
        resume(Run.open(run.path), listen=heard.append)
    assert heard == []


def test_stop_inside_the_attack_leaves_no_trace(tmp_path: Path) -> None:
    """Digits: the student's batch statistics are updated before the attack runs, and must be put back."""
    recipe = SMALL.replace(dataset="digits", teacher="cnn-tiny", student="cnn-tiny", step_rule="gap", epochs=2)
    straight = distill(recipe, tmp_path / "straight")
    job = Job(recipe, tmp_path / "run")
    gate, calls = job._gate, itertools.count()
    from amkd_viz.boundary import bss as _  # noqa: F401  (the pause points of the attack live there)

    def stop_in_attack() -> None:
        frames = [f.name for f in __import__("traceback").extract_stack()]
        if "bss" in frames and next(calls) == 3:
            job.stop()
        gate()

    job._gate = stop_in_attack  # type: ignore[method-assign]
    job.start()
    assert job.wait(60) == "idle", job.error
    assert job.run is not None
    assert same_student(resume(Run.open(job.run.path)), straight)


def test_fork_goes_on_from_a_snapshot_with_other_settings(tmp_path: Path) -> None:
    parent = distill(SMALL, tmp_path / "parent")
    child = fork(parent, 2, tmp_path / "child", learning_rate=0.01, epochs=5)
    assert child.config["parent"] == {"path": str(parent.path.resolve()), "epoch": 2, "recipe": parent.recipe.hash}
    assert not child.finished
    resume(child)
    assert [line["epoch"] for line in child.metrics()] == [3, 4, 5]
    assert same_student(replay(child, tmp_path / "again"), child)
    one, two = parent.teacher().state_dict(), child.teacher().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)  # another rate is the student's, not the teacher's
    with pytest.raises(InputError, match="student"):
        fork(parent, 2, tmp_path / "other", student="mlp")
    with pytest.raises(InputError, match="epochs > 4"):
        fork(parent, 4, tmp_path / "late")
    with pytest.raises(InputError, match="no snapshot of epoch 9"):
        fork(parent, 9, tmp_path / "none", epochs=20)


def test_a_fork_has_what_was_changed_by_hand_before_it(tmp_path: Path) -> None:
    job = Job(SMALL, tmp_path / "run")
    for settings in ({"kd.temperature": 9.0, "learning_rate": 0.01}, {"step_size": 0.8}, {"learning_rate": 0.02}):
        job.step_epoch()
        assert job.settle(60) == "paused"
        job.set(**settings)
    job.resume()
    assert job.wait(60) == "done"
    assert job.run is not None
    run = job.run
    assert [line["epoch"] for line in run.interventions()] == [1, 2, 3]

    child = fork(run, 3, tmp_path / "child")
    assert child.recipe == SMALL.replace(overrides={"kd.temperature": 9.0}, learning_rate=0.01, step_size=0.8)
    assert fork(run, 1, tmp_path / "before").recipe == SMALL
    own = fork(run, 3, tmp_path / "own", learning_rate=0.05, overrides={})
    assert own.recipe == SMALL.replace(learning_rate=0.05, step_size=0.8)
    other = fork(run, 3, tmp_path / "other", method="ce")  # has no kd
    assert other.recipe == SMALL.replace(method="ce", learning_rate=0.01, step_size=0.8)


def test_a_fork_from_the_very_start_is_replayed_from_its_parents_student(tmp_path: Path) -> None:
    parent = distill(SMALL.replace(epochs=1), tmp_path / "parent")
    child = resume(fork(parent, 0, tmp_path / "child", seed=7))
    again = replay(child, tmp_path / "again")
    assert same_student(again, child)
    assert all(
        torch.equal(x, y)
        for x, y in zip(again.student(0).state_dict().values(), parent.student(0).state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("digits", r"digits has \(1, 8, 8\) and 10; start a new run for digits"),
        ("blobs:classes=3", r"takes inputs of shape \(2,\) and knows 2 classes, but blobs.* has \(2,\) and 3"),
    ],
)
def test_a_fork_keeps_to_data_that_its_student_fits(tmp_path: Path, dataset: str, said: str) -> None:
    parent = distill(SMALL, tmp_path / "parent")
    with pytest.raises(InputError, match=said):
        fork(parent, 1, tmp_path / "child", dataset=dataset)
    assert not (tmp_path / "child").exists()
    assert resume(fork(parent, 3, tmp_path / "child", dataset="moons:noise=0.3")).finished


def test_a_damaged_last_checkpoint_falls_back_and_says_so(tmp_path: Path) -> None:
    straight = distill(SMALL, tmp_path / "straight")
    job = Job(SMALL, tmp_path / "run")
    job.step_epoch()
    until(lambda: job.state == "paused")
    job.step_epoch()
    until(lambda: job.run is not None and len(job.run.metrics()) == 2 and job.state == "paused")
    job.stop()
    job.wait(60)
    assert job.run is not None
    last = job.run._checkpoints()[-1]
    last.write_bytes(last.read_bytes()[:1000])
    resume(job.run)
    assert any(line["kind"] == "note" and last.name in line["text"] for line in job.run.lines())
    assert same_student(job.run, straight)
    assert numbers(job.run) == numbers(straight)


def test_a_fork_without_a_whole_checkpoint_starts_again_from_its_parents_student(tmp_path: Path) -> None:
    parent = distill(SMALL, tmp_path / "parent")
    straight = resume(fork(parent, 2, tmp_path / "straight", seed=7))
    child = fork(parent, 2, tmp_path / "child", seed=7)
    inherited = (child.path / "snapshots" / "epoch-0002.safetensors").read_bytes()
    for path in child._checkpoints():
        path.write_bytes(b"junk")
    assert same_student(resume(child), straight)
    assert numbers(child) == numbers(straight)
    assert child.snapshots() == [2, 3, 4]
    assert (child.path / "snapshots" / "epoch-0002.safetensors").read_bytes() == inherited
    notes = [line["text"] for line in child.lines() if line["kind"] == "note"]
    assert notes[0] == (
        "epoch-0002.pt is damaged; no checkpoint is whole, so training starts again from its parent's student "
        "after epoch 2."
    )


def test_a_run_that_was_killed_in_a_line_goes_on_after_the_line_before(tmp_path: Path) -> None:
    run = distill(SMALL, tmp_path / "run")
    before = run.lines()
    (run.path / "summary.json").unlink()
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "epoch", "ep')
    run._checkpoints()[-1].write_bytes(b"junk")  # says a note before anything is taken back
    resume(run)
    assert not [line for line in run.lines() if "damaged" in line]
    assert [line["text"] for line in run.lines() if line not in before and line["kind"] == "note"] == [
        "epoch-0004.pt is damaged; going back to epoch-0003.pt."
    ]
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3, 4]


def test_a_checkpoint_of_other_data_is_refused_in_a_sentence(tmp_path: Path) -> None:
    run = distill(SMALL, tmp_path / "run")
    other = distill(SMALL.replace(dataset="blobs"), tmp_path / "other")
    (run.path / "summary.json").unlink()
    shutil.rmtree(run.path / "checkpoints")
    shutil.copytree(other.path / "checkpoints", run.path / "checkpoints")
    with pytest.raises(InputError, match=r"does not fit its recipe \(.*size mismatch.*the data have changed") as caught:
        resume(run)
    assert "\n" not in str(caught.value)
    run.save_checkpoint({"epoch": 4, "student": {}})
    with pytest.raises(InputError, match="does not fit its recipe"):
        resume(run)


def test_epochs_before_a_fork_count(tmp_path: Path) -> None:
    parent = distill(SMALL, tmp_path / "parent")
    (parent.path / "snapshots" / "epoch-best.safetensors").write_bytes(b"mine")
    assert parent.snapshots() == [0, 1, 2, 3, 4]
    child = fork(parent, 2, tmp_path / "child")
    assert "2 of 4 epochs" in repr(child)
    child.log({"kind": "epoch", "epoch": 3})
    assert child.epochs_done == 3
    assert Run.create(tmp_path / "new", SMALL).epochs_done == 0


def test_a_note_says_from_where_training_goes_on(tmp_path: Path) -> None:
    run = distill(SMALL.replace(epochs=2), tmp_path / "run")
    one, two = run._checkpoints()
    two.write_bytes(b"junk")
    run.load_checkpoint()
    one.write_bytes(b"junk")
    assert run.load_checkpoint() is None
    assert [line["text"] for line in run.lines() if line["kind"] == "note"][1:] == [  # after one on moons
        "epoch-0002.pt is damaged; going back to epoch-0001.pt.",
        "epoch-0002.pt and epoch-0001.pt are damaged; no checkpoint is whole, so training starts again from the first "
        "batch.",
    ]


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = distill(SMALL, tmp_path / "straight")
    writes = itertools.count()
    real = run_module.write_atomic

    def no_space(path: Path, content: bytes | str, **how: bool) -> Path:
        if next(writes) > 8:
            raise InputError(f"Cannot write {path}: No space left on device; free some space or choose another folder.")
        return real(path, content, **how)

    monkeypatch.setattr(run_module, "write_atomic", no_space)
    job = Job(SMALL, tmp_path / "run")
    job.start()
    assert job.wait(60) == "failed"
    assert job.error is not None
    assert "No space left" in job.error
    monkeypatch.setattr(run_module, "write_atomic", real)
    assert job.run is not None
    assert same_student(resume(Run.open(job.run.path)), straight)


@pytest.mark.parametrize("error", [InputError("Cannot write it."), RuntimeError("the device is gone")])
def test_a_last_checkpoint_that_cannot_be_written_fails_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    job = Job(SMALL, tmp_path / "run")
    job.step()
    assert job.settle(60) == "paused"

    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(run_module.Run, "save_checkpoint", broken)
    job.stop()
    assert job.wait(60) == "failed"
    assert str(error) in str(job.error)


def test_snapshots_are_thinned_at_an_even_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = distill(SMALL.replace(epochs=1), tmp_path / "one")
    size = (one.path / "snapshots" / "epoch-0001.safetensors").stat().st_size
    monkeypatch.setattr(run_module, "SNAPSHOT_MB", 5.5 * size / 2**20)
    run = distill(SMALL.replace(epochs=16, evaluate_every=16), tmp_path / "run")
    kept = run.snapshots()
    assert kept[0] == 0
    assert kept[-1] == 16
    assert len(kept) == 5
    assert max(b - a for a, b in itertools.pairwise(kept)) <= 8


def test_attached_readers_see_whole_lines_once(tmp_path: Path) -> None:
    run = distill(SMALL.replace(epochs=1), tmp_path / "run")
    follower = run.follow()
    first = follower.poll()
    assert [line["kind"] for line in first].count("epoch") == 1
    assert follower.poll() == []
    path = run.path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"kind": "epoch", "ep')
    assert follower.poll() == []
    with path.open("a") as file:
        file.write('och": 2}\n')
    assert follower.poll() == [{"kind": "epoch", "epoch": 2}]
    run.rewind(1, 0)
    assert [line["epoch"] for line in follower.poll() if line["kind"] == "epoch"] == [1]
    assert follower.rewound


@pytest.mark.parametrize("how", ["shorter", "same length", "longer", "gone and back"])
def test_a_rewind_is_seen_though_the_file_has_the_old_inode(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.jsonl"
    old, new = [{"epoch": n, "loss": 1} for n in range(6)], [{"epoch": n, "loss": 2} for n in range(6)]

    def write(lines: list[dict[str, int]]) -> None:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))  # in place: the inode stays

    follower = Follower(path)
    assert follower.poll() == []
    write(old[:4])
    assert follower.poll() == old[:4]
    assert not follower.rewound
    if how == "gone and back":
        path.unlink()
        assert follower.poll() == []
    lines = old[:1] + new[1 : {"shorter": 3, "same length": 4, "longer": 6, "gone and back": 4}[how]]
    write(lines)
    assert follower.poll() == lines
    assert follower.rewound
    assert follower.poll() == []
    assert not follower.rewound
    write([*lines, old[5]])
    assert follower.poll() == [old[5]]
    assert not follower.rewound


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_drive_that_knows_no_locks_can_be_trained_on(tmp_path: Path, monkeypatch: Any, code: int) -> None:
    fcntl = pytest.importorskip("fcntl")

    def none_here(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", none_here)
    assert distill(SMALL.replace(epochs=1), tmp_path / "run").finished


def test_a_lock_that_cannot_be_taken_says_why(tmp_path: Path, monkeypatch: Any) -> None:
    fcntl = pytest.importorskip("fcntl")

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(InputError, match=r"Cannot write .*lock: Input/output error"), locked(tmp_path / "lock", "It"):
        pass


def test_a_lock_on_a_full_disk_says_so(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # no file may grow
    try:
        with pytest.raises(InputError, match=r"Cannot write .*lock: File too large"), locked(tmp_path / "lock", "It"):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_error_of_the_training_is_not_taken_for_one_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="the listener's own"), locked(tmp_path / "lock", "It"):
        raise ConnectionError("the listener's own")


def test_ten_thousand_lines_are_read_quickly(tmp_path: Path) -> None:
    run = distill(SMALL.replace(epochs=1), tmp_path / "run")
    line = json.dumps(run.metrics()[0])
    (run.path / "metrics.jsonl").write_text((line + "\n") * 10_000)
    follower = run.follow()
    assert len(follower.poll()) == 10_000
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    begun = time.perf_counter()
    assert len(follower.poll()) == 1
    assert time.perf_counter() - begun < 0.2


def test_an_older_format_is_refused_with_a_sentence(tmp_path: Path) -> None:
    run = distill(SMALL.replace(epochs=1), tmp_path / "run")
    config = run.path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "format": 0}))
    with pytest.raises(InputError, match="format 0"):
        Run.open(run.path)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(tmp_path: Path) -> None:
    """kill -9 wherever it hits: training, writing a checkpoint, validating. The run always comes out the same."""
    recipe = SMALL.replace(epochs=40, method="amkd-student")
    straight = distill(recipe, tmp_path / "straight")
    script = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from amkd_viz.runs import Run, distill, resume\n"
        "from amkd_viz.training import Recipe\n"
        "import json\n"
        "out = Path(sys.argv[1]); print('ready', flush=True)\n"
        "while sys.stdin.readline():\n"
        "    pid = __import__('os').fork()\n"
        "    if pid == 0:\n"
        "        resume(Run.open(out)) if (out / 'config.json').exists() else "
        "distill(Recipe.from_json(json.loads(sys.argv[2])), out)\n"
        "        __import__('os')._exit(0)\n"
        "    print(pid, flush=True); print(__import__('os').waitpid(pid, 0)[1], flush=True)\n"
    )
    out = tmp_path / "killed"
    command = [sys.executable, "-c", script, str(out), json.dumps(recipe.to_json())]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    draw = torch.Generator().manual_seed(int(time.time()))
    kills, places = 0, set()
    try:
        assert server.stdout.readline() == "ready\n"
        while kills < 20:
            server.stdin.write("go\n")
            server.stdin.flush()
            pid = int(server.stdout.readline())
            time.sleep(float(torch.rand(1, generator=draw)) * 0.25 + 0.01)
            with_checkpoint = out / "checkpoints"
            places.add(len(list(with_checkpoint.glob("*.pt"))) if with_checkpoint.exists() else 0)
            os.kill(pid, signal.SIGKILL)
            status = int(server.stdout.readline())
            if status == 0:  # it had finished: begin again
                assert same_student(Run.open(out), straight)
                out.rename(tmp_path / f"finished-{kills}")
            else:
                kills += 1
    finally:
        server.stdin.close()
        server.wait(10)
    if (out / "config.json").exists():
        run = resume(Run.open(out))
    else:
        run = distill(recipe, out)
    assert same_student(run, straight)
    assert numbers(run) == numbers(straight)
    assert places


def test_checkpoints_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "CHECKPOINT_SECONDS", 0.0)
    names: set[str] = set()

    def hear(event: Event) -> None:
        if isinstance(event, Stepped):
            names.update(p.stem for p in (tmp_path / "run" / "checkpoints").glob("*.pt"))

    distill(SMALL.replace(epochs=2), tmp_path / "run", listen=hear)
    assert {"epoch-0000-000001", "epoch-0000-000002", "epoch-0001-000001"} <= names
