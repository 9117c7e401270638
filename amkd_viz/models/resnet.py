"""CIFAR ResNets (He et al., CVPR 2016, arXiv 1512.03385, section 4.2): three stages of basic blocks.

``resnet8 .. resnet110`` use widths 16/32/64, ``resnet8x4`` and ``resnet32x4`` start at 32 and go to 64/128/256.
Between stages the shortcut is a strided sub-sampling, zero-padded in channels at the end ("pad-end", as in BSS, arXiv
1805.05532) or half before and half after ("pad-both", as in akamaster/pytorch_resnet_cifar10), or a 1x1 convolution
("conv"). The first two have no parameters, so weights do not tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import unknown

__all__ = ["SHORTCUTS", "BasicBlock", "ResNetBody"]

SHORTCUTS = ("pad-end", "pad-both", "conv")


class BasicBlock(nn.Module):
    """conv-bn-relu-conv-bn + shortcut, then ReLU."""

    folds = True  # children are listed in the order in which they run: conv -> bn pairs may be folded

    def __init__(self, width_in: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        extra = width - width_in
        before = extra // 2 if shortcut == "pad-both" else 0
        self.stride, self.padded = stride, (before, extra - before)  # channels of zeros before and after
        self.downsample: nn.Module | None = None
        if shortcut == "conv" and (stride != 1 or extra):
            self.downsample = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)  # no gradient needs what norms gave out
        y = self.bn2(self.conv2(y))
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.stride != 1 or any(self.padded):
            # every stride-th pixel, as a pooling of one: a slice's gradient would leave channels_last, and all after it
            x = F.pad(F.avg_pool2d(x, 1, self.stride), (0, 0, 0, 0, *self.padded))
        return F.relu(y.add_(x), inplace=True)


class ResNetBody(nn.Module):
    """Stem and three stages, then global average pooling: (N, C, H, W) -> (N, widths[-1]).

    Args:
        depths: blocks per stage; 6 n + 2 layers for n blocks in each of three stages.
        widths: stem width, then the width of each stage.
        channels: C of the input.
        shortcut: one of ``SHORTCUTS``.

    Raises:
        InputError: another shortcut.
    """

    folds = True
    stages = ("layer1", "layer2", "layer3")

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int] = (16, 16, 32, 64),
        channels: int = 3,
        shortcut: str = "pad-end",
    ) -> None:
        super().__init__()
        if shortcut not in SHORTCUTS:
            raise unknown("shortcut", shortcut, SHORTCUTS)
        self.shortcut = shortcut
        stem, *stage_widths = widths
        self.conv1 = nn.Conv2d(channels, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        before = stem
        for stage, (depth, width) in enumerate(zip(depths, stage_widths, strict=True), 1):
            blocks = []
            for block in range(depth):
                blocks.append(BasicBlock(before, width, 2 if stage > 1 and block == 0 else 1, shortcut))
                before = width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return x.mean((2, 3))
