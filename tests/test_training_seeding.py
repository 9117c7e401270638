"""Seeding: a student is a function of its recipe, and the process's own RNG is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from recipes import POINTS, same
from torch import nn

from amkd_viz.core.rng import defaults_seeded
from amkd_viz.runs import Job, Run, distill, prepare, resume
from amkd_viz.training import Recipe, events
from amkd_viz.training import training as setup
from amkd_viz.training.seeding import Seeding

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
