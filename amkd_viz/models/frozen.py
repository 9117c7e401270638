"""A folded CIFAR ResNet that will not learn any more: its forward pass, and the gradient of its input alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from amkd_viz.models.resnet import BasicBlock, ResNetBody

__all__ = ["FrozenResNet"]


class FrozenResNet(nn.Module):
    """What a ``ResNetBody`` with folded norms computes, (N, C, H, W) -> (N, D), in less time and memory.

    ReLUs and sums are part of the convolutions, and only the activations after a ReLU are kept for the backward pass:
    their signs are all that the gradient of the input needs. On a CPU, images whose gradient is zero are left out of
    the backward pass, so an attack may ask for all logits and pay only for the samples that are still on their way.

    Parameters get no gradient, whatever their flags say. Under autocast it runs in autocast's type.
    """

    stages = ()  # activations have no module of their own here, so there is nothing to tap

    def __init__(self, body: ResNetBody) -> None:
        super().__init__()
        self.body = body

    def forward(self, z: Tensor) -> Tensor:
        return _Pass.apply(z, self.body)

    @staticmethod
    def takes(body: ResNetBody) -> bool:
        """Whether ``body`` is such a net."""
        return type(body) is ResNetBody and all(isinstance(b.bn2, nn.Identity) for b in _blocks(body))


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, body: ResNetBody) -> Tensor:
        device = z.device.type
        ctx.body, ctx.entered = body, z.dtype
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else z.dtype
        with torch.autocast(device, enabled=False):
            x = _conv(z.to(ctx.dtype, memory_format=torch.channels_last), body.conv1, relu=True)
            kept = [x]
            for block in _blocks(body):
                h = _conv(x, block.conv1, relu=True)
                x = _conv(h, block.conv2, plus=_shortcut(block, x), relu=True)
                kept += [h, x]
            if ctx.needs_input_grad[0]:
                ctx.save_for_backward(*kept)
            return x.mean((2, 3))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        kept = ctx.saved_tensors
        with torch.autocast(g.device.type, enabled=False):
            if g.device.type != "cpu":  # a look at the rows would make the host wait
                return _input_gradient(ctx.body, g, kept).to(ctx.entered), None
            rows = g.ne(0).any(1).nonzero()[:, 0]
            if len(rows) == len(g):
                return _input_gradient(ctx.body, g, kept).to(ctx.entered), None
            found = g.new_zeros(len(g), *kept[0].shape[2:], ctx.body.conv1.in_channels).permute(0, 3, 1, 2)
            if len(rows):
                found[rows] = _input_gradient(ctx.body, g[rows], [_rows(x, rows) for x in kept])
            return found.to(ctx.entered), None


def _input_gradient(body: ResNetBody, g: Tensor, kept: Any) -> Tensor:
    """Back through the net: ``g`` (N, D), and what stood after each ReLU."""
    x = kept[-1]
    g = (g / x[0, 0].numel())[:, :, None, None].expand_as(x).contiguous(memory_format=torch.channels_last)
    blocks = list(_blocks(body))
    for number, block in reversed(list(enumerate(blocks))):
        before, h, after = kept[2 * number : 2 * number + 3]
        g = _relu_back(g, after)
        inner = _relu_back(_conv_back(g, block.conv2, h), h)
        g = _conv_back(inner, block.conv1, before, plus=_shortcut_back(block, g, before))
    return _conv_back(_relu_back(g, kept[0]), body.conv1, None)


def _blocks(body: ResNetBody) -> Iterator[BasicBlock]:
    for stage in body.stages:
        yield from body.get_submodule(stage)  # type: ignore[misc]


def _rows(x: Tensor, rows: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)[rows].permute(0, 3, 1, 2)  # stays channels_last


def _shortcut(block: BasicBlock, x: Tensor) -> Tensor:
    if block.downsample is not None:
        return _conv(x, block.downsample[0])  # type: ignore[index]
    if block.stride == 1 and not block.extra:
        return x
    x = F.pad(x[:, :, :: block.stride, :: block.stride], (0, 0, 0, 0, 0, block.extra))
    return x.contiguous(memory_format=torch.channels_last)


def _shortcut_back(block: BasicBlock, g: Tensor, before: Tensor) -> Tensor:
    if block.downsample is not None:
        return _conv_back(g, block.downsample[0], before)  # type: ignore[index]
    if block.stride == 1 and not block.extra:
        return g
    back = torch.zeros_like(before)
    back[:, :, :: block.stride, :: block.stride] = g[:, : before.shape[1]]
    return back


def _relu_back(g: Tensor, after: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(g, after, 0)


def _conv_back(g: Tensor, conv: nn.Conv2d, before: Tensor | None, plus: Tensor | None = None) -> Tensor:
    """The gradient at a convolution's input, ``plus`` another one."""
    w = conv.weight.to(g.dtype)
    if conv.stride == (1, 1):  # is a convolution itself, and those can be fused with the sum
        back = w.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        return _convolve(g, back, None, 1, plus)
    assert before is not None
    found = conv2d_input(before.shape, w, g, conv.stride, conv.padding)
    return found if plus is None else found.add_(plus)


def _conv(x: Tensor, conv: nn.Conv2d, plus: Tensor | None = None, relu: bool = False) -> Tensor:
    w, b = conv.weight.to(x.dtype), None if conv.bias is None else conv.bias.to(x.dtype)
    return _convolve(x, w, b, conv.stride[0], plus, relu)


def _convolve(
    x: Tensor, w: Tensor, b: Tensor | None, stride: int, plus: Tensor | None = None, relu: bool = False
) -> Tensor:
    """ReLU(conv(x) + plus), "same" padding. PyTorch's CPU compiler calls the same fused operations."""
    pad = w.shape[-1] // 2
    if x.device.type == "cpu" and x.dtype in FUSED and hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        fused, geometry = torch.ops.mkldnn._convolution_pointwise, ([pad, pad], [stride, stride], [1, 1], 1)
        if plus is None:
            return fused(x, w, b, *geometry, "relu" if relu else "none", [], "")
        return fused.binary(x, plus, w, b, *geometry, "add", 1.0, "relu" if relu else None, [], "")
    y = F.conv2d(x, w, b, stride, pad)
    y = y if plus is None else y.add_(plus)
    return y.relu_() if relu else y


FUSED = (torch.float32, torch.bfloat16)
