"""scikit-learn's 1,797 scanned digits: real images that need no download."""

from __future__ import annotations

import numpy as np
import torch

from amkd_viz.data.checks import require
from amkd_viz.data.dataset import Dataset, Split
from amkd_viz.data.strata import hold_out

__all__ = ["load_digits"]


def load_digits(seed: int = 0) -> Dataset:
    """Grey 8x8 images, uint8 (N, 1, 8, 8); the last fifth of each digit in the source's order is the test split.

    The source is ordered by writer, so the last fifth was mostly written by other hands than the rest.

    Raises:
        InputError: scikit-learn is missing.
    """
    source = require("sklearn.datasets", "scikit-learn", "The data set 'digits'").load_digits()
    grey = np.round(source.images * (255 / 16)).astype(np.uint8)  # the scans count ink from 0 to 16
    y = torch.from_numpy(source.target).long()
    whole = Split(torch.from_numpy(grey)[:, None], y, torch.arange(len(y)))
    classes = tuple(str(digit) for digit in range(10))
    train, test = hold_out(y, 0.2, whole.index.flip(0), classes)
    return Dataset.assemble("digits", classes, whole.take(train), whole.take(test), seed=seed)
