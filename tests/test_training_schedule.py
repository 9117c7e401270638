"""The learning rate: published milestones, warm-up, and words that are not a schedule."""

from __future__ import annotations

import pytest

from amkd_viz.core.errors import InputError
from amkd_viz.training import Recipe
from amkd_viz.training.schedule import learning_rate


def test_milestones_of_the_crd_recipe():
    """As in RepDistiller: 0.1 ** sum(epoch > [150, 180, 210]), epochs counted from 1, 782 steps each."""
    for epoch in range(1, 241):
        expected = 0.05 * 0.1 ** sum(epoch > e for e in (150, 180, 210))
        for step in (0, 781):
            found = learning_rate("milestones:150,180,210", 0.05, (epoch - 1) * 782 + step, 240 * 782, 240)
            assert found == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["onecycle", "step", "constant", "milestones:3"])
def test_warm_up_rises_linearly_and_then_is_over(schedule):
    rates = [learning_rate(schedule, 1.0, step, 40, 4, warm_up=2) for step in range(40)]
    plain = [learning_rate(schedule, 1.0, step, 40, 4) for step in range(40)]
    assert rates[19:] == plain[19:]
    for step in range(19):
        assert rates[step] == pytest.approx(plain[step] * (step + 1) / 20)


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ("milestone:3", "Unknown schedule 'milestone:3'"),
        ("Step", "Unknown schedule 'Step'; did you mean 'step'"),
        ("milestones:", "schedule must be milestones: with rising numbers of epochs, got 'milestones:'"),
        ("milestones:3,2", "schedule must be milestones: with rising numbers of epochs, got 'milestones:3,2'"),
        ("milestones:0,2", "schedule must be milestones: with rising"),
        ("milestones:1.5", "schedule must be milestones: with rising"),
        ("milestones:-1", "schedule must be milestones: with rising"),
    ],
)
def test_what_is_not_a_schedule(schedule, sentence):
    with pytest.raises(InputError, match=sentence):
        Recipe(schedule=schedule)
    with pytest.raises(InputError, match=sentence):
        learning_rate(schedule, 0.1, 0, 10, 1)


def test_newer_settings_leave_the_hash_of_a_recipe():
    assert Recipe(warm_up=0, shortcut="pad-end").hash == Recipe().hash
    assert len({Recipe().hash, Recipe(warm_up=1).hash, Recipe(shortcut="conv").hash}) == 3
