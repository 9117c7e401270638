"""Stratified choices of samples, made from the labels alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator

__all__ = ["hold_out", "pick", "rank_in_class", "shuffled"]


def shuffled(n: int, *seed: int | str) -> Tensor:
    """Return a random permutation of 0..n-1, int64 (n,), drawn on the CPU: the same on every device."""
    return torch.randperm(n, generator=generator("cpu", *seed))


def rank_in_class(y: Tensor, order: Tensor) -> Tensor:
    """Return the rank of each sample among those of its class in ``order``, from 0: int64 (N,)."""
    by_class = order[torch.argsort(y[order], stable=True)]
    counts = torch.bincount(y)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(y)
    rank[by_class] = torch.arange(len(y)) - first[y[by_class]]
    return rank


def hold_out(y: Tensor, fraction: float, order: Tensor, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Split positions 0..N-1 in two: the first ``fraction`` of each class in ``order`` goes to the second part.

    Each part gets at least one sample of each class. Positions are sorted.

    Raises:
        InputError: a class has fewer than two samples.
    """
    counts = torch.bincount(y, minlength=len(classes))
    few = [name for name, count in zip(classes, counts.tolist(), strict=True) if count < 2]
    if few:
        raise InputError(f"Class {few[0]!r} must have at least 2 samples to be split; add samples or remove the class.")
    quota = (counts * fraction).round().long().clamp(min=1)
    held = rank_in_class(y, order) < quota[y]
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()


def pick(y: Tensor, n: int, *seed: int | str) -> Tensor:
    """Return ``n`` random sorted positions with classes as balanced as possible, int64 (n,).

    Class counts differ by at most one unless a class runs out of samples. For the same seed, a smaller choice is a
    subset of a larger one.
    """
    order = shuffled(len(y), *seed)
    turns = torch.argsort(rank_in_class(y, order)[order], stable=True)
    return order[turns][:n].sort().values
