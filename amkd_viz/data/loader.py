"""Training batches from memory: no worker process, no hidden state, any position reached at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import mix
from amkd_viz.data.dataset import Split
from amkd_viz.data.strata import shuffled

__all__ = ["Batch", "Loader"]

Batch = tuple[Tensor, Tensor, Tensor]


class Loader:
    """Seeded batches of a split that lives on ``device``.

    The order of epoch e comes from (seed, "order", e) and the augmentation of its batch b from (seed, "augment", e, b),
    so two integers are the whole position. A remainder that does not fill a batch is left out of the epoch; a split
    smaller than ``batch_size`` is one batch. For evaluation, walk ``split.floats`` instead: that misses no sample.

    Args:
        split: moved to ``device`` once, images as uint8.
        batch_size: >= 1.
        augment: called as ``augment(x, generator)`` with raw samples (uint8 images) on the device.
        shuffle: False reads the split in its own order.
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
            raise InputError(f"batch_size={batch_size} is out of range; give 1 or more.")
        if not len(split):
            raise InputError("The split to load from is empty; give at least one sample.")
        self.split = split.to(device)
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.augment = augment
        self.shuffle = shuffle
        self._random = torch.Generator(device)
        self._position = (0, 0)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.split) // self.batch_size

    def state(self) -> dict[str, int]:
        """The position of the next batch."""
        return dict(zip(("epoch", "batch"), self._position, strict=True))

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Go to a batch, so that iteration goes on as if it had come there by itself.

        Raises:
            InputError: no such batch; ``batch == len(self)`` stands for the start of the next epoch.
        """
        if epoch < 0 or not 0 <= batch <= len(self):
            raise InputError(f"There is no batch {batch} in epoch {epoch}; epochs have batches 0 to {len(self) - 1}.")
        self._position = (epoch + 1, 0) if batch == len(self) else (epoch, batch)

    def __iter__(self) -> Iterator[Batch]:
        """From the present position to the end of its epoch."""
        return self.epoch(*self._position)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from batch ``start``: (x, y, positions in the split).

        x is float in [0, 1] (images) or as it is (points), y and the positions int64 (B,), all on the device. The
        host never waits for the device between batches.
        """
        order = self._order(epoch)
        for batch in range(start, len(self)):
            self.seek(epoch, batch + 1)  # first: whoever saves inside the loop's body has used this batch
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
