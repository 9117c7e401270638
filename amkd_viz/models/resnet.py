"""ResNets for small images: a 3x3 stem, then three stages of basic blocks (He et al., CVPR 2016, arXiv 1512.03385,
section 4.2), or the four stages of the paper's ImageNet nets, as in kuangliu/pytorch-cifar.

``resnet8 .. resnet110`` use widths 16/32/64, ``resnet8x4`` and ``resnet32x4`` start at 32 and go to 64/128/256.
Between stages the shortcut is a strided sub-sampling, zero-padded in channels at the end ("pad-end", as in BSS, arXiv
1805.05532) or half before and half after ("pad-both", as in akamaster/pytorch_resnet_cifar10), or a 1x1 convolution
("conv"). The first two have no parameters, so weights do not tell them apart. ``resnet18``, ``resnet34`` and
``resnet50`` have four stages of widths 64 to 512 and the shortcut "conv"; ``resnet18-pool`` and so on have the max pool
of the ImageNet nets behind the stem, as in huyvnphan/PyTorch_CIFAR10, and the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import unknown

__all__ = ["SHORTCUTS", "BasicBlock", "Bottleneck", "ResNetBody"]

SHORTCUTS = ("pad-end", "pad-both", "conv")


class BasicBlock(nn.Module):
    """conv-bn-relu-conv-bn + shortcut, then ReLU."""

    folds = True  # children are listed in the order in which they run: conv -> bn pairs may be folded
    expansion = 1

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


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions + shortcut, then ReLU: four times as many channels leave as are inside."""

    folds = True
    expansion = 4

    def __init__(self, width_in: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        out = self.expansion * width
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or width_in != out:
            self.downsample = nn.Sequential(nn.Conv2d(width_in, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y.add_(x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNetBody(nn.Module):
    """Stem and stages, then global average pooling: (N, C, H, W) -> (N, D).

    Args:
        depths: blocks per stage; 6 n + 2 layers for n basic blocks in each of three stages.
        widths: stem width, then the width of each stage.
        channels: C of the input.
        shortcut: one of ``SHORTCUTS``; bottlenecks have "conv".
        block: BasicBlock or Bottleneck.
        pool: whether a max pool halves the size behind the stem.

    Raises:
        InputError: another shortcut.
    """

    folds = True

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int] = (16, 16, 32, 64),
        channels: int = 3,
        shortcut: str = "pad-end",
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
        pool: bool = False,
    ) -> None:
        super().__init__()
        if shortcut not in SHORTCUTS:
            raise unknown("shortcut", shortcut, SHORTCUTS)
        self.shortcut, self.pool = shortcut, pool
        self.stages = tuple(f"layer{stage}" for stage in range(1, len(depths) + 1))
        stem, *stage_widths = widths
        self.conv1 = nn.Conv2d(channels, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        before = stem
        for stage, (depth, width) in enumerate(zip(depths, stage_widths, strict=True), 1):
            blocks = []
            for number in range(depth):
                blocks.append(block(before, width, 2 if stage > 1 and number == 0 else 1, shortcut))
                before = block.expansion * width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return x.mean((2, 3))
