"""Training batches from memory, without worker processes; any batch of any epoch is reached directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.ranks import ALONE, Ranks
from amkd_viz.core.rng import mix
from amkd_viz.data.dataset import Split
from amkd_viz.data.strata import shuffled

__all__ = ["Batch", "Loader"]

Batch = tuple[Tensor, Tensor, Tensor]  # x, y, positions in the split
Augmentation = Callable[..., Tensor]  # of raw samples and a generator


class Loader:
    """Seeded batches of a split that is kept on ``device``.

    Epoch e is ordered by (seed, "order", e), and its batch b is augmented by (seed, "augment", e, b): (epoch, batch)
    is the whole state. The last, incomplete batch of an epoch is dropped, so iterate over ``split.floats`` to evaluate.
    A split smaller than ``batch_size`` is one batch.

    Args:
        split: moved to ``device`` once, images as uint8.
        batch_size: samples per batch, >= 1.
        augment: called as ``augment(x, generator)`` with raw samples (uint8 images) on the device; with ``rows`` as
            ``augment(x, generator, rows, size of the batch)``.
        shuffle: whether to shuffle the split in each epoch.
        ranks: each rank reads and augments its own rows of a batch.

    Raises:
        InputError: ``batch_size`` is below 1, or the split is empty.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int = 0,
        augment: Augmentation | None = None,
        device: torch.device | str = "cpu",
        shuffle: bool = True,
        ranks: Ranks = ALONE,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}.")
        if not len(split):
            raise InputError("The split must hold at least one sample, got none.")
        self.split = split.to(device)
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.augment = augment
        self.shuffle = shuffle
        self.ranks = ranks
        self._random = torch.Generator(device)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return len(self.split) // self.batch_size

    def epoch(self, epoch: int, start: int = 0, order: Tensor | None = None) -> Iterator[Batch]:
        """Yield the batches of one epoch from batch ``start``: (x, y, positions in the split).

        Args:
            order: (N,) positions to take in place of all in the epoch's random order.

        x is float in [0, 1] for images and unchanged for points, of several ranks the rows of this one; y and the
        positions are int64 (B,). All are on the device, and no batch synchronizes with it.
        """
        own = self.ranks.own(self.batch_size)
        order = self._order(epoch) if order is None else order
        for batch in range(start, len(self)):
            at = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            draws = self._random.manual_seed(mix(self.seed, "augment", epoch, batch))
            yield self.view(at, draws, own), self.split.y[at], at

    def view(
        self, at: Tensor, generator: torch.Generator, rows: slice = slice(None), first: Augmentation | None = None
    ) -> Tensor:
        """Return the samples at positions ``at`` (B,) of the split as floats, augmented by ``generator``.

        Args:
            rows: which of the B samples to return; all random draws of the augmentation are made for B.
            first: called on the raw samples before the augmentation.
        """
        x = self.split.x[at[rows]]
        if first is not None:
            x = first(x, generator)
        if self.augment is not None:
            x = self.augment(x, generator) if len(x) == len(at) else self.augment(x, generator, rows, len(at))
        return x if x.is_floating_point() else x.float() / 255

    def _order(self, epoch: int) -> Tensor:
        n = len(self.split)
        order = shuffled(n, self.seed, "order", epoch) if self.shuffle else torch.arange(n)
        return order.to(self.split.y.device)  # CPU-GPU sync point, once an epoch
