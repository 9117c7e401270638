"""Uniform noise, a control that does not use the decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.boundary.sampler import Attack, samplers
from amkd_viz.boundary.samples import BoundarySamples, Passes, check_target, logits_in, one_step, space_of
from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.data.checks import check_inputs
from amkd_viz.models import freeze

__all__ = ["Noise", "noise"]


def noise(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    epsilon: float = 8 / 255,
    generator: torch.Generator | None = None,
    keep_path: bool = False,
    check: bool = True,
) -> BoundarySamples:
    """Add uniform noise in [-epsilon, epsilon], clamped to the valid pixel range: a control without any boundary.

    Args:
        x: (M, C, H, W) in [0, 1], or (M, 2).
        target: (M,) classes, only used for the status.
        check: as in ``fgsm``.
    """
    if check and len(x):
        check_inputs(x)
    if not epsilon > 0:
        raise InputError(f"epsilon must be > 0, got {epsilon}.")
    here = space_of(model, x, "pixel", None)
    with freeze(model):
        before = logits_in(here, x.detach())
        check_target(target, before, values=check)
        shift = torch.empty_like(x).uniform_(-epsilon, epsilon, generator=generator)
        return one_step(here, x, here.clamp(x.detach() + shift), before, target, Passes(2 * len(x), 0), keep_path)


@dataclass(frozen=True, repr=False)
class Noise(Attack):
    """Uniform noise; see ``noise``."""

    function: ClassVar[Callable[..., BoundarySamples]] = staticmethod(noise)
    draws: ClassVar[bool] = True
    epsilon: float = option(8 / 255, "largest change of a pixel, in [0, 1]", low=1e-6, high=1.0)


samplers.add("noise", Noise)
