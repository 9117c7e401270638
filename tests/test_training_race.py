"""A race: each method computes what it would alone, none runs ahead, changes go where they belong."""

from __future__ import annotations

import pytest
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.runs import Race, RacePlan
from amkd_viz.training import Changed, EpochEnded, Recipe, Stepped, Training, events

POINTS = Recipe(
    dataset="spirals:n=60",
    teacher="mlp-tiny",
    student="mlp-tiny",
    epochs=3,
    teacher_epochs=2,
    batch_size=27,
    teacher_batch_size=27,
    max_boundary_samples=8,
    attack_steps=3,
    magsim_samples=0,
    device="cpu",
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))


def test_each_method_computes_what_it_would_alone() -> None:
    race = Race(POINTS, ["kd", "amkd"])
    assert all(
        torch.equal(a, b)
        for a, b in zip(*(t.student.state_dict().values() for t in race.trainings.values()), strict=True)
    )
    list(race.events())
    assert race.over
    for name, raced in race.trainings.items():
        alone = Training(POINTS.replace(method=name))
        metrics = [e.metrics for e in events(alone.recipe, alone) if isinstance(e, EpochEnded)]
        for (key, one), other in zip(
            alone.student.state_dict().items(), raced.student.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=0, atol=0, msg=f"{name} {key}")
        assert [m["val_accuracy"] for m in metrics] == [m["val_accuracy"] for m in race.metrics[name]]
        assert 0 <= race.summaries[name]["test_accuracy"] <= 1


def test_none_runs_ahead() -> None:
    race, ahead = Race(POINTS, ["ce", "kd", "bss"]), []
    for _, event in race.events():
        if isinstance(event, Stepped):
            at = [t.epoch * 100 + t.batch for t in race.trainings.values()]
            ahead.append(max(at) - min(at))
    assert set(ahead) == {0, 1}
    assert race.epoch == POINTS.epochs


def test_a_change_goes_to_those_who_have_the_term_and_costs_no_turn() -> None:
    race = Race(POINTS, ["kd", "amkd"])
    seen: list[str] = []
    for name, event in race.events():
        if isinstance(event, EpochEnded) and event.epoch == 1 and name == "amkd":
            assert race.wish(**{"boundary_triplet.margin": 0.4}) == ["amkd"]
            assert race.wish(**{"kd.temperature": 5}) == ["kd", "amkd"]
        if isinstance(event, Changed):
            seen.append(name)
        if isinstance(event, Stepped):
            at = [t.epoch * 100 + t.batch for t in race.trainings.values()]
            assert max(at) - min(at) <= 1
    assert seen == ["kd", "amkd", "amkd"]
    assert race.trainings["amkd"].recipe.overrides == {"boundary_triplet.margin": 0.4, "kd.temperature": 5}
    assert race.trainings["kd"].recipe.overrides == {"kd.temperature": 5}


def test_what_no_racer_understands_is_refused() -> None:
    race = Race(POINTS, ["ce", "kd"])
    with pytest.raises(InputError, match="None of ce, kd has the term of boundary_triplet"):
        race.wish(**{"boundary_triplet.margin": 0.4, "kd.temperature": 5})
    assert not list(race.trainings["kd"].wishes())
    with pytest.raises(InputError, match="each once"):
        Race(POINTS, ["kd", "kd"])
    with pytest.raises(InputError, match="one or more"):
        Race(POINTS, [])


def test_wishes_are_refused_together_as_they_are_alone() -> None:
    race = Race(POINTS, ["ce", "kd"])
    running = race.events()
    next(running)
    with pytest.raises(InputError, match="a term with a weight"):
        race.wish(**{"ce.weight": 0})  # of ce's own method nothing would be left
    race = Race(POINTS, ["kd"])
    race.wish(**{"ce.weight": 0})
    with pytest.raises(InputError, match="a term with a weight"):
        race.wish(**{"kd.weight": 0})
    list(race.events())
    assert race.over


def test_cost_of_a_step_is_measured() -> None:
    race = Race(POINTS, ["ce", "bss"])
    assert all(cost != cost for cost in race.step_seconds().values())
    list(race.events())
    cost = race.step_seconds()
    assert cost["ce"] > 0
    assert cost["bss"] > 0


def test_all_take_a_change_at_the_same_step_and_a_race_can_be_run_again(tmp_path) -> None:
    race, batches = Race(POINTS, ["kd", "bss", "amkd"]), 0
    for name, event in race.events():
        batches += isinstance(event, Stepped)
        if name == "kd" and isinstance(event, Stepped) and (event.epoch, event.batch) == (1, 0):
            race.wish(**{"kd.temperature": 5.0, "attack_steps": 2})  # the others have not taken this step yet
            race.wish(**{"boundary_triplet.margin": 0.4})
    assert race.made == {(1, 1): {"kd.temperature": 5.0, "attack_steps": 2, "boundary_triplet.margin": 0.4}}
    path = race.plan.save(tmp_path / "race.json")
    plan = RacePlan.open(path)
    assert plan == race.plan
    again = Race(plan.recipe, plan.methods, plan.overrides, planned=plan.planned)
    assert again.plan == plan  # also before it has come to the changes
    list(again.events())
    assert again.plan == plan
    for name, training in race.trainings.items():
        other = again.trainings[name].student.state_dict()
        assert all(torch.equal(value, other[key]) for key, value in training.student.state_dict().items()), name


def test_a_file_that_is_no_race_is_said_and_kept(tmp_path) -> None:
    plan = RacePlan(POINTS, ["ce", "kd"])
    for text, words in (
        ("{", "is not a valid race"),
        ("[]", "is not a valid race"),
        ('{"race": 7}', "has race format 7, but this version reads 1"),
        (
            '{"race": 1, "recipe": {}, "methods": ["kd"], "changes": {}, "planned": [{"epoch": 1}]}',
            "is not a valid race",
        ),
    ):
        path = tmp_path / "file.json"
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            RacePlan.open(path)
        with pytest.raises(InputError, match="never overwritten"):
            plan.save(path)
        assert path.read_text() == text
    with pytest.raises(InputError, match="Race not found"):
        RacePlan.open(tmp_path / "none.json")
    with pytest.raises(InputError, match="None of ce, kd has the term"):
        RacePlan(POINTS, ["ce", "kd"], planned=[Changed(0, 1, {"boundary_triplet.margin": 1.0})])
    with pytest.raises(InputError, match="setting to change while training"):
        RacePlan(POINTS, ["ce", "kd"], planned=[Changed(0, 1, {"epochs": 3})])
    assert RacePlan.open(plan.save(tmp_path / "own.json")) == plan
    plan.save(tmp_path / "own.json")
