"""An MLP for points or flattened images, and a plain CNN for digits."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

__all__ = ["CNNBody", "MLPBody"]


class MLPBody(nn.Sequential):
    """``depth`` hidden ReLU layers of ``width`` units on the flattened input: (N, ...) -> (N, width)."""

    def __init__(self, shape: tuple[int, ...], width: int, depth: int) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        before = prod(shape)
        for _ in range(depth):
            layers += [nn.Linear(before, width), nn.ReLU()]
            before = width
        super().__init__(*layers)
        self.stages = tuple(str(i) for i, layer in enumerate(layers) if isinstance(layer, nn.ReLU))


class CNNBody(nn.Module):
    """Two or three 3x3 conv-bn-relu stages, halving the map, then global average pooling: (N, C, H, W) -> (N, D)."""

    def __init__(self, widths: tuple[int, ...], channels: int = 3) -> None:
        super().__init__()
        before = channels
        for number, width in enumerate(widths, 1):
            stage = nn.Sequential(
                nn.Conv2d(before, width, 3, 1 if number == 1 else 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
            self.add_module(f"stage{number}", stage)
            before = width
        self.stages = tuple(name for name, _ in self.named_children())

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return x.mean((2, 3))
