"""The fast gradient sign method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.boundary.sampler import Attack, samplers
from amkd_viz.boundary.samples import (
    BoundarySamples,
    Passes,
    check_target,
    differentiable,
    logits_in,
    one_step,
    space_of,
)
from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.data.checks import check_inputs
from amkd_viz.models import freeze

__all__ = ["FGSM", "fgsm"]


def fgsm(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    epsilon: float = 8 / 255,
    keep_path: bool = False,
    check: bool = True,
) -> BoundarySamples:
    """Return x - epsilon sign(grad CE), the targeted fast gradient sign method (Goodfellow et al., arXiv 1412.6572).

    Args:
        x: (M, C, H, W) in [0, 1], or (M, 2).
        target: (M,) classes.
        epsilon: > 0, in pixel units of [0, 1] (L-infinity).
        keep_path: keep both iterates.
        check: check the values of ``x`` and ``target`` first (on a GPU the host waits).
    """
    if check and len(x):
        check_inputs(x)
    if not epsilon > 0:
        raise InputError(f"epsilon must be > 0, got {epsilon}.")
    here = space_of(model, x, "pixel", None)
    with freeze(model), torch.inference_mode(False), torch.enable_grad():
        start, target = x.detach().clone().requires_grad_(), differentiable(target)
        before = logits_in(here, start, grad=True)
        check_target(target, before, values=check)
        (g,) = torch.autograd.grad(F.cross_entropy(before, target, reduction="sum"), start)
        moved = here.clamp(start.detach() - epsilon * g.sign())
        return one_step(here, x, moved, before.detach(), target, Passes(2 * len(x), len(x)), keep_path)


@dataclass(frozen=True, repr=False)
class FGSM(Attack):
    """One signed gradient step towards the target class; see ``fgsm``."""

    function: ClassVar[Callable[..., BoundarySamples]] = staticmethod(fgsm)
    epsilon: float = option(8 / 255, "largest change of a pixel, in [0, 1]", low=1e-6, high=1.0)


samplers.add("fgsm", FGSM)
