"""A step size that fits the net: the published one belongs to the logits and the space of the published nets."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from amkd_viz.boundary.attacks.bss import bss
from amkd_viz.boundary.selection import sample_targets
from amkd_viz.core.rng import generator
from amkd_viz.models import freeze

__all__ = ["GAP", "calibrate"]

GAP = 0.2  # the published attack ends at a median of 0.17 on CIFAR-10
LOW, HIGH = 1e-3, 10.0
HALVINGS = 10  # of the logarithm of the range: to about 1 %


def calibrate(model: nn.Module, x: Tensor, *, steps: int = 10, step_rule: str = "gap", gap: float = GAP) -> float:
    """Return the largest step size with which boundary samples lie near the boundary.

    That is: the two largest probabilities of the net differ by at most ``gap`` at the median sample that has crossed,
    and at least half of them cross. Where no step size does both, it is the largest with which samples do not leap.
    Deterministic, found by bisection; targets are drawn as in training.

    Args:
        model: the net to attack.
        x: (M, ...) training images in [0, 1], or points; M >= 1.
        steps, step_rule: of the attack, see ``bss``.

    Returns:
        A step size in [0.001, 10], rounded to three digits.
    """
    with freeze(model), torch.no_grad():
        target = sample_targets(model(x).float(), generator(x.device, "calibrate"))
    low, high = math.log(LOW), math.log(HIGH)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = bss(model, x, target, step_size=math.exp(middle), steps=steps, step_rule=step_rule, check=False)
        crossed = found.crossed
        if 2 * int(crossed.sum()) < len(x) or float(found.gap[crossed].median()) <= gap:
            low = middle
        else:
            high = middle
    return float(f"{math.exp(low):.3g}")
