"""Wide residual networks (Zagoruyko & Komodakis, BMVC 2016, arXiv 1605.07146): pre-activation, 6 n + 4 layers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["WideResNetBody"]


class WideBlock(nn.Module):
    """bn-relu-conv-bn-relu-conv + shortcut; a 1x1 convolution where the width or the stride changes."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False) if width_in != width or stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        return skip + self.conv2(F.relu(self.bn2(self.conv1(y))))


class WideResNetBody(nn.Module):
    """(N, C, H, W) -> (N, 64 * widen). ``depth`` is 6 n + 4."""

    stages = ("block1", "block2", "block3")

    def __init__(self, depth: int, widen: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        before = 16
        for stage in range(3):
            width = 16 * 2**stage * widen
            blocks = [
                WideBlock(before if i == 0 else width, width, 2 if stage and i == 0 else 1)
                for i in range((depth - 4) // 6)
            ]
            self.add_module(f"block{stage + 1}", nn.Sequential(*blocks))
            before = width
        self.bn = nn.BatchNorm2d(before)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return F.relu(self.bn(x)).mean((2, 3))
