"""A folder of runs is listed and cleared: nothing without being asked, nothing that is written, no file of a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from amkd_viz import Recipe, distill
from amkd_viz.core.errors import InputError
from amkd_viz.runs import Job, Race, clear_runs, compare

RECIPE = Recipe(dataset="moons", teacher="mlp-tiny", student="mlp-tiny", epochs=2, teacher_epochs=1, num_train=20)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    distill(RECIPE, "runs/one")
    race = Race.create(RECIPE, ["ce", "kd"], "runs/race")
    race.resume()
    assert race.wait(60) == "done"
    compare(RECIPE, ["ce"], 2, "runs/comparison", jobs=1)
    return tmp_path / "runs"


def test_runs_are_listed_and_stay_until_removal_is_asked_for(runs: Path) -> None:
    before = sorted(runs.rglob("*"))
    found = clear_runs()
    assert [(own.name, own.runs, own.removed) for own in found] == [
        ("comparison", 2, False),
        ("one", 1, False),
        ("race", 2, False),
    ]
    size = sum(file.stat().st_size for file in (runs / "one").rglob("*") if file.is_file())
    assert found[1].bytes == size
    assert "5 runs" in repr(found)
    assert "Nothing is removed without remove=True." in repr(found)
    assert sorted(runs.rglob("*")) == before


def test_removal_takes_runs_alone(runs: Path) -> None:
    (runs / "notes.txt").write_text("mine")
    (runs / "comparison" / "report.html").write_text("mine")
    (runs / "mine").mkdir()
    found = clear_runs(runs, "r*", remove=True)
    assert [(own.name, own.removed) for own in found] == [("race", True)]
    assert not (runs / "race").exists()
    found = clear_runs(runs, remove=True)
    assert "3 of 3 runs removed." in repr(found)
    assert sorted(path.relative_to(runs).as_posix() for path in runs.rglob("*")) == [
        "comparison",
        "comparison/report.html",
        "mine",
        "notes.txt",
    ]
    assert repr(clear_runs(runs)) == f"{runs}: no runs"


def test_a_run_with_another_file_stays(runs: Path) -> None:
    (runs / "one" / "my-notes.txt").write_text("mine")
    found = {own.name: own for own in clear_runs(runs, remove=True)}
    assert (found["one"].removed, found["one"].kept) == (False, "it holds my-notes.txt")
    assert (runs / "one" / "config.json").exists()
    assert not (runs / "race").exists()


def test_a_run_that_is_written_stays_and_can_go_on(runs: Path) -> None:
    job = Job(RECIPE, runs / "now")
    job.step_epoch()
    job.settle(60)
    race = Race.open(runs / "race").replay(runs / "again")
    race.step_epoch()
    assert race.settle(60) == "paused"
    (race.runs["ce"].path / "lock").stat()
    found = {own.name: own for own in clear_runs(runs, remove=True)}
    assert {name for name, own in found.items() if not own.removed} == {"now", "again"}
    assert found["now"].kept == found["again"].kept == "being written"
    job.resume()
    race.resume()
    assert (job.wait(60), race.wait(60)) == ("done", "done")
    assert (len(job.run.metrics()), len(race.runs["kd"].metrics())) == (2, 2)


def test_a_folder_that_holds_no_runs_is_refused(runs: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        clear_runs("elsewhere")
    with pytest.raises(InputError, match=r"is a run; give the folder that holds it"):
        clear_runs(runs / "one", remove=True)
    assert (runs / "one" / "summary.json").exists()
