"""VGG with batch norm (Simonyan & Zisserman, ICLR 2015, arXiv 1409.1556) for small images, as in distillation papers.

2x2 max pooling follows a stage while the map is larger than one pixel, so 8x8 digits pass as well as 64x64 images.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["VGG_STAGES", "VGGBody"]

VGG_STAGES: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg8": ((64,), (128,), (256,), (512,), (512,)),
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "vgg13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "vgg16": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGGBody(nn.Module):
    """(N, C, H, W) -> (N, 512)."""

    def __init__(self, name: str, channels: int = 3, side: int = 32) -> None:
        super().__init__()
        before, self.poolings = channels, min(4, side.bit_length() - 1)  # while a map is larger than one pixel
        for number, widths in enumerate(VGG_STAGES[name]):
            layers: list[nn.Module] = []
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                before = width
            self.add_module(f"stage{number + 1}", nn.Sequential(*layers))
        self.stages = tuple(name for name, _ in self.named_children())

    def forward(self, x: Tensor) -> Tensor:
        for number, stage in enumerate(self.stages):
            x = self.get_submodule(stage)(x)
            x = F.max_pool2d(x, 2) if number < self.poolings else x
        return x.mean((2, 3))
