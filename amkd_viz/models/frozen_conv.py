"""A convolution that will not learn any more: forward with what follows it, and back to its input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

__all__ = ["FrozenConv", "passed", "relu_back"]

# what PyTorch's CPU compiler calls too; None in a PyTorch without oneDNN
FUSED: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
PACK: Any = getattr(torch.ops.mkldnn, "_reorder_convolution_weight", None)
HALF = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)()  # not by every processor
TYPES = (torch.float32, torch.bfloat16) if HALF else (torch.float32,)
ONE = 0x3F80  # the bits of 1 in bfloat16


class FrozenConv:
    """``conv``, "same" padding, on a CPU fused with sums, products and ReLUs.

    Kernels are cast to the type of what comes in, flipped for the way back, and laid out as oneDNN wants them, once.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        self.stride, self.channels = conv.stride[0], conv.in_channels
        self._made: dict[tuple[torch.dtype, str], tuple[tuple[int, int], Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:  # a copy makes its own kernels
        return {**self.__dict__, "_made": {}}

    def __call__(self, x: Tensor, plus: Tensor | None = None, relu: bool = False) -> Tensor:
        """ReLU(conv(x) + plus)."""
        b = None if self.conv.bias is None else self._in(x, "bias")
        return _convolve(x, self._in(x, "weight"), b, self.conv, self.stride, plus=plus, relu=relu)

    def back(
        self, g: Tensor, before: Tensor | None = None, plus: Tensor | None = None, through: Tensor | None = None
    ) -> Tensor:
        """The gradient at the input.

        Args:
            g: the one at the output. before: of the input's shape; only strides ask for it.
            plus: another gradient at the input.
            through: of a ReLU before this convolution, what ``passed`` kept; then it is the gradient before that one.
        """
        if self.stride == 1:  # is a convolution itself
            times = _floats(through, g) if through is not None and through.dtype == torch.bool else None
            found = _convolve(g, self._in(g, "flipped"), None, self.conv, 1, plus=plus, times=times)
            through = through if times is None else None  # that was it
        else:
            assert before is not None
            found = conv2d_input(before.shape, self._in(g, "plain"), g, self.conv.stride, self.conv.padding)
            found = found if plus is None else found.add_(plus)
        return found if through is None else relu_back(found, through)

    def _in(self, x: Tensor, what: str) -> Tensor:
        """Bias or kernel in the type of ``x``; a "weight" or "flipped" one as ``_convolve`` wants it for ``x``."""
        source = self.conv.bias if what == "bias" else self.conv.weight
        assert source is not None
        now = (source.data_ptr(), source._version)
        then, made = self._made.get((x.dtype, what), (None, source))
        if then != now:
            made = source.detach().to(x.dtype)
            if what == "flipped":
                made = made.flip(2, 3).transpose(0, 1)
            if what != "bias":
                made = made.contiguous(memory_format=torch.channels_last)
            if what in ("weight", "flipped") and _fuses(x):
                stride = self.stride if what == "weight" else 1
                made = PACK(made, *_geometry(self.conv, stride), list(x.shape))
            self._made[x.dtype, what] = now, made
        return made


def passed(after: Tensor) -> Tensor:
    """What the gradient needs of a ReLU, ``after`` having come out of it.

    On a CPU a byte per number, whether it is positive: a quarter of the memory, and quicker to pick rows of. On a GPU,
    where that would need kernels of its own, ``after`` itself.
    """
    if after.device.type != "cpu":
        return after
    return (after.view(torch.int16) if after.dtype == torch.bfloat16 else after).bool()  # torch is slow with bfloat16


def relu_back(g: Tensor, through: Tensor) -> Tensor:
    """The gradient before a ReLU; ``g`` may be overwritten."""
    if through.dtype == torch.bool:
        return g.mul_(_floats(through, g))
    return torch.ops.aten.threshold_backward(g, through, 0)


def _floats(through: Tensor, g: Tensor) -> Tensor:
    """0 and 1 in the type of ``g``; from bytes, which torch turns into numbers ten times faster than truth values."""
    bits = through.view(torch.uint8)
    if g.dtype == torch.bfloat16:
        return bits.to(torch.int16).mul_(ONE).view(torch.bfloat16)
    return bits.to(g.dtype)


def _convolve(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    like: nn.Conv2d,
    stride: int,
    plus: Tensor | None = None,
    times: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """ReLU(conv(x) + plus), or (conv(x) + plus) * times; padding and kernel size are those of ``like``."""
    if _fuses(x):
        geometry = _geometry(like, stride)
        if plus is None and times is None:
            return FUSED.default(x, w, b, *geometry, "relu" if relu else "none", [], "")
        other, how = (times, "mul") if plus is None else (plus, "add")
        y = FUSED.binary(x, other, w, b, *geometry, how, 1.0, "relu" if relu else None, [], "")
        return y if plus is None or times is None else y.mul_(times)
    y = F.conv2d(x, w, b, stride, like.padding)
    y = y if plus is None else y.add_(plus)
    y = y if times is None else y.mul_(times)
    return y.relu_() if relu else y


def _fuses(x: Tensor) -> bool:
    return FUSED is not None and x.device.type == "cpu" and x.dtype in TYPES


def _geometry(conv: nn.Conv2d, stride: int) -> tuple[Any, Any, Any, int]:
    """Padding, stride, dilation and groups."""
    return conv.padding, (stride, stride), (1, 1), 1
