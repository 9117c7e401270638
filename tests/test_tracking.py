"""TensorBoard event files say what metrics.jsonl says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from recipes import POINTS, flags

import amkd_viz.tracking as tracking
from amkd_viz.cli import main
from amkd_viz.core.errors import InputError
from amkd_viz.runs import Job, Run, distill
from amkd_viz.tracking import TensorBoard
from amkd_viz.training import EpochEnded

RECIPE = POINTS.replace(method="kd", epochs=3, teacher_epochs=2, magsim_samples=5)


def read(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], list[str]]:
    """Scalars by tag as (step, value), and the tags of texts, of one training's event files."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    tags = found.Tags()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in tags["scalars"]}, tags["tensors"]


def test_the_event_file_says_what_the_run_says(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))  # the teacher is trained, and recorded too
    pytest.importorskip("tensorboard")
    with TensorBoard(tmp_path / "logs", every=2) as board:
        run = distill(RECIPE, tmp_path / "run", listen=board)
    student = f"kd-seed0-{RECIPE.hash}"
    (teacher,) = {p.name for p in (tmp_path / "logs").iterdir()} - {student}
    assert teacher.startswith("teacher-mlp-small-")
    scalars, texts = read(tmp_path / "logs" / student)
    lines = run.metrics()
    for name in ("val_accuracy", "images_per_s"):
        steps, values = zip(*scalars[f"epoch/{name}"], strict=True)
        assert steps == (3, 6, 9)  # three batches an epoch
        assert values == pytest.approx([line[name] for line in lines])
    kd = [value for _, value in scalars["epoch/terms/kd"]]
    assert kd == pytest.approx([line["terms"]["kd"] for line in lines])
    assert scalars["last/test_accuracy"] == [(9, pytest.approx(run.summary["test_accuracy"]))]
    assert [step for step, _ in scalars["terms/kd"]] == [0, 2, 4, 6, 8]
    assert {"recipe/text_summary", "objective/text_summary"} == set(texts)
    assert len(read(tmp_path / "logs" / teacher)[0]["epoch/val_accuracy"]) >= 1


def test_a_job_that_goes_on_writes_each_epoch_once_and_tells_changes(tmp_path):
    pytest.importorskip("tensorboard")
    board = TensorBoard(tmp_path / "logs", every=0)
    job = Job(RECIPE, tmp_path / "run", listen=board)
    job.step_epoch()
    assert job.settle(60) == "paused", job.error
    job.set(learning_rate=0.01)
    job.stop()
    assert job.wait(60) == "idle"
    again = Job(Run.open(tmp_path / "run"), listen=board)
    again.set(learning_rate=0.02)
    again.start()
    assert again.wait(60) == "done", again.error
    scalars, texts = read(tmp_path / "logs" / f"kd-seed0-{RECIPE.hash}")
    assert [step for step, _ in scalars["epoch/val_accuracy"]] == [3, 6, 9]
    assert not any(tag.startswith("terms/") for tag in scalars)
    assert "intervention/text_summary" in texts


def test_what_is_heard_in_the_middle_is_not_written(tmp_path):
    pytest.importorskip("tensorboard")
    board = TensorBoard(tmp_path / "logs")
    board(EpochEnded(1, {"val_accuracy": 0.5}))
    board.close()
    assert not (tmp_path / "logs").exists()


def test_refusals(tmp_path, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "tensorboard" else real(name))
    with pytest.raises(InputError, match=r"need the package tensorboard; install it with 'pip install tensorboard'\."):
        TensorBoard(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["distill", "--dataset", "blobs", "--tensorboard", "logs"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tracking, "find_spec", lambda name: "there")
    with pytest.raises(InputError, match="every must be at least 0, got -1"):
        TensorBoard(tmp_path, every=-1)


def test_the_flag_of_distill(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    recipe = RECIPE.replace(epochs=1, num_train=32)
    assert main(["distill", *flags(recipe), "--out", "run", "--tensorboard", "logs"]) == 0
    run = Run.open("run")
    assert run.recipe == recipe
    scalars, _ = read(tmp_path / "logs" / f"kd-seed0-{recipe.hash}")
    assert scalars["last/test_accuracy"] == [(2, pytest.approx(run.summary["test_accuracy"]))]
