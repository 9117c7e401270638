"""A race: runs that take their batches in turn, each equal to a run alone, also after a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.runs import Race, Run, distill
from amkd_viz.training import Changed, EpochEnded, Event, Recipe, Stepped

pytestmark = pytest.mark.processes

POINTS = Recipe(
    dataset="spirals:n=60",
    teacher="mlp-tiny",
    student="mlp-tiny",
    epochs=3,
    teacher_epochs=2,
    batch_size=9,
    teacher_batch_size=27,
    max_boundary_samples=8,
    attack_steps=3,
    magsim_samples=0,
    device="cpu",
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))


def same_students(one: Race, other: Race) -> bool:
    """Whether the students of all runs are equal, bit for bit."""
    return all(
        torch.equal(value, other.runs[name].student().state_dict()[key])
        for name, run in one.runs.items()
        for key, value in run.student().state_dict().items()
    )


def logs(race: Race) -> dict[str, list[Any]]:
    """What the runs have logged, without what a clock measures."""
    drop = ("images_per_s",)
    return {
        name: [{k: v for k, v in line.items() if k not in drop} for line in run.lines()]
        for name, run in race.runs.items()
    }


def test_each_method_computes_what_it_would_alone_and_none_runs_ahead(tmp_path: Path) -> None:
    race, ahead = Race.create(POINTS, ["ce", "kd", "amkd"], tmp_path / "race"), []
    done = dict.fromkeys(race.runs, 0)

    def listen(name: str, event: Event) -> None:
        if isinstance(event, Stepped) and event.terms.keys() and name in race.trainings:
            done[name] += 1
            ahead.append(max(done.values()) - min(done.values()))

    race.listen = listen
    assert race.state == "idle"
    race.resume()
    assert race.wait(120) == "done"
    assert set(ahead) == {0, 1}
    assert race.epoch == 3
    students = [t.student for t in race.trainings.values()]
    assert len({id(student) for student in students}) == 3
    assert len({id(t.teacher) for t in race.trainings.values()}) == 1  # data and teacher are shared
    for name, run in race.runs.items():
        alone = distill(POINTS.replace(method=name), tmp_path / name)
        for key, value in alone.student().state_dict().items():
            torch.testing.assert_close(value, run.student().state_dict()[key], rtol=0, atol=0, msg=f"{name} {key}")
        assert [m["val_accuracy"] for m in alone.metrics()] == [m["val_accuracy"] for m in run.metrics()]
        assert alone.summary["test_accuracy"] == run.summary["test_accuracy"]
    again = Race.open(race.path)
    assert (list(again.runs), again.state) == (["ce", "kd", "amkd"], "done")
    again.resume()
    assert again.wait() == "done"
    with pytest.raises(InputError, match="is finished; start a new one"):
        again.set(**{"kd.temperature": 5})


def test_an_override_acts_at_the_same_batch_in_every_run_with_the_term_and_is_replayed(tmp_path: Path) -> None:
    race = Race.create(POINTS, ["kd", "bss", "amkd"], tmp_path / "race")
    seen: list[str] = []

    def listen(name: str, event: Event) -> None:
        if name == "kd" and isinstance(event, Stepped) and (event.epoch, event.batch) == (1, 0) and race.trainings:
            # the others have not taken this batch yet
            assert race.set(**{"kd.temperature": 5.0, "attack_steps": 2}) == ["kd", "bss", "amkd"]
            assert race.set(**{"boundary_triplet.margin": 0.4}) == ["amkd"]
        if isinstance(event, Changed):
            seen.append(name)

    race.listen = listen
    race.resume()
    assert race.wait(120) == "done"
    assert seen == ["kd", "bss", "amkd", "amkd"]
    made = {name: [(i["epoch"], i["batch"], i["changes"]) for i in r.interventions()] for name, r in race.runs.items()}
    of_all = (1, 1, {"kd.temperature": 5.0, "attack_steps": 2})
    assert made == {"kd": [of_all], "bss": [of_all], "amkd": [of_all, (1, 1, {"boundary_triplet.margin": 0.4})]}
    again = race.replay(tmp_path / "again")
    again.resume()
    assert again.wait(120) == "done"
    assert same_students(race, again)
    assert logs(race) == logs(again)


def test_pause_and_step_leave_every_method_at_the_same_batch(tmp_path: Path) -> None:
    race = Race.create(POINTS, ["ce", "kd"], tmp_path / "race")
    race.step_epoch()
    assert race.settle(60) == "paused"
    assert [(t.epoch, t.batch) for t in race.trainings.values()] == [(1, 0), (1, 0)]

    def listen(name: str, event: Event) -> None:
        if name == "ce" and isinstance(event, Stepped) and event.batch == 1:
            race.pause()

    race.listen = listen
    race.resume()
    assert race.settle(60) == "paused"
    assert [(t.epoch, t.batch) for t in race.trainings.values()] == [(1, 2), (1, 2)]
    race.stop()
    assert race.wait(60) == "idle"
    assert all(run.load_checkpoint()["batch"] == 2 for run in race.runs.values())  # type: ignore[index]
    race.listen = None
    race.resume()
    assert race.wait(60) == "done"
    whole = Race.create(POINTS, ["ce", "kd"], tmp_path / "whole")
    for epoch in (1, 2, 3):
        whole.step_epoch()
        assert whole.settle(60) == ("done" if epoch == 3 else "paused")
    assert same_students(race, whole)


KILLED = """
import os, signal, sys
from amkd_viz.runs import Race
from amkd_viz.training import Changed, EpochEnded, Recipe, Stepped
from tests.test_training_race import steer

race = Race.create(Recipe.from_json(__import__("json").loads(sys.argv[1])), ["ce", "kd", "amkd"], sys.argv[2])

def listen(name, event):
    steer(race, name, event)
    if sys.argv[3] == "in a round" and name == "kd" and isinstance(event, Changed):
        os.kill(os.getpid(), signal.SIGKILL)  # amkd has not heard of the override
    if sys.argv[3] == "at an epoch's end" and name == "kd" and isinstance(event, EpochEnded) and event.epoch == 2:
        if race.trainings:
            os.kill(os.getpid(), signal.SIGKILL)  # ce and kd have a checkpoint, amkd has not

race.listen = listen
race.resume()
race.wait()
"""


def steer(race: Race, name: str, event: Event) -> None:
    """Override a number in the second epoch."""
    if name == "ce" and isinstance(event, Stepped) and (event.epoch, event.batch) == (1, 1) and race.trainings:
        race.set(**{"kd.temperature": 5.0, "learning_rate": 0.03})


@pytest.mark.slow
@pytest.mark.parametrize("when", ["in a round", "at an epoch's end"])
def test_a_race_that_is_killed_goes_on_as_if_it_had_never_stopped(tmp_path: Path, when: str) -> None:
    command = [sys.executable, "-c", KILLED, json.dumps(POINTS.to_json()), str(tmp_path / "killed"), when]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL
    race = Race.open(tmp_path / "killed")
    assert race.state == "idle"
    race.resume()
    assert race.wait(120) == "done"
    whole = Race.create(POINTS, ["ce", "kd", "amkd"], tmp_path / "whole")
    whole.listen = lambda name, event: steer(whole, name, event)
    whole.resume()
    assert whole.wait(120) == "done"
    changes = [(i["epoch"], i["batch"], i["changes"]) for i in race.runs["amkd"].interventions()]
    assert changes == [(1, 2, {"kd.temperature": 5.0, "learning_rate": 0.03})]
    assert logs(race) == logs(whole)
    assert same_students(race, whole)


def test_what_no_method_takes_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    race = Race.create(POINTS, ["ce", "kd"], tmp_path / "race")
    with pytest.raises(InputError, match="None of ce, kd has the term of boundary_triplet"):
        race.set(**{"boundary_triplet.margin": 0.4, "kd.temperature": 5})
    with pytest.raises(InputError, match="a term with a weight"):
        race.set(**{"ce.weight": 0})  # nothing would be left of ce
    with pytest.raises(InputError, match="setting to change while training"):
        race.set(epochs=9)
    alone = Race.create(POINTS, ["kd"], tmp_path / "alone")
    alone.set(**{"ce.weight": 0})
    with pytest.raises(InputError, match="a term with a weight"):
        alone.set(**{"kd.weight": 0})  # checked with what is pending
    alone.resume()
    assert alone.wait(60) == "done"
    assert [line["changes"] for line in alone.runs["kd"].interventions()] == [{"ce.weight": 0}]
    assert not race.runs["kd"].interventions()


def test_one_method_that_fails_stops_the_others_and_is_named(tmp_path: Path) -> None:
    race = Race.create(POINTS, ["ce", "kd"], tmp_path / "race")
    fails = [True]

    def listen(name: str, event: Event) -> None:
        if name == "kd" and isinstance(event, EpochEnded) and event.epoch == 2 and race.trainings and fails[0]:
            raise InputError("no space left")

    race.listen = listen
    race.resume()
    assert race.wait(60) == "failed"
    assert race.error == "kd: no space left"
    fails[0] = False
    race.resume()
    assert race.wait(60) == "done"
    whole = Race.create(POINTS, ["ce", "kd"], tmp_path / "whole")
    whole.resume()
    whole.wait(60)
    assert same_students(race, whole)


@pytest.mark.parametrize("fails", [False, True])
def test_a_race_has_ended_only_when_every_job_has_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    usual = Race._leave

    def late(self: Race, name: str) -> None:
        time.sleep(0.2)  # the thread of the job is descheduled here
        usual(self, name)

    def fail(name: str, event: Event) -> None:
        if fails and name == "kd" and isinstance(event, Stepped):
            raise InputError("kd broke")

    monkeypatch.setattr(Race, "_leave", late)
    race = Race.create(POINTS, ["ce", "kd"], tmp_path / "race")
    race.listen = fail
    race.resume()
    while race.wait(0.02) in ("running", "stopping"):
        pass
    assert (race.state, race.error) == (("failed", "kd: kd broke") if fails else ("done", None))
    race.close()  # drops the jobs: one that ends later would not find itself (pytest reports its thread's exception)
    assert race.trainings == {}


def test_folders_that_are_not_a_race(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="each once"):
        Race.create(POINTS, ["kd", "kd"], tmp_path / "race")
    with pytest.raises(InputError, match="one or more"):
        Race.create(POINTS, [], tmp_path / "race")
    race = Race.create(POINTS, ["kd"], tmp_path / "race")
    with pytest.raises(InputError, match="never overwritten"):
        Race.create(POINTS, ["kd"], race.path)
    with pytest.raises(InputError, match="race"):
        Race.open(tmp_path)
    (tmp_path / "plan.json").write_text('{"race": 1, "planned": []}')
    with pytest.raises(InputError, match="plans of earlier versions cannot be opened"):
        Race.open(tmp_path / "plan.json")
    for text, words in (
        ("{", "is not a valid"),
        ("[]", "is not a valid"),
        ('{"format": 7}', "has race format 7, but this version reads 1"),
        ('{"format": 1, "runs": ["../kd"]}', "runs must name folders beside it"),
        ('{"format": 1, "runs": []}', "runs must name folders"),
        ('{"format": 1, "runs": ["kd", "bss"]}', "bss"),
    ):
        (race.path / "race.json").write_text(text)
        with pytest.raises(InputError, match=words):
            Race.open(race.path)
    assert Run.open(race.path / "kd").recipe == POINTS.replace(method="kd")  # each run is there without the race
