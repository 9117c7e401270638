"""Seeding: a student is a function of its recipe, and the process's own RNG is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from recipes import POINTS, same
from torch import nn

from amkd_viz.core import rng
from amkd_viz.core.rng import defaults_seeded
from amkd_viz.data import loader, strata
from amkd_viz.objectives import ce, kd, methods
from amkd_viz.runs import Job, Run, distill, prepare, resume
from amkd_viz.training import Recipe, events, seeding
from amkd_viz.training import training as setup
from amkd_viz.training.seeding import Seeding
from amkd_viz.training.teachers import teacher_recipe

DIGITS = POINTS.replace(dataset="digits", teacher="cnn-small", student="cnn-tiny", num_train=60, epochs=2)


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every student that is built drop a part of its features."""
    usual = setup.build

    def build(*args: object, **options: object) -> nn.Module:
        net = usual(*args, **options)  # type: ignore[arg-type]
        net.head.register_forward_pre_hook(lambda head, given: (F.dropout(given[0], 0.3, head.training),))
        return net

    monkeypatch.setattr(setup, "build", build)


@pytest.mark.parametrize(("recipe", "draws"), [(POINTS, False), (DIGITS, False), (POINTS, True)])
def test_the_seed_alone_decides_on_the_student(request: pytest.FixtureRequest, recipe: Recipe, draws: bool) -> None:
    if draws:
        request.getfixturevalue("dropping")

    def trained(recipe: Recipe) -> nn.Module:
        training = prepare(recipe)
        assert training.seeding.draws == draws
        list(events(training))
        return training.student

    one = trained(recipe)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert same(trained(recipe), one)
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(trained(recipe.replace(seed=1)), one)


@pytest.mark.usefixtures("dropping")
def test_resumed_is_as_never_stopped(tmp_path: Path) -> None:
    straight = distill(POINTS, tmp_path / "straight")
    job = Job(POINTS, tmp_path / "run")
    job.step()
    assert job.settle(60) == "paused", job.error
    job.stop()
    job.wait(60)
    torch.rand(3)
    assert same(resume(Run.open(tmp_path / "run")).student(), straight.student())


def test_asking_whether_a_net_draws_changes_no_buffer() -> None:
    training = prepare(DIGITS)
    before = [buffer.clone() for buffer in training.student.buffers()]
    assert before
    Seeding(0, [training.student], training.dataset.train.floats(slice(0, 2)))
    assert all(torch.equal(a, b) for a, b in zip(before, training.student.buffers(), strict=True))


def test_seeded_defaults_are_put_back_also_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(TypeError), defaults_seeded(3):
        torch.rand("two")  # type: ignore[call-overload]
    drawn = []
    for _ in range(2):
        with defaults_seeded(3):
            drawn.append(torch.rand(2))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int | str, ...]]:
    """The parts of every seed that is made, in order."""
    made: list[tuple[int | str, ...]] = []
    usual = rng.mix

    def mix(*parts: int | str) -> int:
        made.append(parts)
        return usual(*parts)

    for module in (rng, loader, seeding, setup):
        monkeypatch.setattr(module, "mix", mix)
    assert strata.generator is rng.generator  # so that its draws are seen too
    return made


@pytest.mark.usefixtures("dropping")
def test_no_two_streams_of_a_training_and_its_teachers_coincide(
    streams: list[tuple[int | str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path))
    methods.register("pair")(lambda: ce() + kd() + kd(teacher="teacher2") + kd(teacher="peer"))
    nets = {"teacher": "mlp-tiny+mlp-tiny", "student": "mlp-tiny", "peer": "mlp-tiny"}
    recipe = POINTS.replace(method="pair", epochs=2, teacher_epochs=2, magsim_samples=0, **nets)
    try:
        training = prepare(recipe)
        list(events(training))
    finally:
        methods.forget("pair")
    seeds = [recipe.seed, *(teacher_recipe(recipe, place).seed for place in (0, 1))]
    assert len(set(seeds)) == 3
    own = {seed: [parts[1:] for parts in streams if parts[0] == seed] for seed in seeds}
    for seed, role in zip(seeds, ({"student", "peer"}, {"student"}, {"student"}), strict=True):
        assert {parts[0] for parts in own[seed]} - {"validation", "limit"} == {
            *role,
            *("modules", "order", "augment", "step", "layers"),
        }
        for name, batches in (("order", 0), ("augment", 56), ("step", 56)):  # each is asked for once
            asked = [parts for parts in own[seed] if parts[0] == name]
            count = 2 * (batches if seed != recipe.seed else 3) if batches else 2
            assert len(asked) == len(set(asked)) == count, (seed, name)
    values = {parts: rng.mix(*parts) for parts in set(streams)}
    assert len(set(values.values())) == len(values)


def test_a_teacher_is_another_net_than_a_student_of_its_architecture_and_than_its_twin(tmp_path: Path) -> None:
    """With the settings of its teacher, a student that sees labels alone would be that teacher."""
    recipe = POINTS.replace(teacher="mlp-tiny", method="ce", epochs=5, num_train=None)
    run = distill(recipe, tmp_path / "run", snapshots=False)
    assert run.recipe.teacher == run.recipe.student
    assert not same(run.student(), run.teacher())
    assert run.summary["magsim"] < 0.999
    two = prepare(recipe.replace(teacher="mlp-tiny+mlp-tiny"))
    assert not same(two.nets["teacher"], two.nets["teacher2"])
    lone = recipe.replace(teacher="mlp-small+mlp-tiny")
    assert teacher_recipe(lone, 1) == teacher_recipe(recipe)  # beside another net it is the same cached one
