"""Random crops, mirroring and noise, vectorized on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.data.dataset import Dataset

__all__ = ["Augment", "augment_for"]


@dataclass(frozen=True)
class Augment:
    """Augment a batch: random crops of zero-padded images, random mirroring, Gaussian noise on points.

    Attributes:
        pad: zeros added on each side before cropping to the original size, >= 0.
        flip: whether to mirror each image left to right with probability 1/2.
        jitter: standard deviation of the noise added to points, >= 0.
    """

    pad: int = 4
    flip: bool = True
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise InputError(f"pad must be at least 0 pixels, got {self.pad}.")
        if not 0 <= self.jitter < math.inf:
            raise InputError(f"jitter must be finite and at least 0, got {self.jitter}.")

    def __call__(
        self, x: Tensor, generator: torch.Generator, rows: slice = slice(None), of: int | None = None
    ) -> Tensor:
        """Return an augmented copy of images (N, C, H, W), fastest as uint8, or points (N, 2); same shape and dtype.

        Padding is black, as in torchvision's recipes. ``generator`` must be on the device of ``x``.

        Args:
            rows, of: ``x`` holds these rows of a batch of ``of`` samples, and takes their part of its random draws.
        """
        if x.ndim == 2:
            if not self.jitter:
                return x
            drawn = torch.randn((of or len(x), *x.shape[1:]), generator=generator, device=x.device, dtype=x.dtype)
            return x + self.jitter * drawn[rows]
        n = of or len(x)
        if self.pad:
            h, w = x.shape[2:]
            windows = F.pad(x, [self.pad] * 4).unfold(2, h, 1).unfold(3, w, 1)  # a view: (N, C, 2p+1, 2p+1, H, W)
            dy, dx = torch.randint(2 * self.pad + 1, (2, n), generator=generator, device=x.device)[:, rows]
            x = windows[torch.arange(len(x), device=x.device), :, dy, dx]
        if self.flip:
            mirrored = torch.randint(2, (n, 1, 1, 1), generator=generator, device=x.device, dtype=torch.bool)
            x = torch.where(mirrored[rows], x.flip(3), x)
        return x


def augment_for(dataset: Dataset, name: str = "auto") -> Augment:
    """Return the augmentation ``name`` (auto, none, crop or crop-flip) for the image size of ``dataset``.

    Crops pad by an eighth of the side (CIFAR 4, Tiny ImageNet 8, digits 1). "auto" is crop-flip for images, crop for
    digits (mirroring changes their meaning) and none for points.

    Raises:
        InputError: ``name`` is unknown, or is a crop although ``dataset`` holds points.
    """
    names = ("auto", "none", "crop", "crop-flip")
    if name not in names:
        raise unknown("augmentation", name, names)
    if dataset.kind == "points":
        if name.startswith("crop"):
            raise InputError(f"Augmentation {name!r} needs images but {dataset.name} has points; use 'auto' or 'none'.")
        return Augment(pad=0, flip=False)
    if name == "auto":
        name = "crop" if dataset.name == "digits" else "crop-flip"
    return Augment(pad=0 if name == "none" else max(1, dataset.shape[-1] // 8), flip=name == "crop-flip")
