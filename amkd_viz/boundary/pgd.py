"""Projected gradient descent, the usual judge of robustness (Madry et al., ICLR 2018, arXiv 1706.06083)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.boundary.samples import as_logits, differentiable, whole
from amkd_viz.core.errors import InputError
from amkd_viz.core.pauses import pause_point
from amkd_viz.models import freeze

__all__ = ["robust"]


def robust(
    model: nn.Module, x: Tensor, y: Tensor, radius: float, *, steps: int = 10, generator: torch.Generator | None = None
) -> Tensor:
    """Return which samples an untargeted attack within an L-infinity ball leaves correctly classified, (N,) bool.

    Each step goes 2.5 ``radius`` / ``steps`` along the sign of the gradient of the cross-entropy and back into the
    ball; the attack starts at a random point of it. A sample counts as robust if the net is right on it and on every
    iterate.

    Args:
        x: (N, C, H, W) images in [0, 1], where the iterates stay, or (N, D) points.
        y: (N,) labels.
        radius: >= 0, in units of the input.
        steps: >= 1.
        generator: of the start, on the device of ``x``; by default the attack starts at ``x``.

    Raises:
        InputError: ``radius`` or ``steps`` is out of range.
    """
    if not radius >= 0 or steps < 1:
        raise InputError(f"The attack needs radius >= 0 and steps >= 1, got radius={radius}, steps={steps}.")
    steps = whole(steps, "steps")
    with freeze(model), torch.inference_mode(False), torch.enable_grad():
        x, y = differentiable(x.detach()), differentiable(y)

        def inside(z: Tensor) -> Tensor:
            z = torch.clamp(z, x - radius, x + radius)
            return z.clamp(0, 1) if x.ndim == 4 else z

        z = x
        if generator is not None:
            z = inside(x + radius * (2 * torch.rand(x.shape, generator=generator, device=x.device) - 1))
        with torch.no_grad():
            right = as_logits(model(x)).argmax(1) == y
        for step in range(steps + 1):
            pause_point()
            z = z.detach().requires_grad_(step < steps)
            logits = as_logits(model(z))
            right &= logits.argmax(1) == y
            if step < steps:
                (g,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), z)
                z = inside(z.detach() + 2.5 * radius / steps * g.sign())
    return right
