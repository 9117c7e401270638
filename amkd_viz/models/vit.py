"""A small vision transformer (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929) for images of 8 to 64 pixels.

Pre-norm blocks, learned positions, and the mean over all tokens instead of a class token (Beyer et al., arXiv
2205.01580). An image is cut into some 8 x 8 patches, whatever its size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ViTBody"]

SIDE = 8  # patches along the shorter side


class Block(nn.Module):
    """Self-attention and a two-layer perceptron, each behind a layer norm and beside a skip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        x = x + self.project(attended)
        return x + self.mlp(self.norm2(x))


class ViTBody(nn.Module):
    """(N, C, H, W) -> (N, width).

    Args:
        shape: (C, H, W). width: of a token, a multiple of ``heads``. depth: blocks, in three stages. heads: of a block.
    """

    stages = ("stage1", "stage2", "stage3")

    def __init__(self, shape: tuple[int, ...], width: int, depth: int, heads: int) -> None:
        super().__init__()
        channels, height, wide = shape
        patch = max(1, min(height, wide) // SIDE)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (height // patch) * (wide // patch), width))
        for number, stage in enumerate(self.stages):
            blocks = depth // 3 + (number < depth % 3)
            self.add_module(stage, nn.Sequential(*(Block(width, heads) for _ in range(blocks))))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.norm(x).mean(1)
