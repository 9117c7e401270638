"""A small ConvNeXt (Liu et al., CVPR 2022, arXiv 2201.03545) for images of 8 to 64 pixels, in three stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvNeXtBody"]


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of (N, C, H, W), at each place."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class Block(nn.Module):
    """7x7 depthwise convolution, layer norm, 1x1 convolutions with GELU between them, and a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(width, width, 7, 1, 3, groups=width),
            ChannelNorm(width),
            nn.Conv2d(width, 4 * width, 1),
            nn.GELU(),
            nn.Conv2d(4 * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x)


class ConvNeXtBody(nn.Module):
    """(N, C, H, W) -> (N, widths[-1]).

    Args:
        shape: (C, H, W). widths, depths: of each stage. Images of 48 pixels or more are halved by the stem.
    """

    stages = ("stage1", "stage2", "stage3")

    def __init__(self, shape: tuple[int, ...], widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        channels, height, wide = shape
        first = (2, 2) if min(height, wide) >= 48 else (3, 1, 1)
        self.stem = nn.Sequential(nn.Conv2d(channels, widths[0], *first), ChannelNorm(widths[0]))
        before = widths[0]
        for stage, width, depth in zip(self.stages, widths, depths, strict=True):
            shrink = [] if stage == "stage1" else [ChannelNorm(before), nn.Conv2d(before, width, 2, 2)]
            self.add_module(stage, nn.Sequential(*shrink, *(Block(width) for _ in range(depth))))
            before = width
        self.norm = nn.LayerNorm(before)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.norm(x.mean((2, 3)))
