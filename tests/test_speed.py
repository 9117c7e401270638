"""A regression in speed, seen as a ratio of processor times of two things done in turn in one process.

The bounds are far below what ``benchmarks/results`` tells, and the best of three tries counts: a busy machine passes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from amkd_viz.boundary import bss, sample_targets
from amkd_viz.models import Classifier, build, inference_copy
from amkd_viz.objectives import Attack, Step, methods
from amkd_viz.views.adaptive import adaptive_map
from benchmarks.published import published_bss

pytestmark = pytest.mark.slow


def ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int = 3) -> float:
    """Median of slow / fast, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = []
        for number in range(rounds + 1):
            times = []
            for run in (slow, fast):
                begun = time.process_time()
                run()
                times.append(time.process_time() - begun)
            found += [times[0] / times[1]] * (number > 0)
        return statistics.median(found)
    finally:
        torch.set_num_threads(threads)


def best(measure: Callable[[], float], wanted: float, tries: int = 3) -> float:
    """The highest of at most ``tries``; ends at the first that is high enough."""
    found = 0.0
    for _ in range(tries):
        found = max(found, measure())
        if found >= wanted:
            break
    return found


@pytest.fixture(scope="module")
def teacher() -> Classifier:
    net = build("resnet14", seed=3).eval()
    net.head.weight.data.mul_(30)  # fresh logits are so close to one another that hardly any step is taken
    return net


def test_the_attack_is_faster_than_the_published_one(teacher):
    """Measured: 2.5 in float32 with the trained ResNet-26."""
    x = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        target = sample_targets(teacher(x), torch.Generator().manual_seed(1))
    frozen = inference_copy(teacher).to(memory_format=torch.channels_last)
    teacher.requires_grad_(True)

    def published() -> None:
        published_bss(teacher, teacher.normalise(x), target)

    assert best(lambda: ratio(published, lambda: bss(frozen, x, target, clamp=2.5)), 1.5) >= 1.5


def test_an_amkd_step_costs_hardly_more_than_a_bss_step(teacher):
    """Measured: 1.02; a bound of 1.10 is the goal, 1.25 the alarm."""
    frozen = inference_copy(teacher).to(memory_format=torch.channels_last)
    student = build("resnet8", seed=4).to(memory_format=torch.channels_last).train()
    x = torch.rand(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    y = frozen(x).argmax(1)
    student.head.bias.data[y.mode().values] += 9

    def step(method: str) -> None:
        attack = Attack(limit=16, steps=2, step_size=1e-3)
        methods[method]()(Step(frozen, student, x, y, 0.1, torch.Generator(), attack)).backward()

    assert best(lambda: ratio(lambda: step("bss"), lambda: step("amkd")), 0.8) >= 0.8


def test_a_map_asks_for_the_boundary_and_not_for_the_area():
    """Evaluations, not seconds: twice the resolution costs about twice, and 13 times fewer than cells at 200."""

    def ask(points: np.ndarray) -> torch.Tensor:
        x, y = (torch.from_numpy(points[:, i] / side - 0.5) for i in (0, 1))
        radius = (x**2 + y**2).sqrt()
        return torch.stack([0.3 - radius, radius - 0.3, x - 0.35], 1).float()

    asked = {}
    for side in (200, 400, 800):
        asked[side] = adaptive_map(ask, side).evaluations
    assert asked[200] <= 200**2 / 10
    assert asked[800] <= 800**2 / 40
    assert asked[800] <= 2.5 * asked[400]
