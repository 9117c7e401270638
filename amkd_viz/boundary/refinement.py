"""Refine boundary samples: from the first iterate past the boundary to a point on it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from amkd_viz.boundary.samples import BoundarySamples, Passes, as_logits, whole
from amkd_viz.core.errors import InputError
from amkd_viz.models import freeze

__all__ = ["refine"]

SCAN = 3  # halvings in which every part of a segment is looked at


def refine(model: nn.Module, samples: BoundarySamples, steps: int = 10) -> BoundarySamples:
    """Bisect the segment between each sample's last iterate inside its base class and its first one outside.

    ``x`` stays outside and ``inside`` stays inside, and their distance halves ``steps`` times; forward passes only.
    The first three halvings look at all eighths of the segment and keep the first that leaves the base class, so that a
    step that leapt over several boundaries ends at the first of them, if they are that far apart. Samples that have not
    crossed are returned as they are.

    Args:
        model: the net that was attacked.
        steps: >= 0 bisections.
    """
    if steps < 0:
        raise InputError(f"refine needs steps >= 0, got {steps}.")
    steps = whole(steps, "steps", low=0)
    shape = (-1,) + (1,) * (samples.x.ndim - 1)
    inside, outside, logits = samples.inside, samples.x, samples.logits
    scan, looked = min(SCAN, steps), 0
    if len(samples):
        with freeze(model), torch.no_grad():
            if scan > 1:
                points = _halved(inside, outside, scan)
                seen = torch.stack([as_logits(model(point)) for point in points[1:-1]])
                looked = len(seen)
                out = torch.cat([seen.argmax(2) != samples.base, torch.ones_like(samples.base, dtype=torch.bool)[None]])
                first, row = out.int().argmax(0), torch.arange(len(samples), device=inside.device)
                stack, seen = torch.stack(points), torch.cat([seen, logits[None]])
                crossed = samples.crossed
                inside = torch.where(crossed.view(shape), stack[first, row], inside)
                outside = torch.where(crossed.view(shape), stack[first + 1, row], outside)
                logits = torch.where(crossed[:, None], seen[first, row], logits)
            for _ in range(steps - scan if scan > 1 else steps):
                middle = (inside + outside) / 2
                seen = as_logits(model(middle))
                out = (seen.argmax(1) != samples.base) & samples.crossed
                back = samples.crossed & ~out
                outside = torch.where(out.view(shape), middle, outside)
                logits = torch.where(out[:, None], seen, logits)
                inside = torch.where(back.view(shape), middle, inside)
    winner = logits.argmax(1)
    status = torch.where(samples.crossed & (winner == samples.target), 1, samples.status)
    status = torch.where(samples.crossed & (winner != samples.target), 2, status)
    each = looked + (steps - scan if looked else steps)
    cost = Passes(samples.passes.forward + each * len(samples), samples.passes.backward)
    return replace(samples, x=outside, inside=inside, logits=logits, status=status, passes=cost)


def _halved(start: Tensor, end: Tensor, times: int) -> list[Tensor]:
    """Return the ends of the 2**times parts of a segment, made by halving, so that they equal those of a bisection."""
    points = [start, end]
    for _ in range(times):
        middles = [(a + b) / 2 for a, b in pairwise(points)]
        points = [point for pair in zip(points, middles, strict=False) for point in pair] + [end]
    return points
