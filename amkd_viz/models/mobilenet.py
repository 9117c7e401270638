"""MobileNetV2 (Sandler et al., CVPR 2018, arXiv 1801.04381) with strides for small images (no early 4x cut)."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["MobileNetV2Body"]

# expansion, width, repeats, stride: the paper's table 2; the first two strides of 2 become 1 below 64 pixels
TABLE = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def conv_bn(
    width_in: int, width: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    layers = [nn.Conv2d(width_in, width, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, *([nn.ReLU6()] if act else []))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 linear projection; a skip where shapes agree."""

    def __init__(self, width_in: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width_in * expansion
        expand = [conv_bn(width_in, inner, 1)] if expansion != 1 else []
        self.path = nn.Sequential(
            *expand, conv_bn(inner, inner, 3, stride, groups=inner), conv_bn(inner, width, 1, act=False)
        )
        self.skip = stride == 1 and width_in == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x) if self.skip else self.path(x)


class MobileNetV2Body(nn.Module):
    """(N, C, H, W) -> (N, 1280 * widen)."""

    def __init__(self, channels: int = 3, side: int = 32, widen: float = 1.0) -> None:
        super().__init__()
        scaled = [(t, int(c * widen), n, s) for t, c, n, s in TABLE]
        before = int(32 * widen)
        self.stem = conv_bn(channels, before, 3, 2 if side >= 64 else 1)
        for number, (expansion, width, repeats, stride) in enumerate(scaled, 1):
            blocks = []
            for repeat in range(repeats):
                step = stride if repeat == 0 and side > 1 else 1
                blocks.append(InvertedResidual(before, width, step, expansion))
                side, before = -(-side // step), width
            self.add_module(f"stage{number}", nn.Sequential(*blocks))
        self.last = conv_bn(before, int(1280 * widen), 1)
        self.stages = tuple(f"stage{number}" for number in range(1, len(TABLE) + 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.last(x).mean((2, 3))
