"""What a data set is here: three splits in memory, and the statistics of its training samples."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.data.strata import hold_out, pick, shuffled

__all__ = ["Dataset", "Split"]

VALIDATION = 0.1  # the share of the training samples that is set aside


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Samples that stay together.

    Attributes:
        x: images as uint8 (N, C, H, W), or points as float32 (N, 2).
        y: class of each sample, int64 (N,).
        index: position of each sample in the split it was published in, int64 (N,); it names a sample whatever
            the seed, the size or the order of this split.
    """

    x: Tensor
    y: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Split({len(self)} x {tuple(self.x.shape[1:])} {self.x.dtype} on {self.x.device})"

    def floats(self, index: Tensor | slice | list[int] | None = None) -> Tensor:
        """Images as float32 in [0, 1], points as they are; of all samples, or of those at ``index`` in this split."""
        x = self.x if index is None else self.x[index]
        return x if x.is_floating_point() else x.float() / 255

    def take(self, positions: Tensor) -> Split:
        """The samples at ``positions`` (int64, of this split)."""
        return Split(self.x[positions], self.y[positions], self.index[positions])

    def to(self, device: torch.device | str) -> Split:
        """The same samples on ``device``; images travel as uint8."""
        return Split(self.x.to(device), self.y.to(device), self.index.to(device))


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A classification problem in memory.

    Attributes:
        name: what ``load`` was asked for.
        classes: a readable name per class; the class index is the position here.
        train, val, test: disjoint samples; only ``train`` and ``val`` depend on the seed.
        mean, std: per channel (of values in [0, 1]) or per coordinate, from ``train``.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def assemble(
        cls, name: str, classes: tuple[str, ...], train: Split, test: Split, *, seed: int, val: Split | None = None
    ) -> Dataset:
        """Set a stratified tenth of ``train`` aside for validation (unless ``val`` is given) and measure the rest.

        Raises:
            InputError: a class has fewer than two training samples.
        """
        if val is None:
            kept, held = hold_out(train.y, VALIDATION, shuffled(len(train), seed, "validation"), classes)
            train, val = train.take(kept), train.take(held)
        return cls(name, classes, train, val, test, *_statistics(train.x))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(getattr(self, part))} {part}" for part in ("train", "val", "test"))
        return f"Dataset({self.name}: {self.num_classes} classes, {self.kind} {self.shape}, {sizes})"

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def kind(self) -> Literal["images", "points"]:
        return "images" if self.train.x.ndim == 4 else "points"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, (2,) of a point."""
        return tuple(self.train.x.shape[1:])

    @property
    def fingerprint(self) -> str:
        """Ten hex digits that other classes, labels or training images change."""
        labels = self.train.y.cpu().numpy().tobytes()
        told = repr((self.classes, self.shape, self.mean, self.std)).encode()
        return hashlib.sha256(told + labels).hexdigest()[:10]

    def limit(self, n: int, seed: int = 0) -> Dataset:
        """Keep ``n`` training samples, classes as equal as possible, chosen by ``seed``; all else stays as it is.

        Raises:
            InputError: ``n`` is below one sample a class or above what there is.
        """
        if not self.num_classes <= n <= len(self.train):
            raise InputError(
                f"Cannot keep {n} training samples of {self.name}; ask for {self.num_classes} (one a class) "
                f"to {len(self.train)} (all)."
            )
        chosen = pick(self.train.y.cpu(), n, seed, "limit")
        return dataclasses.replace(self, train=self.train.take(chosen.to(self.train.y.device)))

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with its three splits on ``device``."""
        parts = {part: getattr(self, part).to(device) for part in ("train", "val", "test")}
        return dataclasses.replace(self, **parts)


def _statistics(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 (N, C, H, W) or float (N, D); a constant channel gets std 1."""
    if x.is_floating_point():
        mean, std = x.double().mean(0), x.double().std(0, correction=0)
    else:
        # From histograms: exact, and without a float copy of the whole data set.
        counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in x.unbind(1)]).double()
        weights = counts / counts.sum(1, keepdim=True)
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean = weights @ levels
        std = ((levels - mean[:, None]).square() * weights).sum(1).sqrt()
    return tuple(mean.tolist()), tuple(torch.where(std > 0, std, 1.0).tolist())
