"""Runs on disk: every file they promise, nothing half written, nothing overwritten, nothing executed."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import pickle
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from recipes import POINTS, same

import amkd_viz.core.files as files
from amkd_viz.core.errors import InputError
from amkd_viz.core.files import append_line, files_below, write_atomic
from amkd_viz.models import build, load_teacher, save_classifier
from amkd_viz.objectives import ce, kd, methods
from amkd_viz.runs import Job, Run, compare, distill, fork, prepare, replay, resume, table
from amkd_viz.runs import run as run_module
from amkd_viz.runs.recording import fresh_folder
from amkd_viz.training import EpochEnded, Recipe, Started, accuracy, events, logits_on
from amkd_viz.training.recipe import RENAMED
from amkd_viz.training.teachers import fingerprint
from exercises import example_folder

pytestmark = pytest.mark.usefixtures("checkpoint_each_epoch")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_links(*_):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One finished run, which no test changes."""
    return distill(POINTS, tmp_path_factory.mktemp("runs") / "one")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "lock"
    }


# the folder


def test_the_folder_of_a_finished_run(finished):
    checkpoints = [f"checkpoints/epoch-{e:04d}.{kind}" for e in (3, 4) for kind in ("pt", "sha256")]
    snapshots = [f"snapshots/epoch-{e:04d}.safetensors" for e in range(5)]
    own = ["config.json", "metrics.jsonl", "student.safetensors", "summary.json"]
    assert sorted(contents(finished.path)) == sorted([*own, *checkpoints, *snapshots])
    config = json.loads((finished.path / "config.json").read_text())
    assert Recipe.from_json(config["recipe"]) == POINTS
    assert config["objective"] == str(POINTS.objective)
    assert config["versions"]["torch"] == torch.__version__
    assert config["versions"]["device"].endswith("CPU")  # the device of the recipe, whatever else the machine has
    assert config["format"] == 1

    for path in (finished.path / "checkpoints").glob("*.pt"):
        assert path.with_suffix(".sha256").read_text().strip() == hashlib.sha256(path.read_bytes()).hexdigest()
        state = torch.load(path, weights_only=True)
        assert state["epoch"] == int(path.stem.split("-")[1])
        assert {"student", "modules", "optimiser"} <= set(state)
    assert finished.snapshots() == [0, 1, 2, 3, 4]
    assert same(finished.student(4), finished.student())
    assert not same(finished.student(3), finished.student())
    assert same(finished.student(0), prepare(POINTS).student)

    lines = [json.loads(line) for line in (finished.path / "metrics.jsonl").read_text().splitlines()]
    assert lines == finished.metrics()
    assert [(line["kind"], line["epoch"], line["step"]) for line in lines] == [
        ("epoch", e, 3 * e) for e in (1, 2, 3, 4)
    ]
    for line in lines:
        assert set(line["terms"]) == {name for name, weight in line["weights"].items() if weight}
        assert {"images_per_s", "learning_rate", "val_accuracy", "val_agreement", "val_kl"} <= set(line)
    assert {"attack.crossed", "boundary.kl", "triplet.active"} <= set(lines[0]["metrics"])

    again = Run.open(finished.path)
    assert (again.recipe, again.finished, again.summary) == (POINTS, True, finished.summary)
    assert again.label == "blobs amkd seed 0"
    assert len(again.dataset().train) == 48
    assert again.teacher().architecture == "mlp-small"
    assert "finished" in repr(again)


def test_summary_is_the_last_epoch_evaluated_again(finished):
    summary = finished.summary
    test = finished.dataset().test
    assert next(iter(summary)) == "test_accuracy"
    assert summary["test_accuracy"] == accuracy(logits_on(finished.student(), test), test.y)
    assert summary["val_accuracy"] == finished.metrics()[-1]["val_accuracy"]
    assert summary["recipe"] == POINTS.hash
    assert summary["train_seconds"] > 0
    teacher = accuracy(logits_on(finished.teacher(), test), test.y)
    assert summary["teacher_test_accuracy"] == pytest.approx(teacher, abs=1 / len(test))
    assert summary["tried"] % 3 == 0  # each sample that is classified rightly, to three wrong classes
    assert {"torch", "device"} <= set(summary["versions"])
    assert {"magsim", "angsim", "kept", "tried"} <= set(summary)


def test_a_listener_hears_the_teacher_too(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    heard = []
    recipe = POINTS.replace(method="kd", epochs=2, teacher_epochs=1, magsim_samples=0)
    run = distill(recipe, tmp_path / "run", listen=lambda e: heard.append(type(e).__name__))
    assert heard.count("Started") == heard.count("Finished") == 2
    assert heard.count("EpochEnded") == 1 + 2
    assert len(run.metrics()) == 2  # the teacher's epochs are not the student's


def test_a_fresh_folder_is_fresh(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = []
    for _ in range(3):
        folder = fresh_folder(POINTS)
        assert not folder.exists()
        folder.mkdir(parents=True)
        names.append(folder.name)
    assert names[0] == f"blobs-amkd-seed0-{POINTS.hash}"
    assert names[1:] == [f"{names[0]}-2", f"{names[0]}-3"]
    assert {p.name for p in (tmp_path / "runs").iterdir()} == set(names)


def test_a_run_is_whole_from_any_folder(tmp_path, monkeypatch):
    """Relative paths of its recipe are those of the folder in which it was made."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    (elsewhere / "cnn-tiny").mkdir(parents=True)  # not what the recipe calls so
    monkeypatch.chdir(home)
    example_folder(home / "pictures", classes=(0, 7), most=6)
    recipe = POINTS.replace(dataset="folder:pictures", teacher="cnn-tiny", student="cnn-tiny", method="kd", epochs=2)
    recipe = recipe.replace(num_train=None, batch_size=4, teacher_batch_size=4, teacher_epochs=1)
    run = distill(recipe, home / "run")
    save_classifier(run.teacher(), home / "teacher.safetensors")
    named = distill(recipe.replace(teacher="teacher.safetensors"), home / "named")
    monkeypatch.chdir(elsewhere)
    for kept in (run, named):
        assert len(kept.dataset().train) > 0
        assert same(kept.teacher(), load_teacher(home / "teacher.safetensors"))
        assert same(replay(kept, elsewhere / f"{kept.path.name}-again").student(), kept.student())
        child = fork(kept, 1, elsewhere / f"{kept.path.name}-child", learning_rate=0.01)
        monkeypatch.chdir(tmp_path)
        assert resume(child).finished
        assert child.teacher().shape == kept.teacher().shape
        monkeypatch.chdir(elsewhere)


# going on


def test_short_epochs_share_a_checkpoint(tmp_path, monkeypatch, finished):
    """One at the end, and one where half a second has passed; the student does not depend on it."""
    now = itertools.count(step=0.05)
    monkeypatch.setattr(run_module, "EPOCH_SECONDS", 0.5)
    monkeypatch.setattr(run_module.time, "monotonic", lambda: next(now))
    kept: list[int] = []
    monkeypatch.setattr(Run, "save_checkpoint", lambda run, state: kept.append(state["epoch"]))
    run = distill(POINTS.replace(epochs=8, magsim_samples=0), tmp_path / "run")
    assert kept[-1] == 8
    assert 1 < len(kept) < 8
    assert run.snapshots() == list(range(9))


def test_a_long_run_keeps_an_even_hundred_of_its_students(tmp_path):
    run = distill(POINTS.replace(method="ce", epochs=201, num_train=10, magsim_samples=0), tmp_path / "run")
    assert run.snapshots() == [*range(0, 201, 3), 201]


def test_an_unfinished_run_says_so_and_goes_on(tmp_path, finished):
    def stop(event):
        if isinstance(event, EpochEnded) and event.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(POINTS, tmp_path / "half", listen=stop, training=prepare(POINTS))
    half = Run.open(tmp_path / "half")
    assert not half.finished
    assert repr(half).startswith("Run(blobs amkd seed 0: 3 of 4 epochs")
    with pytest.raises(InputError, match="not finished"):
        _ = half.summary
    with pytest.raises(InputError, match="is not finished, so it has no student; its snapshots: 0, 1, 2, 3"):
        half.student()
    newest = half.path / "checkpoints" / "epoch-0003.pt"
    newest.write_bytes(newest.read_bytes()[:-1])  # a truncated one: back to the one before
    assert resume(half).finished
    assert same(half.student(), finished.student())
    assert half.summary["test_accuracy"] == finished.summary["test_accuracy"]


@pytest.fixture
def stopped(tmp_path):
    """A run with two checkpoints, of epochs 1 and 2."""
    run, training = Run.create(tmp_path / "run", POINTS), prepare(POINTS)
    for event in events(training):
        if isinstance(event, EpochEnded):
            run.save_checkpoint(training.state())
            if event.epoch == 2:
                return run
    raise AssertionError


def test_the_last_two_checkpoints_are_kept(stopped):
    state, stopped.recipe = stopped.load_checkpoint(), stopped.recipe.replace(epochs=10_000)
    for epoch in (3, 4, 10_000, 9_999, 9_998):
        stopped.save_checkpoint({**state, "epoch": epoch, "batch": 3 if epoch == 9_998 else 0})
    names = sorted(p.name for p in (stopped.path / "checkpoints").iterdir())
    assert names == ["epoch-10000.pt", "epoch-10000.sha256", "epoch-9999.pt", "epoch-9999.sha256"]
    assert stopped.load_checkpoint()["epoch"] == 10_000  # the newest, not the last by the alphabet


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".sha256").unlink(),
        lambda path: path.with_suffix(".sha256").write_text("0" * 64),
    ],
    ids=["truncated", "altered", "empty", "gone", "no checksum", "other checksum"],
)
def test_a_damaged_checkpoint_falls_back(stopped, harm):
    harm(stopped.path / "checkpoints" / "epoch-0002.pt")
    assert stopped.load_checkpoint()["epoch"] == 1
    (stopped.path / "checkpoints" / "epoch-0001.pt").write_bytes(b"")
    assert stopped.load_checkpoint() is None


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["pickle", "torch.save"])
@pytest.mark.parametrize("signed", [True, False])
def test_a_hostile_checkpoint_never_runs(stopped, tmp_path, kind, signed):
    mark, path = tmp_path / "ran", stopped.path / "checkpoints" / "epoch-0009.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    else:
        torch.save({"epoch": 9, "student": Bomb(mark)}, path)
    if signed:
        path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest() + "\n")
        with pytest.raises(InputError, match=r"epoch-0009.pt is not a checkpoint .* was not loaded"):
            stopped.load_checkpoint()
    else:
        assert stopped.load_checkpoint()["epoch"] == 2
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()  # it would have


# reading what is half there


@pytest.mark.parametrize("line", [b'{"kind": "epo', b"3", b"\xff\xfe", b"\0\0\0", b"not at all"])
def test_a_damaged_line_is_left_out_with_a_note(tmp_path, line):
    run = Run.create(tmp_path / "run", POINTS)
    run.log({"kind": "epoch", "epoch": 1})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(line + b"\n\n")
    run.log({"kind": "epoch", "epoch": 2, "loss": float("nan"), "more": [1.5, float("-inf")]})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')  # a line that is being written
    assert run.metrics()[1] == {"kind": "epoch", "epoch": 2, "loss": None, "more": [1.5, None]}
    follower, text = run.follow(), f"Line 2 of {run.path / 'metrics.jsonl'} is damaged and left out."
    assert follower.poll() == run.lines()
    assert follower.poll() == []
    assert [line["epoch"] for line in run.metrics()] == [1, 2]
    assert run.lines()[1] == {"kind": "note", "text": text, "damaged": 2}
    assert run.interventions() == []
    run.rewind(1, 0)  # a run that goes on keeps the note
    assert run.lines() == [{"kind": "epoch", "epoch": 1}, {"kind": "note", "text": text, "damaged": 2}]


def test_what_was_changed_by_hand_is_not_guessed(tmp_path):
    run = distill(POINTS.replace(epochs=2), tmp_path / "run")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "interv\n')
    for attempt in (lambda out: replay(run, out), lambda out: fork(run, 1, out)):
        with pytest.raises(InputError, match=r"Line 3 of .* is damaged .* may have held a change made by hand"):
            attempt(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("text", [b"", b'{"test_acc', b"[1]", b"\xff"])
def test_a_damaged_summary_is_named_and_can_be_written_again(finished, tmp_path, text):
    run = Run.open(shutil.copytree(finished.path, tmp_path / "run"))
    (run.path / "summary.json").write_bytes(text)
    with pytest.raises(
        InputError, match=r"summary.json is not a valid summary: .*; delete it and resume the run"
    ) as caught:
        _ = run.summary
    assert "\n" not in str(caught.value)
    (run.path / "summary.json").unlink()
    assert resume(run).summary["test_accuracy"] == finished.summary["test_accuracy"]


WHOLE = "epoch must be a whole number from 0 to 10000, got "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "config.json is not a valid run: Expecting property name"),
        (b"[1]", "not a valid run: it must be an object, got \\[1\\]"),
        (b"{}", "not a valid run: it must have 'format', got {}"),
        (b'{"format": 1, "recipe": 3}', "not a valid run: recipe must be an object, got 3"),
        (b'{"format": 1, "recipe": {}, "parent": {"path": "x"}}', "parent must have 'epoch', got {'path': 'x'}"),
        (
            b'{"format": 1, "recipe": {}, "parent": {"epoch": "2"}}',
            WHOLE + "'2'",
        ),
        (
            b'{"format": 1, "recipe": {}, "parent": {"epoch": -1}}',
            WHOLE + "-1",
        ),
        (b'{"format": 1, "recipe": {}, "parent": 2}', "parent must be an object, got 2"),
        (b'{"format": 1, "format": 1, "recipe": {}}', "the key 'format' stands twice"),
        (b'{"format": 1, "recipe": {"seed": NaN}}', "NaN is not a number of JSON"),
        (b'{"format": 1, "recipe": {"seed": 1e999}}', "the number inf is too large"),
        (b'{"format": 1, "recipe": {"seed": 9223372036854775808}}', "the number 9223372036854775808 is too large"),
        (b'{"format": 1, "recipe": {}, "folder": "\\ud800"}', "half of a surrogate pair"),
        (b'{"format": 1, "recipe": {}, "folder": "a\\u0000"}', "a null character"),
        (b'{"format": 1, "recipe": ' + b"[" * 40 + b"]" * 40 + b"}", "it has more than 32 levels"),
        (b"[" * 100_000, "it has more than 32 levels"),
        (b"\xff\xfe\x00", "not a valid run: 'utf-8' codec can't decode"),
        (b'{"format": 99}', "run format 99, but this version reads 1"),
        (b'{"format": 1, "recipe": {"epochs": 0}}', "epochs must be between 1 and 10000, got 0"),
        (b'{"format": 1, "recipe": {"epocs": 3}}', "Unknown recipe field 'epocs'; did you mean 'epochs'"),
    ],
)
def test_a_config_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(InputError, match=message):
        Run.open(tmp_path)


def test_no_run_there(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(InputError, match="There is no run in"):
            Run.open(path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match=r"config.json cannot be read: Is a directory"):
        Run.open(tmp_path)


# a folder that is in use


@pytest.mark.parametrize("what", ["another run", "other files", "a file"])
def test_what_is_there_is_never_overwritten(tmp_path, what):
    out = tmp_path / "out"
    if what == "another run":
        Run.create(out, POINTS)
    elif what == "other files":
        out.mkdir()
        (out / ".hidden").write_text("mine")
    else:
        out.write_text("mine")
    before, heard = contents(tmp_path), []
    for attempt in (
        lambda: distill(POINTS, out, listen=heard.append),
        lambda: distill(POINTS.replace(dataset="cifar10", root="nowhere"), out),  # refused before data are looked for
        lambda: Run.create(out, POINTS),
    ):
        with pytest.raises(InputError, match=f"holds {what} and is never overwritten; choose another name"):
            attempt()
    assert contents(tmp_path) == before
    assert heard == []


def test_an_empty_folder_will_do_and_snapshots_may_be_left_out(tmp_path):
    with pytest.raises(InputError, match="got 10000"):
        distill(POINTS.replace(num_train=10_000), tmp_path / "out")
    assert not (tmp_path / "out").exists()  # a recipe that does not fit leaves no folder
    (tmp_path / "out").mkdir()
    run = distill(POINTS.replace(method="ce", epochs=1), tmp_path / "out", snapshots=False)
    assert run.finished
    assert run.snapshots() == []


@pytest.mark.parametrize("links", [True, False])
def test_two_processes_that_choose_one_folder_at_once(tmp_path, monkeypatch, links):
    """The second one has looked before the first one wrote."""
    monkeypatch.setattr(run_module, "claim", lambda path: path)
    if not links:  # the drive knows none: then the last one has it
        monkeypatch.setattr(files.os, "link", no_links)
    first = Run.create(tmp_path / "out", POINTS)
    before = contents(tmp_path)
    assert sorted(before) == ["out/config.json"]
    if links:
        with pytest.raises(InputError, match=r"Cannot write .*config.json: File exists; choose another folder"):
            Run.create(tmp_path / "out", POINTS.replace(seed=1))
        assert contents(tmp_path) == before
        assert Run.open(first.path).recipe == POINTS
    else:
        assert Run.create(tmp_path / "out", POINTS.replace(seed=1)).recipe.seed == 1
        assert sorted(contents(tmp_path)) == ["out/config.json"]


# runs of earlier versions


def aged(values: dict) -> dict:
    """Settings under the names that earlier versions gave them."""
    names = {new: old for old, new in RENAMED.items()}
    words = {"gap": "code", "newton": "paper"}
    old = {names.get(n, n): words.get(v, v) if n == "step_rule" else v for n, v in values.items()}
    return {n: aged(v) if n == "changes" else v for n, v in old.items()}


def test_runs_of_earlier_versions_open_resume_fork_and_replay(tmp_path):
    numbers = {"boundary_triplet.variant": "B", "kd.scale": 0.5}
    recipe = POINTS.replace(step_rule="newton", step_size=1.05, boundary_bn="joint", overrides=numbers)
    job = Job(recipe, tmp_path / "new")
    job.step_epoch()
    assert job.settle(60) == "paused", job.error
    job.set(max_boundary_samples=4, **{"boundary_triplet.variant": "C"})
    job.resume()
    assert job.wait(60) == "done", job.error

    run = Run(shutil.copytree(job.run.path, tmp_path / "old"), job.run.config)
    config = json.loads((run.path / "config.json").read_text())
    config["recipe"] = aged({name: value for name, value in config["recipe"].items() if name != "peer"})
    config["objective"] = config["objective"].replace("variant=", "reading=")
    lines = [line | {"changes": aged(line["changes"])} if "changes" in line else line for line in run.lines()]
    assert {*RENAMED} - {"boundary_triplet.reading"} <= {*config["recipe"]}
    assert "boundary_triplet.reading" in config["recipe"]["changes"]
    assert "reading=B" in config["objective"]
    assert {"attacked": 4, "boundary_triplet.reading": "C"} in [line.get("changes") for line in lines]
    (run.path / "config.json").write_text(json.dumps(config))
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run.path / "summary.json").unlink()
    state = torch.load(run.path / "checkpoints" / "epoch-0003.pt", weights_only=True)
    del state["nets"]
    state["log"]["sums"]["histograms"] = {"triplet.d_ap": torch.ones(32)}
    shutil.rmtree(run.path / "checkpoints")
    run.save_checkpoint({**state, "changes": aged(state["changes"])})

    old = Run.open(run.path)
    assert old.recipe == recipe
    assert old.epochs_done == 4
    assert same(resume(old).student(), job.run.student())
    assert same(replay(old, tmp_path / "again").student(), job.run.student())
    changed = recipe.replace(max_boundary_samples=4, overrides={**numbers, "boundary_triplet.variant": "C"})
    assert fork(old, 3, tmp_path / "child").recipe == changed == fork(job.run, 3, tmp_path / "other").recipe


def test_work_per_snapshot_does_not_grow_with_their_number(finished, tmp_path, monkeypatch):
    """Listing the folder once per kept snapshot took nine tenths of a run of 200 epochs."""
    run, student = Run.create(tmp_path / "run", POINTS), finished.student()
    seen = []
    monkeypatch.setattr(run_module, "files_below", lambda folder: seen.append(folder) or files_below(folder))
    for epoch in range(6):
        run.save_snapshot({"student": student, "peer": student}, epoch)
    assert len(seen) == 1
    assert run.snapshots() == list(range(6))
    assert len(contents(run.path / "snapshots")) == 12


# disks that fill up


def test_a_loss_that_runs_away_keeps_what_is_written(tmp_path):
    recipe = POINTS.replace(method="triplet-kd", overrides={"triplet.weight": 1e30})
    training = prepare(recipe)
    going = training.objective

    def worse(event):
        if isinstance(event, Started):
            training.objective = POINTS.replace(method="ce").objective
        if isinstance(event, EpochEnded):
            training.objective = going

    with pytest.raises(InputError, match=r"The loss is not finite in epoch 2 .*lower learning_rate=0.1"):
        distill(recipe, tmp_path / "run", listen=worse, training=training)
    run = Run.open(tmp_path / "run")
    assert [line["epoch"] for line in run.metrics()] == [1]
    assert run.snapshots() == [0, 1]
    assert run.load_checkpoint()["epoch"] == 1
    assert not run.finished


@pytest.fixture(scope="module")
def full_length(tmp_path_factory):
    return distill(POINTS.replace(method="ce", epochs=2), tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.parametrize(
    ("call", "nth"), [("fsync", 1), ("fsync", 2), ("fsync", 4), *(("replace", nth) for nth in [1, 2, 3, 5, 6])]
)
def test_a_disk_that_is_full_at_the_nth_write(tmp_path, monkeypatch, full_length, call, nth):
    """Every file there is whole, no temporary stays, and one sentence says what happened."""
    recipe = full_length.recipe
    training = prepare(recipe)
    real, count = getattr(os, call), iter(range(1, 1000))

    def full(*args):
        if next(count) >= nth:
            raise FULL
        return real(*args)

    monkeypatch.setattr(files.os, call, full)
    monkeypatch.setattr(files.os, "link", no_links)  # counted as the renaming that stands in for it
    with pytest.raises(InputError, match=r"Cannot write .*No space left on device; free some space") as caught:
        distill(recipe, tmp_path / "run", training=training)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    nth += (nth > 1) + (nth > 3) if call == "fsync" else 0  # snapshots are not flushed
    written = [
        "config.json",
        "snapshots/epoch-0000.safetensors",
        "checkpoints/epoch-0001.pt",
        "checkpoints/epoch-0001.sha256",
        "snapshots/epoch-0001.safetensors",
    ][: nth - 1]
    there = contents(tmp_path / "run") if (tmp_path / "run").exists() else {}
    assert sorted(there) == sorted([*written, *(["metrics.jsonl"] if nth > 2 else [])])
    if written:
        run = Run.open(tmp_path / "run")
        assert len(run.metrics()) == (0 if nth <= 2 else 1 if nth < 6 else 2)
        assert all(run.student(epoch) for epoch in run.snapshots())
        assert (run.load_checkpoint() is not None) == (nth > 4)
        assert same(resume(run).student(), full_length.student())


def test_a_file_has_the_usual_rights_and_an_interrupt_leaves_no_temporary(tmp_path, monkeypatch):
    old = os.umask(0o027)
    try:
        assert write_atomic(tmp_path / "file", "x").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(old)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", "new")
    assert contents(tmp_path) == {"file": b"x"}


def test_many_threads_write_one_file(tmp_path):
    """A reader sees one whole content or another."""
    path, texts = tmp_path / "file", [str(k) * 20_000 for k in range(4)]
    write_atomic(path, texts[0])
    writers = [threading.Thread(target=lambda t=t: [write_atomic(path, t) for _ in range(5)]) for t in texts]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(path.read_text())
    assert seen <= set(texts)
    assert seen
    assert len(list(tmp_path.iterdir())) == 1


def test_a_real_full_disk(tmp_path):
    """On a file system of 64 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        kept, lines = write_atomic(tmp_path / "kept", "old"), tmp_path / "lines"
        append_line(lines, "first")
        for write in (lambda: write_atomic(kept, b"x" * 200_000), lambda: append_line(lines, "y" * 200_000)):
            with pytest.raises(InputError, match="No space left on device"):
                write()
        append_line(lines, "second")
        assert contents(tmp_path) == {"kept": b"old", "lines": b"first\nsecond\n"}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# registered sums, and teachers


@pytest.fixture
def hot():
    @methods.register("hot-kd")
    def hot_kd():
        """KD at a high temperature."""
        return ce() + kd(temperature=9)

    yield hot_kd
    methods.forget("hot-kd")


def test_a_registered_sum_has_a_name(hot, tmp_path):
    recipe = POINTS.replace(method="hot-kd", epochs=2)
    run = distill(recipe, tmp_path / "run")
    assert run.config["objective"] == "ce() + kd(temperature=9, t2=False)"
    assert list(run.metrics()[0]["terms"]) == ["ce", "kd"]
    assert [row.label for row in table(compare(recipe, ["kd", "hot-kd"], 1, tmp_path / "both"))] == ["kd", "hot-kd"]
    assert replay(run, tmp_path / "again").summary["test_accuracy"] == run.summary["test_accuracy"]

    for name in ("2hot", "hot kd", ""):
        with pytest.raises(InputError, match="must be a letter, then letters, digits"):
            methods.register(name)
    methods.register("hot-kd")(lambda: ce() + kd(temperature=3))  # a cell that is run again with another sum
    with pytest.raises(InputError, match=r"was trained with ce\(\) \+ kd\(temperature=9, t2=False\), but its method"):
        replay(run, tmp_path / "other")
    methods.forget("hot-kd")
    with pytest.raises(InputError, match=r"Unknown method 'hot-kd'.*methods.register"):
        Run.open(run.path)


@pytest.mark.parametrize("part", ["objective", "teacher", "recipe"])
def test_a_training_that_differs_from_its_recipe_is_not_recorded(part, tmp_path):
    training = prepare(POINTS)
    recipe = POINTS
    if part == "objective":
        training.objective = ce() + kd(temperature=9)
    elif part == "teacher":
        training.nets["teacher"] = build("mlp", num_classes=4, shape=(2,), seed=0)
    else:
        recipe = POINTS.replace(seed=9)
    with pytest.raises(InputError, match="What is recorded must be what the recipe says"):
        distill(recipe, tmp_path / "run", training=training)
    assert not (tmp_path / "run").exists()


def test_a_run_knows_its_teacher_from_another_one(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    run = distill(POINTS, tmp_path / "run")
    known = Run.open(run.path).config["teacher_weights"]
    assert known == fingerprint(run.teacher())
    assert not [line for line in run.lines() if line["kind"] == "note"]

    (file,) = (tmp_path / "cache" / "teachers").glob("*/student.safetensors")
    save_classifier(build(POINTS.teacher, run.dataset(), seed=7), file)
    with pytest.warns(UserWarning, match=rf"is not the one that it was trained with \(weights \w+, then {known}\)"):
        run.teacher()
    again = replay(run, tmp_path / "again")
    assert again.config["teacher_weights"] == fingerprint(load_teacher(file)) != known

    (run.path / "summary.json").unlink()
    resume(Run.open(run.path))
    (note,) = [line["text"] for line in run.lines() if line["kind"] == "note"]
    assert "the cached one was trained again" in note
    assert Run.open(run.path).config["teacher_weights"] == known


@pytest.mark.parametrize(
    ("field", "value"),
    [("root", "x" * 5000), ("dataset", "folder:" + "x" * 5000), ("dataset", "folder:~nobody-here/x")],
)
def test_a_path_that_no_system_takes_is_refused_in_a_sentence(tmp_path, field, value):
    run = Run.create(tmp_path / "run", POINTS)
    config = json.loads((run.path / "config.json").read_text())
    config["recipe"][field] = value
    (run.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"File name too long|is not a folder"):
        resume(Run.open(run.path))


def test_a_measured_step_size_is_written_into_the_run_and_does_not_change_when_it_goes_on(tmp_path: Path) -> None:
    recipe = POINTS.replace(method="amkd", step_size="auto", epochs=3)
    run = distill(recipe, tmp_path / "run")
    size = run.config["step_size"]
    assert (run.recipe, run.settled) == (recipe, recipe.replace(step_size=size))
    assert run.settled != recipe
    metrics = Run.open(run.path).metrics()[0]["metrics"]
    assert 0 <= metrics["attack.gap"] < 1

    explicit = distill(run.settled, tmp_path / "explicit")  # the number alone trains the same student
    assert same(run.student(), explicit.student())
    assert "step_size" not in explicit.config
    assert explicit.settled == explicit.recipe
    assert same(replay(run, tmp_path / "replay").student(), run.student())

    known = Run.create(tmp_path / "known", recipe)
    config = json.loads((known.path / "config.json").read_text()) | {"step_size": 0.7}  # of another processor
    (known.path / "config.json").write_text(json.dumps(config))
    known = resume(Run.open(known.path))
    assert same(known.student(), distill(recipe.replace(step_size=0.7), tmp_path / "seven").student())
    assert known.settled.step_size == 0.7
    named = recipe.replace(step_size=0.3, overrides={"bss.step_size": "auto"})
    assert prepare(named).boundary.sampler == run.settled.boundary.sampler

    training = prepare(recipe)
    assert (training.recipe.step_size, training.boundary.sampler.step_size) == (size, size)
    training.change({"step_size": 0.5})
    assert (training.recipe.step_size, training.asked.step_size) == (0.5, 0.5)
    with pytest.raises(InputError, match="step_size must be a number here, got 'auto'; calibrate"):
        recipe.boundary.sampler(training.teacher, torch.zeros(1, 2), torch.zeros(1).long(), None)
