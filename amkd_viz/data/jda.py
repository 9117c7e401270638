"""Fourteen operations on images, each applied with a probability: joint data augmentation (CCD, ACCV 2022).

As in the released code, with the arithmetic of Pillow, except that shear and rotation are bilinear.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CIFAR10", "CIFAR100", "OPERATIONS", "jda"]

GREY = 128.0
# The probability of each operation; operations in their order, each with its level k in 0 ... 9.
CIFAR10 = (
    0.5,
    "invert:0 rotate:2 shear_y:8 posterize:9 autocontrast:0 colour:3 sharpness:9 equalize:0 contrast:7 translate_y:3 "
    "brightness:6 solarize:2 translate_x:3 shear_x:8",
)
CIFAR100 = (
    0.3,
    "autocontrast:0 contrast:3 posterize:0 solarize:4 translate_y:8 shear_x:5 brightness:3 shear_y:0 translate_x:1 "
    "sharpness:5 invert:0 colour:4 equalize:0 rotate:3",
)
BITS = (8, 8, 7, 7, 6, 6, 5, 5, 4, 4)


def _between(low: float, high: float, level: int) -> float:
    return low + (high - low) * level / 9


def _blend(x: Tensor, plain: Tensor, sign: Tensor, level: int) -> Tensor:
    """Move from a plain image (factor 0) to this one (1) or beyond; Pillow cuts fractions off."""
    return (plain + (1 + sign * _between(0, 0.9, level)) * (x - plain)).clamp(0, 255).floor()


def _luminance(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x
    weights = torch.tensor([19595.0, 38470.0, 7471.0], device=x.device)[:, None, None]
    return (((weights * x).sum(1, keepdim=True) + 0x8000) / 65536).floor()


def colour(x: Tensor, sign: Tensor, level: int) -> Tensor:
    return _blend(x, _luminance(x), sign, level)


def contrast(x: Tensor, sign: Tensor, level: int) -> Tensor:
    return _blend(x, (_luminance(x).mean((1, 2, 3), keepdim=True) + 0.5).floor(), sign, level)


def brightness(x: Tensor, sign: Tensor, level: int) -> Tensor:
    return _blend(x, torch.zeros_like(x), sign, level)


def sharpness(x: Tensor, sign: Tensor, level: int) -> Tensor:
    kernel = torch.ones(1, 1, 3, 3, device=x.device)
    kernel[..., 1, 1] = 5
    smooth = x.clone()  # the border is left as it is
    inner = F.conv2d(x.flatten(0, 1)[:, None], kernel / 13)
    smooth[..., 1:-1, 1:-1] = (inner + 0.5).floor().reshape_as(x[..., 1:-1, 1:-1])
    return _blend(x, smooth, sign, level)


def invert(x: Tensor, sign: Tensor, level: int) -> Tensor:
    return 255 - x


def posterize(x: Tensor, sign: Tensor, level: int) -> Tensor:
    step = 2 ** (8 - BITS[level])
    return (x / step).floor() * step


def solarize(x: Tensor, sign: Tensor, level: int) -> Tensor:
    return torch.where(x < _between(256, 0, level), x, 255 - x)


def autocontrast(x: Tensor, sign: Tensor, level: int) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    scale = 255 / (high - low).clamp_min(1)
    return torch.where(high > low, (x * scale - low * scale + 1e-3).floor().clamp(0, 255), x)


def equalize(x: Tensor, sign: Tensor, level: int) -> Tensor:
    flat = x.flatten(2).long()
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.long, device=x.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    place = torch.arange(256, device=x.device) * (counts > 0)
    last = counts.gather(2, place.amax(2, keepdim=True))
    step = (flat.shape[2] - last) // 255
    before = counts.cumsum(2) - counts
    table = ((step // 2 + before) // step.clamp_min(1)).clamp_max(255)
    return torch.where(step[..., None] > 0, table.gather(2, flat).reshape_as(x).to(x.dtype), x)


def _moved(x: Tensor, rows: tuple[tuple[Tensor | float, ...], tuple[Tensor | float, ...]]) -> Tensor:
    """Return images whose place (x, y) in [-1, 1] shows the place ``rows`` (x, y, 1) of ``x``; outside is grey."""
    theta = torch.stack([torch.stack([torch.zeros(len(x), device=x.device) + v for v in row], 1) for row in rows], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return (F.grid_sample(x - GREY, grid, align_corners=False) + GREY).round()


def _flat(sign: Tensor) -> Tensor:
    return sign.flatten()


def shear_x(x: Tensor, sign: Tensor, level: int) -> Tensor:
    m = _flat(sign) * _between(0, 0.3, level) * x.shape[2] / x.shape[3]
    return _moved(x, ((1, m, m), (0, 1, 0)))


def shear_y(x: Tensor, sign: Tensor, level: int) -> Tensor:
    m = _flat(sign) * _between(0, 0.3, level) * x.shape[3] / x.shape[2]
    return _moved(x, ((1, 0, 0), (m, 1, m)))


def translate_x(x: Tensor, sign: Tensor, level: int) -> Tensor:
    whole = math.floor(_between(0, 0.453, level) * x.shape[3] + 0.5)
    return _moved(x, ((1, 0, _flat(sign) * 2 * whole / x.shape[3]), (0, 1, 0)))


def translate_y(x: Tensor, sign: Tensor, level: int) -> Tensor:
    whole = math.floor(_between(0, 0.453, level) * x.shape[2] + 0.5)
    return _moved(x, ((1, 0, 0), (0, 1, _flat(sign) * 2 * whole / x.shape[2])))


def rotate(x: Tensor, sign: Tensor, level: int) -> Tensor:
    angle, long = math.radians(_between(0, 30, level)), x.shape[2] / x.shape[3]
    c, s = math.cos(angle), math.sin(angle)  # always the same way round
    return _moved(x, ((c, -s * long, 0), (s / long, c, 0)))


OPERATIONS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    made.__name__: made
    for made in (
        *(shear_x, shear_y, translate_x, translate_y, rotate, colour, contrast, sharpness, brightness),
        *(posterize, solarize, invert, autocontrast, equalize),
    )
}


def jda(x: Tensor, generator: torch.Generator, policy: tuple[float, str] = CIFAR10) -> Tensor:
    """Return images (N, C, H, W), uint8, each through the operations of a policy with its probability."""
    p, chain, made = policy[0], policy[1].split(), x.float()
    draws = torch.rand(2, len(chain), len(x), 1, 1, 1, generator=generator, device=x.device)
    for word, applied, sign in zip(chain, draws[0] < p, draws[1], strict=True):
        name, _, level = word.partition(":")
        made = torch.where(applied, OPERATIONS[name](made, (sign < 0.5) * 2.0 - 1, int(level)), made)
    return made.clamp(0, 255).to(x.dtype)
