"""A folded CIFAR ResNet that will not learn any more: its forward pass, and the gradient of its input alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.models.frozen_conv import FrozenConv, passed, relu_back
from amkd_viz.models.resnet import BasicBlock, ResNetBody

__all__ = ["FrozenResNet"]


CACHED = 1 << 20  # numbers of an activation that goes through at once: 4 MB in float32


class FrozenResNet(nn.Module):
    """What a ``ResNetBody`` with folded norms computes, (N, C, H, W) -> (N, D), in less time and memory.

    ReLUs and sums are part of the convolutions. For the backward pass a CPU keeps one byte per activation, whether it
    is positive: that is all that the gradient of the input needs. Images whose gradient is zero are left out there, so
    an attack may ask for all logits and pay only for the samples that are still on their way.

    Parameters get no gradient, whatever their flags say. Under autocast it runs in autocast's type.
    """

    def __init__(self, body: ResNetBody) -> None:
        super().__init__()
        self.body = body
        self.stages = tuple(f"body.{name}" for name in body.stages)
        self._stem = FrozenConv(body.conv1)
        self._blocks = [_Block(m) for m in body.modules() if isinstance(m, BasicBlock)]  # as they run

    def forward(self, z: Tensor) -> Tensor:
        if any(m._forward_hooks for m in self.body.modules()):  # layers are asked for
            return self.body(z)
        return _Pass.apply(z, self._stem, self._blocks)

    @staticmethod
    def takes(body: ResNetBody) -> bool:
        """Whether ``body`` is such a net."""
        return type(body) is ResNetBody and all(
            isinstance(m.bn2, nn.Identity) for m in body.modules() if isinstance(m, BasicBlock)
        )


class _Block:
    """Two convolutions and what goes around them."""

    def __init__(self, block: BasicBlock) -> None:
        self.conv1, self.conv2 = FrozenConv(block.conv1), FrozenConv(block.conv2)
        self.down = None if block.downsample is None else FrozenConv(block.downsample[0])  # type: ignore[index]
        self.stride, self.padded = block.stride, block.padded

    def around(self, x: Tensor) -> Tensor:
        if self.down is not None:
            return self.down(x)
        if self.stride == 1 and not any(self.padded):
            return x
        x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.padded))
        return x.contiguous(memory_format=torch.channels_last)

    def around_back(self, g: Tensor, before: Tensor) -> Tensor:
        if self.down is not None:
            return self.down.back(g, before)
        if self.stride == 1 and not any(self.padded):
            return g
        first, back = self.padded[0], torch.zeros_like(before, dtype=g.dtype)
        back[:, :, :: self.stride, :: self.stride] = g[:, first : first + before.shape[1]]
        return back


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, stem: FrozenConv, blocks: list[_Block]) -> Tensor:
        device = z.device.type
        ctx.stem, ctx.blocks, ctx.entered, ctx.portion = stem, blocks, z.dtype, _portion(z, blocks)
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else z.dtype
        pooled, kept = [], []
        with torch.autocast(device, enabled=False):
            for part in z.split(ctx.portion):
                x = _filled(part) if device == "cpu" else part
                x = stem(x.to(dtype, memory_format=torch.channels_last), relu=True)
                for block in blocks:
                    h = block.conv1(x, relu=True)
                    kept += [passed(x), passed(h)] if ctx.needs_input_grad[0] else []
                    x = block.conv2(h, plus=block.around(x), relu=True)
                kept += [passed(x)] if ctx.needs_input_grad[0] else []
                pooled.append(x[: len(part)].mean((2, 3)))
        ctx.save_for_backward(*kept)
        return torch.cat(pooled)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        with torch.autocast(g.device.type, enabled=False):
            found = _on_gpu(ctx, g) if g.device.type != "cpu" else _of_rows(ctx, g)
            return found.to(ctx.entered), None, None


def _portion(z: Tensor, blocks: list[_Block]) -> int:
    """How many images go through together: on a CPU, as many as a cache holds."""
    if z.device.type != "cpu":
        return max(1, len(z))
    return max(1, CACHED // (blocks[0].conv2.channels * z.shape[2] * z.shape[3]))


def _missing(count: int) -> int:
    """Images to add, so that their number is one of few: oneDNN compiles kernels for each, and keeps a thousand of
    them, a megabyte each."""
    return -count % (8 if count > 16 else 4 if count > 4 else 1)


def _filled(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_zeros(_missing(len(x)), *x.shape[1:])]) if _missing(len(x)) else x


def _on_gpu(ctx: Any, g: Tensor) -> Tensor:
    return _input_gradient(ctx.stem, ctx.blocks, g, ctx.saved_tensors)  # a look at rows would make the host wait


def _of_rows(ctx: Any, g: Tensor) -> Tensor:
    """The input's gradient, computed for the rows of ``g`` that are not zero."""
    layers = 2 * len(ctx.blocks) + 1
    portions = [ctx.saved_tensors[i : i + layers] for i in range(0, len(ctx.saved_tensors), layers)]
    rows = g.ne(0).any(1).nonzero()[:, 0]
    if len(rows) == len(g) and len(portions) == 1:
        return _input_gradient(ctx.stem, ctx.blocks, _filled(g), portions[0])[: len(g)]
    side = portions[0][0].shape[2:]
    found = g.new_zeros(len(g), *side, ctx.stem.channels).permute(0, 3, 1, 2)  # channels_last
    for some in rows.split(ctx.portion) if len(rows) else ():
        some = torch.cat([some, some[-1:].expand(_missing(len(some)))])
        own = [(some[some // ctx.portion == number] % ctx.portion, part) for number, part in enumerate(portions)]
        kept = [
            torch.cat([part[layer].permute(0, 2, 3, 1)[at] for at, part in own if len(at)]).permute(0, 3, 1, 2)
            for layer in range(layers)
        ]
        found[some] = _input_gradient(ctx.stem, ctx.blocks, g[some], kept)
    return found


def _input_gradient(stem: FrozenConv, blocks: list[_Block], g: Tensor, kept: Any) -> Tensor:
    """Back through the net: ``g`` (N, D), and what was kept of each ReLU."""
    last = kept[-1]
    g = (g / last[0, 0].numel())[:, :, None, None].expand_as(last).contiguous(memory_format=torch.channels_last)
    g = relu_back(g, last)
    for number, block in reversed(list(enumerate(blocks))):
        before, h = kept[2 * number : 2 * number + 2]
        inner = block.conv2.back(g, through=h)
        g = block.conv1.back(inner, before, plus=block.around_back(g, before), through=before)
    return stem.back(g)
