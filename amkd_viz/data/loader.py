"""Training batches from memory, without worker processes; any batch of any epoch is reached directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import mix
from amkd_viz.data.dataset import Split
from amkd_viz.data.strata import shuffled

__all__ = ["Batch", "Loader"]

Batch = tuple[Tensor, Tensor, Tensor]  # x, y, positions in the split


class Loader:
    """Seeded batches of a split that is kept on ``device``.

    Epoch e is ordered by (seed, "order", e), and its batch b is augmented by (seed, "augment", e, b): (epoch, batch)
    is the whole state. The last, incomplete batch of an epoch is dropped, so iterate over ``split.floats`` to evaluate.
    A split smaller than ``batch_size`` is one batch.

    Args:
        split: moved to ``device`` once, images as uint8.
        batch_size: samples per batch, >= 1.
        augment: called as ``augment(x, generator)`` with raw samples (uint8 images) on the device.
        shuffle: whether to shuffle the split in each epoch.

    Raises:
        InputError: ``batch_size`` is below 1, or the split is empty.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int = 0,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        device: torch.device | str = "cpu",
        shuffle: bool = True,
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
        self._random = torch.Generator(device)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return len(self.split) // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from batch ``start``: (x, y, positions in the split).

        x is float in [0, 1] for images and unchanged for points; y and the positions are int64 (B,). All are on the
        device, and no batch synchronizes with it.
        """
        order = self._order(epoch)
        for batch in range(start, len(self)):
            at = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield self.view(at, self._random.manual_seed(mix(self.seed, "augment", epoch, batch))), self.split.y[at], at

    def view(self, at: Tensor, generator: torch.Generator) -> Tensor:
        """Return the samples at positions ``at`` (B,) of the split as floats, augmented by ``generator``."""
        x = self.split.x[at]
        if self.augment is not None:
            x = self.augment(x, generator)
        return x if x.is_floating_point() else x.float() / 255

    def _order(self, epoch: int) -> Tensor:
        n = len(self.split)
        order = shuffled(n, self.seed, "order", epoch) if self.shuffle else torch.arange(n)
        return order.to(self.split.y.device)  # CPU-GPU sync point, once an epoch
