"""Cost in evaluations: what does not depend on the machine. Ratios of times are measured in ``benchmarks``."""

from __future__ import annotations

import numpy as np
import torch

from amkd_viz.views.adaptive import adaptive_levels


def test_a_map_evaluates_the_boundary_and_not_the_area() -> None:
    """Twice the resolution costs about twice, and at 200 a tenth of the cells."""

    def logits(points: np.ndarray) -> torch.Tensor:
        x, y = (torch.from_numpy(points[:, i] / side - 0.5) for i in (0, 1))
        radius = (x**2 + y**2).sqrt()
        return torch.stack([0.3 - radius, radius - 0.3, x - 0.35], 1).float()

    count = {}
    for side in (200, 400, 800):
        *_, last = adaptive_levels(logits, side)
        count[side] = last.evaluations
    assert count[200] <= 200**2 / 10
    assert count[800] <= 800**2 / 40
    assert count[800] <= 2.5 * count[400]
