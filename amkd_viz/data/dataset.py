"""A data set in memory: three splits and the statistics of the training split."""

from __future__ import annotations

import dataclasses
import hashlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.data.shared import Shared, versions
from amkd_viz.data.strata import hold_out, pick, shuffled

__all__ = ["Dataset", "Split"]

TEST = 0.2  # fraction of the samples used for the test, where none are given
VALIDATION = 0.1  # fraction of the training samples used for validation


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Inputs, labels and identities of some samples.

    Attributes:
        x: images as uint8 (N, C, H, W), or points as float32 (N, 2). Images of a pack stay on disk (``pack.Rows``): an
            index reads some of them.
        y: class of each sample, int64 (N,).
        index: position of each sample in the published split, int64 (N,): identifies a sample independently of the
            seed, size and order of this split.
    """

    x: Tensor
    y: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Split({len(self)} x {tuple(self.x.shape[1:])} {self.x.dtype} on {self.x.device})"

    def floats(self, index: Tensor | slice | list[int] | None = None) -> Tensor:
        """Return images as float32 in [0, 1] and points unchanged: all, or those at positions ``index``."""
        x = self.x if index is None else self.x[index]
        return x if x.is_floating_point() else x.float() / 255

    def take(self, positions: Tensor) -> Split:
        """Return the samples at ``positions`` (int64)."""
        x = self.x[positions] if isinstance(self.x, Tensor) else self.x.rows(positions)
        return Split(x, self.y[positions], self.index[positions])

    def to(self, device: torch.device | str) -> Split:
        """Return the samples on ``device``, images as uint8; where nothing moves, tensors are not copied."""
        return Split(self.x.to(device), self.y.to(device), self.index.to(device))


class Unread(Protocol):
    """A split that is still on disk, such as ``listing.Files``."""

    @property
    def y(self) -> Tensor: ...
    def __len__(self) -> int: ...
    def take(self, positions: Tensor) -> Unread: ...
    def read(self) -> Split: ...


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A classification problem in memory.

    Attributes:
        name: the name given to ``load``.
        classes: name of each class, in the order of the class indices.
        train, val, test: disjoint samples; only ``train`` and ``val`` depend on the seed.
        mean, std: per channel (of values in [0, 1]) or per coordinate, from ``train``.
        notes: what a person should know before training: files that were left out, images that are in two splits.
        extra: how many of the training samples, the last ones, a person has added: every subset has them.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    extra: int = 0

    @classmethod
    def assemble(
        cls,
        name: str,
        classes: tuple[str, ...],
        train: Split | Unread,
        test: Split | Unread | None = None,
        *,
        seed: int,
        val: Split | Unread | None = None,
    ) -> Dataset:
        """Split off what is missing, and compute mean and std.

        Without ``test``, ``val`` is the test split; without both, a stratified fifth of ``train`` is, which does not
        depend on the seed. Without a validation split, a stratified tenth of ``train`` is. Splits of files are decoded
        afterwards, so that no pixel takes memory twice.

        Raises:
            InputError: a class has too few samples to be split.
        """
        if test is None:
            test, val = val, None
        if test is None:
            counts = torch.bincount(train.y, minlength=len(classes)).tolist()
            for label, count in zip(classes, counts, strict=True):
                if count < 3:
                    raise InputError(
                        f"Class {label!r} of {name} cannot be split: it has {count} of the 3 samples that training, "
                        "validation and test need; add samples or remove the class."
                    )
            kept, held = hold_out(train.y, TEST, shuffled(len(train), 0, "test"), classes)
            train, test = train.take(kept), train.take(held)
        if val is None:
            kept, held = hold_out(train.y, VALIDATION, shuffled(len(train), seed, "validation"), classes)
            train, val = train.take(kept), train.take(held)
        train, val, test = (part if isinstance(part, Split) else part.read() for part in (train, val, test))
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
        """Shape of one sample: (C, H, W) for images, (2,) for points."""
        return tuple(self.train.x.shape[1:])

    @property
    def fingerprint(self) -> str:
        """Ten hex digits that depend on the classes, the labels and the statistics of the training images."""
        labels = self.train.y.cpu().numpy().tobytes()
        statistics = [f"{value:.6g}" for value in (*self.mean, *self.std)]  # sums differ a little between processors
        header = repr((self.classes, self.shape, statistics)).encode()
        return hashlib.sha256(header + labels).hexdigest()[:10]

    def with_extra(self, added: Split) -> Dataset:
        """Return the data set with training samples that a person has added."""
        parts = zip((self.train.x, self.train.y, self.train.index), (added.x, added.y, added.index), strict=True)
        train = Split(*map(torch.cat, parts))
        mean, std = _statistics(train.x)
        return dataclasses.replace(self, train=train, mean=mean, std=std, extra=self.extra + len(added))

    def limit(self, n: int, seed: int = 0) -> Dataset:
        """Return the data set with a class-balanced random subset of ``n`` training samples, and those that a person
        has added: the same object, as long as one is in use.

        Raises:
            InputError: ``n`` is below the number of classes or above the number of training samples.
        """
        drawn = len(self.train) - self.extra
        if not self.num_classes <= n <= drawn:
            raise InputError(
                f"The number of training samples of {self.name} must be {self.num_classes} (one per class) to "
                f"{drawn} (all), got {n}."
            )

        def make() -> Dataset:
            chosen = pick(self.train.y[:drawn].cpu(), n, seed, "limit")
            chosen = torch.cat([chosen, torch.arange(drawn, len(self.train))])
            return dataclasses.replace(self, train=self.train.take(chosen.to(self.train.y.device)))

        return self if n == drawn else self._made(("limit", n, seed), make)

    def to(self, device: torch.device | str) -> Dataset:
        """Return the data set with its three splits on ``device``: itself, or one copy for all that use it there."""
        parts = (self.train, self.val, self.test)
        if all(part.x.device == part.y.device == part.index.device == _place(device) for part in parts):
            return self

        def make() -> Dataset:
            train, val, test = (part.to(device) for part in parts)
            return dataclasses.replace(self, train=train, val=val, test=test)

        return self._made(("to", _place(device)), make)

    def _made(self, key: tuple[object, ...], make: Callable[[], Dataset]) -> Dataset:
        """Return what was made of this data set, as it is now, if that is still in use; else make it."""
        made: Dataset = _made_of.setdefault(self, Shared()).get((*key, versions(self)), make)
        _origin[made] = self
        return made


_made_of: weakref.WeakKeyDictionary[Dataset, Shared] = weakref.WeakKeyDictionary()
# a subset keeps the whole in use: who needs that, too, does not decode it again
_origin: weakref.WeakKeyDictionary[Dataset, Dataset] = weakref.WeakKeyDictionary()


def _place(device: torch.device | str) -> torch.device:
    """Return a device with its number, as tensors name theirs: "cuda" is the current one."""
    return torch.empty(0, device=device).device


def _statistics(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of uint8 (N, C, H, W) or float (N, D); a zero std becomes 1."""
    if not isinstance(x, Tensor):  # images on disk
        mean, std = x.statistics()
    elif x.is_floating_point():
        mean, std = x.double().mean(0), x.double().std(0, correction=0)
    else:
        # from histograms: exact, without a float copy of the data set
        counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in x.unbind(1)]).double()
        weights = counts / counts.sum(1, keepdim=True)
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean = weights @ levels
        std = ((levels - mean[:, None]).square() * weights).sum(1).sqrt()
    return tuple(mean.tolist()), tuple(torch.where(std > 0, std, 1.0).tolist())
