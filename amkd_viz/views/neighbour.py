"""Nearest-neighbour search among the images of a split."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.data import Split
from amkd_viz.views.layout import keep

__all__ = ["nearest_image"]

MOST = 4000  # candidates, evenly spread if there are more


def nearest_image(split: Split, x: Tensor, classes: Collection[int], without: int = -1) -> int:
    """Return the position in ``split`` of the image of ``classes`` nearest to ``x`` (C, H, W) in L2 over pixels.

    The image at position ``without`` is left out.

    Raises:
        InputError: the split holds no image of these classes.
    """
    wanted = torch.isin(split.y, torch.tensor(sorted(classes), device=split.y.device))
    if without >= 0:
        wanted[without] = False
    candidates = wanted.nonzero()[:, 0]
    candidates = candidates[keep(len(candidates), MOST)]
    if not len(candidates):
        raise InputError("There is no image of another class to lay a plane through; choose another class.")
    here = x.to(split.x.device)
    distance = torch.cat([(split.floats(part) - here).flatten(1).norm(dim=1) for part in candidates.split(500)])
    return int(candidates[distance.argmin()])
