"""A convolution that will not learn any more: forward with what follows it, and back to its input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

__all__ = ["FrozenConv", "passed", "relu_back"]

# what PyTorch's CPU compiler calls too; None in a PyTorch without oneDNN
FUSED = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
TYPES = (torch.float32, torch.bfloat16)
ONE = 0x3F80  # the bits of 1 in bfloat16


class FrozenConv:
    """``conv``, "same" padding, on a CPU fused with sums, products and ReLUs.

    Kernels are cast to the type of what comes in, and flipped for the way back, once: not at each call.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        self.stride, self.channels = conv.stride[0], conv.in_channels
        self._made: dict[tuple[torch.dtype, str], tuple[tuple[int, int], Tensor]] = {}

    def __call__(self, x: Tensor, plus: Tensor | None = None, relu: bool = False) -> Tensor:
        """ReLU(conv(x) + plus)."""
        b = None if self.conv.bias is None else self._in(x.dtype, "bias")
        return _convolve(x, self._in(x.dtype, "weight"), b, self.stride, plus=plus, relu=relu)

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
            found = _convolve(g, self._in(g.dtype, "flipped"), None, 1, plus=plus, times=times)
            return found if through is None or times is not None else relu_back(found, through)
        assert before is not None
        found = conv2d_input(before.shape, self._in(g.dtype, "weight"), g, self.conv.stride, self.conv.padding)
        found = found if plus is None else found.add_(plus)
        return found if through is None else relu_back(found, through)

    def _in(self, dtype: torch.dtype, what: str) -> Tensor:
        source = getattr(self.conv, "bias" if what == "bias" else "weight").detach()
        now = (source.data_ptr(), source._version)
        then, made = self._made.get((dtype, what), (None, source))
        if then != now:
            made = source.to(dtype)
            if what == "flipped":
                made = made.flip(2, 3).transpose(0, 1)
            if what != "bias":
                made = made.contiguous(memory_format=torch.channels_last)
            self._made[dtype, what] = now, made
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
    stride: int,
    plus: Tensor | None = None,
    times: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """ReLU(conv(x) + plus), or conv(x) * times."""
    pad = w.shape[-1] // 2
    if FUSED is not None and x.device.type == "cpu" and x.dtype in TYPES:
        geometry = ([pad, pad], [stride, stride], [1, 1], 1)
        if plus is None and times is None:
            return FUSED.default(x, w, b, *geometry, "relu" if relu else "none", [], "")
        other, how = (times, "mul") if plus is None else (plus, "add")
        y = FUSED.binary(x, other, w, b, *geometry, how, 1.0, "relu" if relu else None, [], "")
        return y if plus is None or times is None else y.mul_(times)
    y = F.conv2d(x, w, b, stride, pad)
    y = y if plus is None else y.add_(plus)
    y = y if times is None else y.mul_(times)
    return y.relu_() if relu else y
