"""What a student draws for itself (dropout) comes from the step's place, and leaves the process's own chance alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from amkd_viz.core.rng import defaults_seeded
from amkd_viz.runs import Job, Run, resume
from amkd_viz.training import Recipe, Training, events, prepare
from amkd_viz.training.seeding import Seeding

POINTS = Recipe(
    dataset="spirals:n=60",
    teacher="mlp-tiny",
    student="mlp-tiny",
    epochs=2,
    teacher_epochs=1,
    batch_size=20,
    max_boundary_samples=4,
    attack_steps=3,
    magsim_samples=0,
    device="cpu",
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every student that is built drops a part of its features."""
    from amkd_viz.training import training as setup

    usual = setup.build

    def build(*args: object, **options: object) -> nn.Module:
        net = usual(*args, **options)  # type: ignore[arg-type]
        net.head.register_forward_pre_hook(lambda head, given: (F.dropout(given[0], 0.3, head.training),))
        return net

    monkeypatch.setattr(setup, "build", build)


def trained(training: Training) -> dict[str, Tensor]:
    list(events(training))
    return training.student.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.usefixtures("dropping")
def test_the_same_recipe_gives_the_same_student_whatever_was_drawn_before() -> None:
    one = trained(prepare(POINTS))
    torch.rand(7)
    before = torch.get_rng_state()
    again = prepare(POINTS)
    assert again.seeding.draws
    assert same(trained(again), one)
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(trained(prepare(POINTS.replace(seed=1))), one)


@pytest.mark.usefixtures("dropping")
def test_resumed_is_as_never_stopped(tmp_path: Path) -> None:
    straight = Job(POINTS, tmp_path / "straight")
    straight.start()
    assert straight.wait(60) == "done", straight.error
    job = Job(POINTS, tmp_path / "run")
    job.step()
    assert job.settle(60) == "paused", job.error
    job.stop()
    job.wait(60)
    torch.rand(3)
    resume(Run.open(tmp_path / "run"))
    (one, other) = (load_file(tmp_path / name / "student.safetensors") for name in ("run", "straight"))
    assert same(one, other)


def test_who_draws_nothing_is_left_alone() -> None:
    training = prepare(POINTS)
    assert not training.seeding.draws
    before = [buffer.clone() for buffer in training.student.buffers()]
    Seeding(0, [training.student], training.dataset.train.floats(slice(0, 2)))
    assert all(torch.equal(a, b) for a, b in zip(before, training.student.buffers(), strict=True))


def test_seeded_defaults_are_put_back_also_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(TypeError), defaults_seeded(3):
        torch.rand("two")  # type: ignore[call-overload]
    assert torch.equal(torch.get_rng_state(), before)
    drawn = []
    for _ in range(2):
        with defaults_seeded(3):
            drawn.append(torch.rand(2))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)
