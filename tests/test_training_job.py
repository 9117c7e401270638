"""Jobs obey, and whatever stops a training, it comes out as if it had never stopped."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from recipes import POINTS, same
from torch.nn.functional import cross_entropy

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import Step, Term, ce, kd, methods
from amkd_viz.runs import Job, Run, distill, fork, replay, resume
from amkd_viz.runs import run as run_module
from amkd_viz.runs.follow import Follower
from amkd_viz.training import EpochEnded, Event, Recipe, Stepped, accuracy, logits_on

pytestmark = pytest.mark.processes

SMALL = POINTS.replace(
    dataset="moons",
    method="amkd-student",
    num_train=60,
    batch_size=20,
    teacher_batch_size=20,
    step_rule="newton",
    step_size=1.0,
    teacher_epochs=2,
    device="auto",
)


def same_student(a: Run, b: Run) -> bool:
    return same(a.student(), b.student())


def paused(job: Job, *orders: Callable[[], None]) -> Run:
    """Give the orders one by one, wait for the pause after each, and return the run."""
    for order in orders:
        order()
        assert job.settle(60) == "paused", job.error
    assert job.run is not None
    return job.run


def stopped(job: Job) -> Run:
    job.stop()
    assert job.wait(60) == "idle", job.error
    assert job.run is not None
    return job.run


def notes(run: Run) -> list[str]:
    return [line["text"] for line in run.lines() if line["kind"] == "note"]


@pytest.fixture(scope="module", autouse=True)
def straight(tmp_path_factory: pytest.TempPathFactory, checkpoint_each_epoch: None) -> Run:
    """A run that was never stopped, which no test changes; its teacher is cached, and not heard again."""
    return distill(SMALL, tmp_path_factory.mktemp("runs") / "straight")


def numbers(run: Run) -> list[dict[str, Any]]:
    """The epochs of a run without its clock."""
    return [{k: v for k, v in line.items() if k != "images_per_s"} for line in run.metrics()]


@pytest.mark.parametrize("stop_after", [None, 1, 2, 3, 7])
def test_stop_and_resume_at_any_batch_is_never_having_stopped(
    tmp_path: Path, straight: Run, stop_after: int | None
) -> None:
    count = itertools.count(1)

    def hear(event: Event) -> None:
        if isinstance(event, Stepped) and next(count) == stop_after:
            job.stop()

    job = Job(SMALL, tmp_path / "run", listen=hear)
    assert job.state == "idle"
    job.start()
    assert job.wait(60) == ("idle" if stop_after else "done"), job.error
    assert job.run is not None
    assert job.run.finished == (stop_after is None)
    again = Job(Run.open(job.run.path))
    again.resume()
    assert again.wait(60) == "done", again.error
    assert same_student(job.run, straight)
    assert numbers(job.run) == numbers(straight)


def test_pause_step_and_step_epoch(tmp_path: Path) -> None:
    seen: list[type[Event]] = []
    job = Job(SMALL, tmp_path / "run", listen=lambda event: seen.append(type(event)))
    assert job.settle() == "idle"
    for order, steps, epochs in ((job.step, 1, 0), (job.step, 2, 0), (job.step_epoch, 3, 1), (job.step_epoch, 6, 2)):
        order()
        assert job.settle(60) == "paused", job.error
        assert (seen.count(Stepped), seen.count(EpochEnded)) == (steps, epochs)
    trainers = [t for t in threading.enumerate() if t.name.startswith("amkd_viz")]
    job.resume()
    job.start()  # leaves no second trainer
    assert len([t for t in threading.enumerate() if t.name.startswith("amkd_viz")]) <= len(trainers)
    assert job.settle(60) == "done"
    assert seen.count(EpochEnded) == SMALL.epochs


def test_resume_forgets_where_a_step_was_to_pause(tmp_path: Path) -> None:

    def hear(event: Event) -> None:
        if isinstance(event, Stepped) and (event.epoch, event.batch) == (0, 0):
            job.stop()

    job = Job(SMALL, tmp_path / "run", listen=hear)
    job.step_epoch()
    assert job.wait(60) == "idle"
    job.resume()
    assert job.settle(60) == "done"


def test_overrides_while_training_are_written_and_replayed(tmp_path: Path, straight: Run) -> None:
    job = Job(SMALL, tmp_path / "run")
    job.set(**{"kd.temperature": 5.0})
    paused(job, job.step_epoch)
    job.set(learning_rate=0.02, step_size=0.8)
    assert len(paused(job, job.step).interventions()) == 2
    job.set(learning_rate=0.01)
    job.set(attack_steps=3)
    assert len(stopped(job).interventions()) == 2  # no batch came after
    job.resume()
    assert job.wait(60) == "done", job.error
    assert job.run is not None
    finished = job.run
    assert [(i["epoch"], i["batch"], i["changes"]) for i in finished.interventions()] == [
        (0, 0, {"kd.temperature": 5.0}),
        (1, 0, {"learning_rate": 0.02, "step_size": 0.8}),
        (1, 1, {"learning_rate": 0.01, "attack_steps": 3}),
    ]
    assert max(line["learning_rate"] for line in finished.metrics()[1:]) <= 0.02
    again = replay(finished, tmp_path / "again")
    assert same_student(again, finished)
    assert again.interventions() == finished.interventions()
    assert not same_student(straight, finished)


@pytest.mark.parametrize("overrides", [{"epochs": 3}, {"lr": 0.1}, {"kd.temperature": -1}, {"learning_rate": 1e9}])
def test_an_override_that_is_not_allowed_is_refused_at_once(tmp_path: Path, overrides: dict[str, Any]) -> None:
    job = Job(SMALL, tmp_path / "run")
    with pytest.raises(InputError):
        job.set(**overrides)
    paused(job, job.step)
    with pytest.raises(InputError):
        job.set(**overrides)
    assert stopped(job).interventions() == []


def test_a_failure_is_kept_in_the_run(tmp_path: Path) -> None:
    def break_down(event: Event) -> None:
        if isinstance(event, EpochEnded):
            raise RuntimeError("the listener broke")

    job = Job(SMALL, tmp_path / "run", listen=break_down)
    job.start()
    assert job.wait(60) == "failed"
    assert job.error is not None
    assert "the listener broke" in job.error
    assert job.run is not None
    assert any(line["kind"] == "failure" and "the listener broke" in line["text"] for line in job.run.lines())
    assert resume(job.run).finished


@pytest.mark.parametrize(
    ("order", "trained", "state"),
    [("start", 12, "done"), ("step", 2, "paused"), ("pause", 1, "paused"), ("stop", 1, "idle")],
)
def test_the_last_order_to_a_job_that_is_stopping_counts(
    tmp_path: Path, straight: Run, order: str, trained: int, state: str
) -> None:
    steps: list[Event] = []

    def hear(event: Event) -> None:
        if isinstance(event, Stepped):
            steps.append(event)
            if len(steps) == 1:
                job.stop()
                assert job.state == "stopping"
                job.start()
                getattr(job, order)()

    job = Job(SMALL, tmp_path / "run", listen=hear)
    job.start()
    assert job.settle(60) == state, job.error
    assert len(steps) == trained
    if state == "done":
        assert job.run is not None
        assert same_student(job.run, straight)
        assert numbers(job.run) == numbers(straight)
    else:
        stopped(job)


def test_start_right_after_the_end_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a stopped job may live a moment longer than its state says."""
    job = Job(SMALL, tmp_path / "run")
    paused(job, job.step)
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


def test_two_writers_are_refused_with_the_others_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, heard = Job(SMALL, tmp_path / "run"), []
    run = paused(job, job.step)
    second = Job(Run.open(run.path))
    second.start()
    assert second.wait(60) == "failed"
    assert f"process {os.getpid()}" in str(second.error)
    assert not [line for line in run.lines() if line["kind"] == "failure"]  # it is not the first one's
    with monkeypatch.context() as patch:  # refused before a teacher is trained
        patch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "empty"))
        with pytest.raises(InputError, match=f"process {os.getpid()}"):
            resume(Run.open(run.path), listen=heard.append)
    assert heard == []
    stopped(job)
    assert resume(Run.open(run.path)).finished


def test_stop_inside_the_attack_leaves_no_trace(tmp_path: Path) -> None:
    """Digits: the student's batch statistics are updated before the attack runs, and must be put back."""
    recipe = SMALL.replace(dataset="digits", teacher="cnn-tiny", student="cnn-tiny", step_rule="gap", epochs=2)
    straight = distill(recipe, tmp_path / "straight")
    job = Job(recipe, tmp_path / "run")
    gate, calls = job._gate, itertools.count()

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
    (parent.path / "snapshots" / "epoch-best.safetensors").write_bytes(b"mine")
    assert parent.snapshots() == [0, 1, 2, 3, 4]
    child = fork(parent, 2, tmp_path / "child", learning_rate=0.01, epochs=5)
    assert child.config["parent"] == {"path": str(parent.path.resolve()), "epoch": 2, "recipe": parent.recipe.hash}
    assert not child.finished
    assert "2 of 5 epochs" in repr(child)
    resume(child)
    assert child.epochs_done == 5
    assert [line["epoch"] for line in child.metrics()] == [3, 4, 5]
    assert same_student(replay(child, tmp_path / "again"), child)
    assert same(parent.teacher(), child.teacher())  # another rate is the student's, not the teacher's
    with pytest.raises(InputError, match="student"):
        fork(parent, 2, tmp_path / "other", student="mlp")
    with pytest.raises(InputError, match="epochs > 4"):
        fork(parent, 4, tmp_path / "late")
    with pytest.raises(InputError, match="no snapshot of epoch 9"):
        fork(parent, 9, tmp_path / "none", epochs=20)
    first = resume(fork(parent, 0, tmp_path / "first", seed=7))
    again = replay(first, tmp_path / "first-again")  # from its parent's student, not from its own seed
    assert same_student(again, first)
    assert same(again.student(0), parent.student(0))


def test_a_fork_has_what_was_changed_by_hand_before_it(tmp_path: Path) -> None:
    job = Job(SMALL, tmp_path / "run")
    for settings in ({"kd.temperature": 9.0, "learning_rate": 0.01}, {"step_size": 0.8}, {"learning_rate": 0.02}):
        paused(job, job.step_epoch)
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


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("digits", r"digits has \(1, 8, 8\) and 10; start a new run for digits"),
        ("blobs:classes=3", r"takes inputs of shape \(2,\) and knows 2 classes, but blobs.* has \(2,\) and 3"),
    ],
)
def test_a_fork_keeps_to_data_that_its_student_fits(tmp_path: Path, straight: Run, dataset: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fork(straight, 1, tmp_path / "child", dataset=dataset)
    assert not (tmp_path / "child").exists()
    assert resume(fork(straight, 3, tmp_path / "child", dataset="moons:noise=0.3")).finished


def test_a_fork_without_a_whole_checkpoint_starts_again_from_its_parents_student(tmp_path: Path, straight: Run) -> None:
    expected = resume(fork(straight, 2, tmp_path / "expected", seed=7))
    child = fork(straight, 2, tmp_path / "child", seed=7)
    inherited = (child.path / "snapshots" / "epoch-0002.safetensors").read_bytes()
    for path in child._checkpoints():
        path.write_bytes(b"junk")
    assert same_student(resume(child), expected)
    assert numbers(child) == numbers(expected)
    assert child.snapshots() == [2, 3, 4]
    assert (child.path / "snapshots" / "epoch-0002.safetensors").read_bytes() == inherited
    assert notes(child)[0] == (
        "epoch-0002.pt is damaged; no checkpoint is whole, so training starts again from its parent's student "
        "after epoch 2."
    )


def test_a_run_that_was_killed_in_a_line_goes_on_after_the_line_before(tmp_path: Path, straight: Run) -> None:
    run = Run.open(shutil.copytree(straight.path, tmp_path / "run"))
    before = notes(run)
    (run.path / "summary.json").unlink()
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "epoch", "ep')
    one, two = run._checkpoints()
    two.write_bytes(b"junk")  # says a note before anything is taken back
    resume(run)
    assert same_student(run, straight)
    assert not [line for line in run.lines() if "damaged" in line]
    assert notes(run)[len(before) :] == ["epoch-0004.pt is damaged; going back to epoch-0003.pt."]
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3, 4]
    one.write_bytes(b"junk")
    two.write_bytes(b"junk")
    assert run.load_checkpoint() is None
    assert notes(run)[-1] == (
        "epoch-0004.pt and epoch-0003.pt are damaged; no checkpoint is whole, so training starts again from the first "
        "batch."
    )


def test_a_checkpoint_of_other_data_is_refused_in_a_sentence(tmp_path: Path, straight: Run) -> None:
    run = Run.open(shutil.copytree(straight.path, tmp_path / "run"))
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


@pytest.mark.parametrize("error", [InputError("Cannot write it."), RuntimeError("the device is gone")])
def test_a_last_checkpoint_that_cannot_be_written_fails_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    job = Job(SMALL, tmp_path / "run")
    paused(job, job.step)

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


@pytest.mark.parametrize("how", ["shorter", "same length", "longer", "gone and back"])
def test_a_follower_sees_whole_lines_once_and_each_rewind(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.jsonl"
    old, new = [{"epoch": n, "loss": 1} for n in range(6)], [{"epoch": n, "loss": 2} for n in range(6)]
    follower = Follower(path)

    def polled(text: str) -> tuple[list[dict[str, Any]], bool]:
        path.write_text(text)  # in place: the inode stays
        return follower.poll(), follower.rewound

    def text(lines: list[dict[str, int]]) -> str:
        return "".join(json.dumps(line) + "\n" for line in lines)

    assert follower.poll() == []
    assert polled(text(old[:3]) + '{"epoch": 3, ') == (old[:3], False)
    assert polled(text(old[:4])) == (old[3:4], False)
    if how == "gone and back":
        path.unlink()
        assert follower.poll() == []
    lines = old[:1] + new[1 : {"shorter": 3, "same length": 4, "longer": 6, "gone and back": 4}[how]]
    assert polled(text(lines)) == (lines, True)
    assert polled(text(lines)) == ([], False)
    assert polled(text([*lines, old[5]])) == ([old[5]], False)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_drive_without_locks_can_be_trained_on(tmp_path: Path, monkeypatch: Any, code: int) -> None:
    def broken(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", broken)
    if code == errno.EIO:
        with pytest.raises(InputError, match=r"Cannot write .*lock: Input/output error"):
            distill(SMALL.replace(epochs=1), tmp_path / "run")
    else:
        assert distill(SMALL.replace(epochs=1), tmp_path / "run").finished


@dataclass(frozen=True, repr=False)
class peer_learns(Term):
    """The peer learns from labels and from the student (Zhang et al., CVPR 2018)."""

    name: ClassVar[str] = "peer_learns"

    def reads(self) -> list[Any]:
        return [("peer", "clean", None), ("student", "clean", None)]

    def __call__(self, step: Step) -> torch.Tensor:
        own, labels = step.outputs("peer").logits, step.clean.y
        soft = step.outputs().logits.detach().softmax(1)
        return cross_entropy(own, labels, reduction="none") + cross_entropy(own, soft, reduction="none")


@pytest.fixture
def mutual() -> Iterator[Recipe]:
    """Mutual learning, with the student of the epoch before as another teacher."""
    methods.register("mutual")(
        lambda: ce() + kd(teacher="peer", temperature=1) + peer_learns() + kd(teacher="past") * 0.5
    )
    yield SMALL.replace(method="mutual", peer="mlp-small")
    methods.forget("mutual")


def test_a_peer_learns_and_is_kept_like_the_student(tmp_path: Path, mutual: Recipe) -> None:
    straight = distill(mutual, tmp_path / "straight")
    line = straight.metrics()[-1]
    assert set(line["terms"]) == {"ce", "kd:peer", "peer_learns", "kd:past"}
    assert {"val_accuracy", "peer.val_accuracy", "peer.val_agreement", "peer.val_kl"} <= set(line)
    assert {"test_accuracy", "peer.test_accuracy"} <= set(straight.summary)
    peer, test = straight.net("peer"), straight.dataset().test
    assert peer.architecture == "mlp-small"
    assert accuracy(logits_on(peer, test), test.y) == straight.summary["peer.test_accuracy"]
    assert straight.snapshots() == [0, 1, 2, 3, 4]
    assert same(straight.net("peer", 4), peer)
    assert not same(straight.net("peer", 1), peer)
    with pytest.raises(InputError, match="has no peer2 yet"):
        straight.net("peer2")
    with pytest.raises(InputError, match="has no peer of epoch 9"):
        straight.net("peer", 9)

    job = Job(mutual, tmp_path / "stopped")
    paused(job, job.step_epoch, job.step)
    run = resume(Run.open(stopped(job).path))
    assert same(run.net("student"), straight.net("student"))
    assert same(run.net("peer"), straight.net("peer"))
    assert numbers(run) == numbers(straight)
    assert same_student(replay(run, tmp_path / "again"), straight)


def test_a_fork_takes_the_peer_along(tmp_path: Path, mutual: Recipe) -> None:
    parent = distill(mutual, tmp_path / "parent")
    child = resume(fork(parent, 2, tmp_path / "child", learning_rate=0.01))
    assert same(child.net("peer", 2), parent.net("peer", 2))
    assert same_student(replay(child, tmp_path / "again"), child)
    for path in child._checkpoints():
        path.unlink()
    (child.path / "summary.json").unlink()
    before = child.net("peer")
    resume(child)
    assert same(before, child.net("peer"))
    alone = resume(fork(parent, 2, tmp_path / "alone", method="kd", peer=None))
    assert not [name for name in os.listdir(alone.path / "snapshots") if name.startswith("peer")]


def go_on(recipe: Recipe, out: Path) -> None:
    if (out / "config.json").exists():
        resume(Run.open(out))
    else:
        distill(recipe, out)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(tmp_path: Path) -> None:
    """kill -9 wherever it hits: training, writing a checkpoint, validating. The run always comes out the same."""
    recipe, out, kills = SMALL.replace(epochs=40), tmp_path / "killed", 0
    expected = distill(recipe, tmp_path / "expected")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["amkd_viz.runs.grid"])  # torch is imported once
    draw = random.Random(time.time())
    while kills < 20:
        process = context.Process(target=go_on, args=(recipe, out))
        process.start()
        process.join(0.01 + draw.random())
        process.kill()
        process.join()
        if process.exitcode == 0:  # it had finished: begin again
            assert same_student(Run.open(out), expected)
            out.rename(tmp_path / f"finished-{kills}")
        else:
            assert process.exitcode == -signal.SIGKILL
            kills += 1
    go_on(recipe, out)
    assert same_student(Run.open(out), expected)
    assert numbers(Run.open(out)) == numbers(expected)


def test_checkpoints_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
    names: set[str] = set()

    def hear(event: Event) -> None:
        if isinstance(event, Stepped):
            names.update(p.stem for p in (tmp_path / "run" / "checkpoints").glob("*.pt"))

    distill(SMALL.replace(epochs=2), tmp_path / "run", listen=hear)
    assert {"epoch-0000-000001", "epoch-0000-000002", "epoch-0001-000001"} <= names
