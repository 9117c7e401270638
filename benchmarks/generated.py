"""Images without a download: ten classes that a small net tells apart after a few epochs, for checks and dry runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset, Split

__all__ = ["patterns", "saved"]

CLASSES = 10


def patterns(train: int, test: int, side: int = 32) -> Dataset:
    """Return a data set of uint8 images (N, 3, side, side): a smooth pattern for each class, and noise."""
    random = generator("cpu", "patterns", side)
    coarse = torch.rand(CLASSES, 3, 4, 4, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")

    def split(n: int) -> Split:
        y = torch.arange(n) % CLASSES
        noise = torch.rand(n, 3, side // 4, side // 4, generator=random).repeat_interleave(4, 2).repeat_interleave(4, 3)
        return Split((255 * (0.8 * smooth[y] + 0.2 * noise)).byte(), y, torch.arange(n))

    names = tuple(f"pattern {number}" for number in range(CLASSES))
    return Dataset.assemble("patterns", names, split(train), split(test), seed=0)


def saved(data: Dataset, path: Path) -> Path:
    """Write a data set for ``npz:PATH``; the validation split is made anew. Return ``path``."""
    order = torch.cat([data.train.index, data.val.index]).argsort()
    x, y = (torch.cat([getattr(data.train, name), getattr(data.val, name)])[order].numpy() for name in "xy")
    np.savez(path, x=x, y=y, x_test=data.test.x.numpy(), y_test=data.test.y.numpy(), classes=np.array(data.classes))
    return path
