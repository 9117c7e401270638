"""Refine boundary samples: from the first iterate past the boundary to a point on it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from amkd_viz.boundary.samples import BoundarySamples, Passes, as_logits
from amkd_viz.core.errors import InputError
from amkd_viz.models import freeze

__all__ = ["refine"]


def refine(model: nn.Module, samples: BoundarySamples, steps: int = 10) -> BoundarySamples:
    """Bisect the segment between each sample's last iterate inside its base class and its first one outside.

    ``x`` stays outside and ``inside`` stays inside, and their distance halves ``steps`` times; forward passes only.
    Samples that have not crossed are returned as they are.

    Args:
        model: the net that was attacked.
        steps: >= 0 bisections.
    """
    if steps < 0:
        raise InputError(f"refine needs steps >= 0, got {steps}.")
    shape = (-1,) + (1,) * (samples.x.ndim - 1)
    inside, outside, logits = samples.inside, samples.x, samples.logits
    if len(samples):
        with freeze(model), torch.no_grad():
            for _ in range(steps):
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
    cost = Passes(samples.passes.forward + steps * len(samples), samples.passes.backward)
    return replace(samples, x=outside, inside=inside, logits=logits, status=status, passes=cost)
