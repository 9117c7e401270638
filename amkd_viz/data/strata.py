"""Choosing samples class by class: everything here works on labels alone and returns sorted positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator

__all__ = ["hold_out", "pick", "rank_in_class", "shuffled"]


def shuffled(n: int, *seed: int | str) -> Tensor:
    """A permutation of 0..n-1, int64 (n,), drawn on the CPU so that it is the same on every device."""
    return torch.randperm(n, generator=generator("cpu", *seed))


def rank_in_class(y: Tensor, order: Tensor) -> Tensor:
    """How many samples of its own class come before each sample when they are read in ``order``: int64 (N,)."""
    by_class = order[torch.argsort(y[order], stable=True)]
    counts = torch.bincount(y)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(y)
    rank[by_class] = torch.arange(len(y)) - first[y[by_class]]
    return rank


def hold_out(y: Tensor, fraction: float, order: Tensor, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Split positions 0..N-1 into (kept, held): of every class the first ``fraction`` in ``order`` is held.

    At least one sample of each class lands on either side.

    Raises:
        InputError: a class has fewer than two samples.
    """
    counts = torch.bincount(y, minlength=len(classes))
    few = [name for name, count in zip(classes, counts.tolist(), strict=True) if count < 2]
    if few:
        raise InputError(f"Class {few[0]!r} has too few samples to be split; give it more samples or remove the class.")
    quota = (counts * fraction).round().long().clamp(min=1)
    held = rank_in_class(y, order) < quota[y]
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()


def pick(y: Tensor, n: int, *seed: int | str) -> Tensor:
    """``n`` positions with classes as equal as possible, int64 (n,), sorted.

    Classes take turns, so counts differ by at most one except where a class has run out; with the same seed a
    smaller choice lies inside a larger one.
    """
    order = shuffled(len(y), *seed)
    turns = torch.argsort(rank_in_class(y, order)[order], stable=True)
    return order[turns][:n].sort().values
