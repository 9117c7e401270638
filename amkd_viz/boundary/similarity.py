"""Similarity of the decision boundaries of two nets: MagSim and AngSim (arXiv 1805.05532, section 4.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from amkd_viz.boundary.attacks.bss import bss
from amkd_viz.boundary.refinement import refine
from amkd_viz.boundary.samples import as_logits, whole
from amkd_viz.core.errors import InputError
from amkd_viz.models import freeze

__all__ = ["BoundarySimilarity", "boundary_similarity"]


class BoundarySimilarity(NamedTuple):
    """MagSim and AngSim in [-1, 1] (NaN where no pair was kept), and pairs kept of pairs tried."""

    magsim: float
    angsim: float
    kept: int
    tried: int


def boundary_similarity(
    teacher: nn.Module,
    student: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    refined: bool = False,
    step_size: float = 0.3,
    steps: int = 10,
    step_rule: str = "gap",
    clamp: float | tuple[float, float] | None = None,
    max_targets: int | None = None,
    batch_size: int = 256,
) -> BoundarySimilarity:
    r"""Attack both nets from the same images to every wrong class and compare the perturbations.

    For x that both nets classify as y and every class k != y, with :math:`v^T, v^S` the perturbations of the two nets,
    over the pairs for which both crossed:

    .. math:: \mathrm{MagSim} = \overline{\min(\|v^T\|, \|v^S\|) / \max(\|v^T\|, \|v^S\|)}, \qquad
              \mathrm{AngSim} = \overline{\cos(v^T, v^S)}

    Args:
        x: (N, ...) inputs; y: (N,) labels.
        refined: compare points on the boundary (bisection) rather than the first iterates past it.
        max_targets: use only the first ``max_targets`` wrong classes y+1, y+2, ... (mod K); None: all.

    Raises:
        InputError: x and y differ in length, the nets differ in classes, or a number is below 1.
    """
    if batch_size < 1 or (max_targets is not None and max_targets < 1):
        raise InputError(f"batch_size and max_targets must be at least 1, got {batch_size} and {max_targets}.")
    batch_size, max_targets = whole(batch_size, "batch_size"), max_targets and whole(max_targets, "max_targets")
    if x.shape[:1] != y.shape:
        raise InputError(f"x and y must have the same length, got {len(x)} and {len(y)}.")
    with freeze(teacher, student), torch.no_grad():
        batches = x.split(batch_size) if len(x) else ()
        logits = [(as_logits(teacher(xb)), as_logits(student(xb))) for xb in batches]
    if not logits:
        return BoundarySimilarity(float("nan"), float("nan"), 0, 0)
    if len({said.shape[1] for said in logits[0]}) > 1:
        raise InputError(
            f"Both nets must have the same number of classes, got {logits[0][0].shape[1]} and {logits[0][1].shape[1]}."
        )
    right = torch.cat(
        [(t.argmax(1) == yb) & (s.argmax(1) == yb) for (t, s), yb in zip(logits, y.split(batch_size), strict=True)]
    )
    classes = logits[0][1].shape[1]
    x, y = x[right], y[right]
    magnitudes, angles, tried = [], [], 0
    for shift in range(1, min(classes, (max_targets or classes) + 1)):
        for xb, yb in zip(x.split(batch_size), y.split(batch_size), strict=True):
            moves, crossed = [], []
            for net in (teacher, student):
                found = bss(
                    net,
                    xb,
                    (yb + shift) % classes,
                    step_size=step_size,
                    steps=steps,
                    step_rule=step_rule,
                    clamp=clamp,
                    check=False,
                )
                found = refine(net, found) if refined else found
                moves.append((found.x - xb).flatten(1).cpu().double())  # Apple's GPUs have no float64
                crossed.append(found.crossed.cpu())
            tried += len(xb)
            both = crossed[0] & crossed[1]
            lengths = torch.stack([move[both].norm(dim=1) for move in moves])
            magnitudes.append(lengths.amin(0) / lengths.amax(0).clamp_min(1e-12))
            angles.append(torch.cosine_similarity(moves[0][both], moves[1][both], dim=1))
    if not magnitudes:
        return BoundarySimilarity(float("nan"), float("nan"), 0, 0)
    magnitude, angle = torch.cat(magnitudes), torch.cat(angles)
    return BoundarySimilarity(float(magnitude.mean()), float(angle.mean()), len(angle), tried)
