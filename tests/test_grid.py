"""Grids of runs in one process and in several: the same students, whatever is killed, stopped or fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recipes import POINTS, flags

from amkd_viz import methods
from amkd_viz.core.errors import InputError
from amkd_viz.objectives import ce, kd
from amkd_viz.runs import Run, compare, prepare
from amkd_viz.runs.grid import Counted, Unfinished, cells, train_cells
from amkd_viz.training import DIGITS, SPIRALS, EpochEnded, Started

pytestmark = pytest.mark.processes

SMALL = POINTS.replace(epochs=3, magsim_samples=5)


def students(runs: list[Run]) -> list[bytes]:
    return [(run.path / "student.safetensors").read_bytes() for run in runs]


def writer(run: Path) -> int | None:
    """Return the process that has the lock of an unfinished run."""
    lock = run / "lock"
    if not lock.exists() or (run / "summary.json").exists():
        return None
    return int(lock.read_text() or 0) or None


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and ") Z " in status.read_text())


# the subset of each seed


def test_each_seed_draws_its_own_subset_from_one_split_with_one_teacher(tmp_path: Path) -> None:
    recipe = POINTS.replace(dataset="spirals:n=300", fresh_subset=True, epochs=1)
    first, other = (prepare(recipe.replace(seed=seed)) for seed in (0, 1))
    index = [set(training.dataset.train.index.tolist()) for training in (first, other)]
    assert [len(rows) for rows in index] == [48, 48]
    assert len(index[0] & index[1]) < 48
    assert first.teacher_weights == other.teacher_weights
    assert first.dataset.val.index.equal(other.dataset.val.index)
    fixed = [prepare(recipe.replace(seed=seed, fresh_subset=False)).dataset.train.index for seed in (0, 1)]
    assert fixed[0].equal(fixed[1])
    assert fixed[0].equal(first.dataset.train.index)  # seed 0 is data_seed 0
    run = compare(recipe, ["ce"], 2, tmp_path / "out", jobs=1)[1]
    assert run.dataset().train.index.equal(other.dataset.train.index)
    assert Run.open(run.path).recipe.fresh_subset


def test_the_examples_draw_anew_and_old_recipes_do_not() -> None:
    assert (DIGITS.num_train, DIGITS.fresh_subset, SPIRALS.fresh_subset) == (50, True, True)
    old = {name: value for name, value in POINTS.to_json().items() if name != "fresh_subset"}
    assert type(POINTS).from_json(old) == POINTS
    assert not POINTS.fresh_subset


# several processes


def test_the_students_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe, heard = SMALL.replace(fresh_subset=True), []
    one = compare(recipe, ["ce", "amkd"], 2, tmp_path / "1", jobs=1)
    two = compare(recipe, ["ce", "amkd"], 2, tmp_path / "2", jobs=2, listen=heard.append)
    assert [run.path.name for run in two] == [f"{m}-seed{s}" for m in ("ce", "amkd") for s in (0, 1)]
    assert students(one) == students(two)
    assert len(set(students(two))) == 4
    assert "Traceback" not in capfd.readouterr().err  # of a process that ends
    without = ("images_per_s", "time")
    for a, b in zip(one, two, strict=True):
        lines = [[{k: v for k, v in line.items() if k not in without} for line in run.lines()] for run in (a, b)]
        assert lines[0] == lines[1]
        assert a.summary["test_accuracy"] == b.summary["test_accuracy"]
    assert sum(isinstance(event, EpochEnded) for event in heard) == 12
    counts = [event for event in heard if isinstance(event, Counted)]
    assert (counts[0].done, counts[0].total, counts[0].epochs) == (0, 4, 12)
    assert counts[-1] == Counted(4, 4)
    # a finished grid is read, not trained
    heard.clear()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "2").rglob("*")}
    again = compare(recipe, ["ce", "amkd"], 2, tmp_path / "2", jobs=2, listen=heard.append)
    assert students(again) == students(one)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "2").rglob("*")} == before
    assert not any(isinstance(event, EpochEnded | Started) for event in heard)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.slow
def test_a_killed_cell_is_named_and_the_next_call_goes_on_with_it(tmp_path: Path) -> None:
    recipe, out = SMALL.replace(epochs=60), tmp_path / "out"
    killed: list[Path] = []

    def kill(event: object) -> None:
        if isinstance(event, EpochEnded) and not killed:
            for run in sorted(config.parent for config in out.glob("*/config.json")):
                if not killed and len(Run.open(run).metrics()) > 1 and (process := writer(run)):
                    assert process != os.getpid()
                    os.kill(process, signal.SIGKILL)
                    killed.append(run)

    with pytest.raises(Unfinished, match=r"1 of 4 runs did not finish \((ce|kd)-seed\d: its process was killed by SIG"):
        compare(recipe, ["ce", "kd"], 2, out, jobs=2, listen=kill)
    (name,) = (run.name for run in killed)
    left = [run for run in sorted(out.iterdir()) if not Run.open(run).finished]
    assert [run.name for run in left] == [name]
    assert 0 < Run.open(left[0]).epochs_done < 60
    others = {file: file.stat().st_mtime_ns for run in out.iterdir() if run != left[0] for file in run.rglob("*")}
    begun = (left[0] / "config.json").read_bytes()
    runs = compare(recipe, ["ce", "kd"], 2, out, jobs=2)
    assert (left[0] / "config.json").read_bytes() == begun  # the same run goes on
    assert [[line["epoch"] for line in run.metrics()] for run in runs] == [list(range(1, 61))] * 4
    assert {file: file.stat().st_mtime_ns for file in others} == others
    assert students(runs) == students(compare(recipe, ["ce", "kd"], 2, tmp_path / "whole", jobs=1))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cell_that_fails_gives_its_reason_and_the_others_go_on(tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "out"
    grid = cells(SMALL, method=["ce", "kd"], seed=range(2))
    train_cells({"kd-seed1": grid["kd-seed1"]}, out, jobs=1)
    (out / "ce-seed0").mkdir()
    (out / "ce-seed0" / "mine.txt").write_text("mine")
    heard: list[Counted] = []
    with pytest.raises(Unfinished) as error:
        train_cells(
            grid, out, jobs=jobs, listen=lambda event: heard.append(event) if isinstance(event, Counted) else None
        )
    assert str(error.value).startswith("1 of 4 runs did not finish (ce-seed0: ")
    assert "holds other files and is never overwritten" in error.value.reasons["ce-seed0"]
    assert [run.path.name for run in error.value.runs] == ["ce-seed1", "kd-seed0", "kd-seed1"]
    assert all(run.finished for run in error.value.runs)
    assert heard[0].done == 1
    assert heard[-1] == Counted(3, 4, failed=1)
    assert (out / "ce-seed0" / "mine.txt").read_text() == "mine"


def test_other_recipes_and_other_files_are_refused(tmp_path: Path) -> None:
    compare(SMALL, ["ce"], 1, tmp_path / "out")  # a single cell needs no other process
    for recipe in (SMALL.replace(epochs=4), SMALL.replace(data_seed=1)):
        with pytest.raises(InputError, match="ce-seed0 holds a run of another recipe and is never overwritten"):
            compare(recipe, ["ce"], 1, tmp_path / "out")
    with pytest.raises(InputError, match="ce-seed0 holds a run of another recipe"):
        compare(SMALL, ["kd"], 1, tmp_path / "out")
    assert [run.recipe.seed for run in compare(SMALL, ["ce", "kd"], 2, tmp_path / "out", jobs=1)] == [
        0,
        1,
        0,
        1,
    ]  # a larger grid
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files and is never overwritten"):
        compare(SMALL, ["ce"], 1, tmp_path / "own")
    with pytest.raises(InputError, match="jobs must be at least 1, got 0"):
        compare(SMALL, ["ce"], 1, tmp_path / "new", jobs=0)


def test_a_method_of_this_process_trains_in_it(tmp_path: Path) -> None:
    methods.register("mine")(lambda: ce() + kd() * 2)
    here: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Started) and event.training.teacher is not None:
            here.append(event.training.recipe.method)

    try:
        runs = compare(SMALL, ["kd", "mine"], 2, tmp_path / "out", jobs=2, listen=hear)
    finally:
        methods.forget("mine")
    assert here == ["mine", "mine"]
    assert [run.recipe.method for run in runs] == ["kd", "kd", "mine", "mine"]
    assert all((run.path / "summary.json").exists() for run in runs)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_leaves_whole_runs_and_no_process(tmp_path: Path) -> None:
    recipe = SMALL.replace(epochs=150, evaluate_every=50)
    words = [
        "compare",
        *(w for w in flags(recipe) if w not in ("--method", "amkd")),
        "--methods",
        "ce,kd",
        "--seeds",
        "1",
    ]
    command = [sys.executable, "-m", "amkd_viz", *words, "--jobs", "2", "--out", str(tmp_path / "out")]
    started = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    folders = [tmp_path / "out" / f"{method}-seed0" for method in ("ce", "kd")]
    while not any((run / "metrics.jsonl").exists() for run in folders):
        assert started.poll() is None, started.communicate()
        time.sleep(0.05)
    processes = [process for run in folders if (process := writer(run))]
    assert processes
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    _, err = started.communicate()
    assert started.returncode == 130, err
    assert err.splitlines()[-1] == (
        "amkd-viz compare: stopped; what has been written stays. The same command goes on where it stopped."
    )
    assert not any(map(alive, processes))
    before = [Run.open(run).epochs_done for run in folders if (run / "config.json").exists()]
    assert any(0 < epochs < 150 for epochs in before)
    runs = compare(recipe, ["ce", "kd"], 1, tmp_path / "out", jobs=2)
    assert [[line["epoch"] for line in run.metrics()] for run in runs] == [list(range(1, 151))] * 2
    assert json.loads((folders[0] / "summary.json").read_text())["test_accuracy"] > 0.5
