"""Where a net changes its class along a path: every crossing of a boundary, the first one included."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.views.adaptive import in_doubt
from amkd_viz.views.decisions import logits_at

__all__ = ["Crossing", "crossings", "crossings_of"]

POINTS, IMAGES = 32, 4  # first pieces of a segment: a point costs less than an image
HALVINGS = 10


class Crossing(NamedTuple):
    """A change of class.

    Attributes:
        at: its place on the path in steps, with a fraction. x: (...) just past it. logits: (K,) there.
        before, after: the classes on its two sides.
    """

    at: float
    x: Tensor
    logits: Tensor
    before: int
    after: int


def crossings(net: nn.Module, path: Tensor) -> list[Crossing]:
    """Return the crossings of a path (S + 1, ...) of straight segments, in order.

    As on a decision map, the net is evaluated at coarse steps, and a piece is halved where its ends have different
    classes or where the gap between the two largest logits is small against their change. The last pieces are 1/32768
    of a segment (of images: 1/4096).
    """
    steps = len(path) - 1
    pieces = IMAGES if path.ndim == 4 else POINTS
    at = torch.arange(steps * pieces + 1, dtype=torch.float64) / pieces
    if not steps:
        return []
    logits = logits_at(net, _on(path, at)).cpu()
    for _ in range(HALVINGS):
        split = in_doubt(torch.stack([logits[:-1], logits[1:]], 1))
        if not split.any():
            break
        middle = ((at[:-1] + at[1:]) / 2)[split]
        at, order = torch.cat([at, middle]).sort()
        logits = torch.cat([logits, logits_at(net, _on(path, middle)).cpu()])[order]
    winner = logits.argmax(1)
    found = (winner[1:] != winner[:-1]).nonzero()[:, 0].tolist()
    x = _on(path, at[1:][found])
    return [
        Crossing(float(at[i + 1]), x[n], logits[i + 1], int(winner[i]), int(winner[i + 1])) for n, i in enumerate(found)
    ]


def crossings_of(net: nn.Module, samples: BoundarySamples, which: int = 0) -> list[Crossing]:
    """Return the crossings of one sample's attack path, or of the straight line where no path was kept."""
    if samples.path is None:
        return crossings(net, torch.stack([samples.origin[which], samples.x[which]]))
    return crossings(net, samples.path[: int(samples.steps[which]) + 1, which])


def _on(path: Tensor, at: Tensor) -> Tensor:
    """Return the points (N, ...) of a path at places in steps (N,)."""
    start = at.floor().long().clamp(max=len(path) - 2)
    share = (at - start).to(path).view(-1, *[1] * (path.ndim - 1))
    return torch.lerp(path[start], path[start + 1], share)
