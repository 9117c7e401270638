"""The samples on which teacher and student are compared: some of a split, then boundary samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amkd_viz.boundary import BoundarySamples
from amkd_viz.data import Split

__all__ = ["Chosen", "choose", "class_triplets"]

TRIPLETS = 5000


@dataclass(frozen=True, eq=False)
class Chosen:
    """N samples; the boundary samples come last.

    Attributes:
        x: (N, ...) images in [0, 1], or points.
        label: (N,) class; of a boundary sample the class that the attacked net gives to its base.
        target: (N,) class that a boundary sample was sent to; of a sample of the split its own class.
        index: (N,) the published index; of a boundary sample that of its base, or -1 if unknown.
        boundary: (N,) bool.
    """

    x: Tensor
    label: NDArray[np.int64]
    target: NDArray[np.int64]
    index: NDArray[np.int64]
    boundary: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)

    def negatives(self, which: int) -> NDArray[np.bool_]:
        """Return (N,) bool: samples of the split in neither of the classes of sample ``which``, its valid negatives."""
        other = (self.label != self.label[which]) & (self.label != self.target[which])
        return np.asarray(other & ~self.boundary)


def choose(
    split: Split, samples: BoundarySamples | None = None, bases: Tensor | None = None, most: int = 600
) -> Chosen:
    """Choose at most ``most`` samples of a split, evenly spread, then all boundary samples.

    Args:
        bases: (M,) published index of the base of each boundary sample.
    """
    taken = torch.arange(len(split))[:: max(1, -(-len(split) // most))]
    x, label, index = split.floats(taken), split.y[taken].cpu(), split.index[taken].cpu()
    rings = 0 if samples is None else len(samples)
    target = label
    if samples is not None and rings:
        x = torch.cat([x, samples.x])
        label, target = torch.cat([label, samples.base.cpu()]), torch.cat([label, samples.target.cpu()])
        index = torch.cat([index, torch.full((rings,), -1) if bases is None else bases.cpu()])
    boundary = np.arange(len(label)) >= len(label) - rings
    return Chosen(x, label.numpy(), target.numpy(), index.numpy(), boundary)


def class_triplets(label: NDArray[Any], seed: int = 0) -> NDArray[np.int64]:
    """Draw (T, 3) triplets: anchor, positive of its class, negative of another one; T <= 5000."""
    drawn = np.random.default_rng(seed).integers(0, len(label), (TRIPLETS * 20, 3))
    a, p, n = drawn.T
    return np.asarray(drawn[(a != p) & (label[a] == label[p]) & (label[a] != label[n])][:TRIPLETS])
