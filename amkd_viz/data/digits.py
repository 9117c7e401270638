"""The 1,797 scanned digits that ship with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

from amkd_viz.data.checks import require
from amkd_viz.data.dataset import Dataset, Split
from amkd_viz.data.strata import hold_out

__all__ = ["load_digits"]


def load_digits(seed: int = 0) -> Dataset:
    """Load grey images, uint8 (N, 1, 8, 8). The last fifth of each digit in the source's order is the test split.

    The source is ordered by writer, so most test digits are by other writers than the training digits.

    Raises:
        InputError: scikit-learn is not installed.
    """
    source = require("sklearn.datasets", "scikit-learn", "The data set 'digits'").load_digits()
    grey = np.round(source.images * (255 / 16)).astype(np.uint8)  # the source has 17 grey levels
    y = torch.from_numpy(source.target).long()
    whole = Split(torch.from_numpy(grey)[:, None], y, torch.arange(len(y)))
    classes = tuple(str(digit) for digit in range(10))
    train, test = hold_out(y, 0.2, whole.index.flip(0), classes)
    return Dataset.assemble("digits", classes, whole.take(train), whole.take(test), seed=seed)
