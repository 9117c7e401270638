"""Embeddings of unit norm, their squared distances, and the hinge over triplets: pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from amkd_viz.core.errors import unknown

__all__ = ["EMBEDDINGS", "MININGS", "embed", "squared_distances", "triplet_hinge"]

EMBEDDINGS = ("logit", "prob", "feature")
MININGS = ("all", "semi-hard", "random", "hard")


def embed(kind: str, logits: Tensor, features: Tensor) -> Tensor:
    """Return rows of unit norm: ``logit`` (centred logits), ``prob`` (roots of the softmax, Hellinger) or ``feature``.

    Args:
        logits: (N, K); features: (N, D).

    Returns:
        (N, K), or (N, D) for ``feature``. A row of equal logits (or zero features) gives the zero vector.
    """
    if kind == "prob":
        return (0.5 * logits.log_softmax(1)).exp()
    if kind not in EMBEDDINGS:
        raise unknown("embedding", kind, EMBEDDINGS)
    v = logits - logits.mean(1, keepdim=True) if kind == "logit" else features
    return v / (v.square().sum(1, keepdim=True) + 1e-12).sqrt()


def squared_distances(u: Tensor, v: Tensor) -> Tensor:
    """Return (M, B) squared Euclidean distances in [0, 4] between the unit rows of (M, D) and (B, D).

    The product is taken in the inputs' own precision: autocast would round it to 8 bits, a hundredth of a distance.
    """
    with torch.autocast(u.device.type, enabled=False):
        return 2 - 2 * u @ v.T


def triplet_hinge(
    positive: Tensor,
    negative: Tensor,
    valid: Tensor,
    margin: float | Tensor,
    mining: str = "all",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the mean over anchors of [d(a, p) - d(a, n) + margin]_+, and the share of its triplets that are active.

    Args:
        positive: (M,) d(a, p).
        negative: (M, B) d(a, n) to every candidate.
        valid: (M, B) bool, the candidates that are negatives of the anchor. Anchors without any do not count.
        margin: a number, or (M, B), one per triplet.
        mining: ``all``: the mean over every valid negative, zeros counted. Otherwise one negative per anchor:
            ``hard`` (the nearest), ``semi-hard`` (the nearest with d(a, n) > d(a, p), else the nearest; Schroff et
            al., CVPR 2015, arXiv 1503.03832), ``random``.

    Returns:
        Loss and active share, scalars. Without any triplet both are 0, the loss still part of the graph.
    """
    if mining not in MININGS:
        raise unknown("mining", mining, MININGS)
    hinge = (positive[:, None] - negative + margin).clamp_min(0)
    if mining == "all":
        weight = valid.to(hinge.dtype)
    else:
        if mining == "random":
            order = torch.rand(negative.shape, generator=generator, device=negative.device)
        else:
            order = negative.detach()
        rank = order.masked_fill(~valid, torch.inf)
        if mining == "semi-hard":
            beyond = rank.masked_fill(order <= positive.detach()[:, None], torch.inf)
            rank = torch.where(beyond.isfinite().any(1, keepdim=True), beyond, rank)
        chosen = torch.zeros_like(valid)
        if valid.numel():
            chosen.scatter_(1, rank.argmin(1, keepdim=True), True)
        weight = (chosen & valid).to(hinge.dtype)
    count = weight.sum(1)
    anchors = (count > 0).to(hinge.dtype)
    per_anchor = (hinge * weight).sum(1) / count.clamp_min(1)
    loss = (per_anchor * anchors).sum() / anchors.sum().clamp_min(1)
    active = ((hinge.detach() > 0) * weight).sum() / weight.sum().clamp_min(1)
    return loss, active
