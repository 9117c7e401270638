"""Particles around samples that climb the loss and keep apart (TALD, WACV 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.boundary.sampler import Attack, samplers
from amkd_viz.boundary.samples import BoundarySamples, Passes, check_target, logits_in, one_step, space_of
from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.data.checks import check_inputs
from amkd_viz.models import freeze

__all__ = ["Nudges", "Particles", "nudges", "particles"]


def drift(z: Tensor, score: Tensor, sigma: float) -> Tensor:
    """Return the direction (N, D) of each particle: the mean score of its neighbours, and away from them.

    Args:
        z: (N, D) particles. score: (N, D) gradients. sigma: width of the kernel; 0: by the median distance.
    """
    apart = z[:, None] - z[None]
    squared = apart.square().sum(2)
    width = squared.median() / (2 * torch.log(torch.tensor(len(z) + 1.0))) if sigma == 0 else sigma**2
    g = 1 / (1e-8 + 2 * width)
    kernel = (-g * squared).exp()
    return (kernel @ score + 2 * g * (kernel[..., None] * apart).sum(1)) / len(z)


def particles(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    epsilon: float = 0.031,
    length: float = 0.003,
    steps: int = 10,
    sigma: float = 0.0,
    start: Tensor | None = None,
    label: Tensor | None = None,
    generator: torch.Generator | None = None,
    keep_path: bool = False,
    check: bool = True,
) -> BoundarySamples:
    """Move one particle per sample up the loss of its predicted class, away from the others (Stein's method).

    With the released ``sigma=0.001`` particles do not see each other: all are further apart than the kernel reaches.

    Args:
        x: (M, C, H, W) in [0, 1], or (M, 2).
        target: (M,) classes, only used for the status.
        epsilon: radius of the ball (L-infinity). length: of a step. sigma: width of the kernel, 0: by the median.
        start: (M, ...) where the particles start, by default uniform in the ball. label: (M,) classes whose loss rises,
            by default the predicted ones.
        check: as in ``fgsm``.
    """
    if check and len(x):
        check_inputs(x)
    if not (epsilon > 0 and length > 0 and steps >= 1 and sigma >= 0):
        raise InputError(f"epsilon and length must be > 0, got {epsilon} and {length}.")
    here = space_of(model, x, "pixel", None)
    x = x.detach()
    with freeze(model), torch.inference_mode(False), torch.enable_grad():
        before = logits_in(here, x).detach()
        check_target(target, before, values=check)
        label = before.argmax(1) if label is None else label
        z = x + torch.empty_like(x).uniform_(-epsilon, epsilon, generator=generator) if start is None else start
        for _ in range(steps if len(x) else 0):
            z = z.detach().clone().requires_grad_()
            loss = F.cross_entropy(logits_in(here, z, grad=True), label, reduction="sum")
            (score,) = torch.autograd.grad(loss, z)
            way = drift(z.detach().flatten(1), score.flatten(1), sigma).reshape_as(z)
            z = here.clamp((z.detach() + length * way.sign()).clamp(x - epsilon, x + epsilon))
        passes = Passes((steps + 2) * len(x), steps * len(x))
        return one_step(here, x, z.detach(), before, target, passes, keep_path)


@dataclass(frozen=True, repr=False)
class Particles(Attack):
    """Particles that climb the loss and keep apart; see ``particles``."""

    function: ClassVar[Callable[..., BoundarySamples]] = staticmethod(particles)
    draws: ClassVar[bool] = True
    epsilon: float = option(0.031, "radius of the ball, in [0, 1]", low=1e-6, high=1.0)
    length: float = option(0.003, "length of a step, in [0, 1]", low=1e-6, high=1.0)
    steps: int = option(10, "number of steps", low=1, high=100)
    sigma: float = option(0.0, "width of the kernel; 0: by the median distance, .001 as released", low=0.0, high=10.0)


samplers.add("particles", Particles)


def _unit(d: Tensor) -> Tensor:
    """Return each row (M, D) as the released code normalises it: by its largest entry, then by its L2 norm."""
    d = d / (d.abs().amax(1, keepdim=True) + 1e-12)
    return d / (d.square().sum(1, keepdim=True) + 1e-6).sqrt()


def nudges(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    epsilon: float = 5e-4,
    reach: float = 10.0,
    sigma: float = 1e-3,
    space: str = "normalised",
    clamp: float | None = 2.5,
    start: Tensor | None = None,
    generator: torch.Generator | None = None,
    keep_path: bool = False,
    check: bool = True,
) -> BoundarySamples:
    """Move each sample by ``epsilon`` the way in which its prediction changes most nearby: TALD's step as released.

    With the released numbers all particles are too far apart to see each other, and each sample stays where it is, up
    to ``epsilon``.

    Args:
        x: (M, C, H, W) in [0, 1], or (M, 2). target: (M,) classes, only used for the status.
        epsilon: length of the step (L2). reach: how far away predictions are compared (L2). sigma: width of the kernel,
            0: by the median.
        space, clamp: see ``bss``. start: (M, ...) uniform draws in [-.5, .5], by default from the generator.
        check: as in ``fgsm``.
    """
    if check and len(x):
        check_inputs(x)
    if not (epsilon > 0 and reach > 0 and sigma >= 0):
        raise InputError(f"epsilon and reach must be > 0 and sigma >= 0, got {epsilon}, {reach} and {sigma}.")
    x = x.detach()
    here = space_of(model, x, space, clamp if x.ndim == 4 else None)
    with freeze(model), torch.inference_mode(False), torch.enable_grad():
        before = logits_in(here, here.enter(x)).detach()
        check_target(target, before, values=check)
        draws = torch.empty_like(x).uniform_(-0.5, 0.5, generator=generator) if start is None else start
        z, d, moved = here.enter(x), _unit(draws.flatten(1)).requires_grad_(), x
        if len(x):
            there = logits_in(here, z + reach * d.reshape_as(x), grad=True).softmax(1)
            (score,) = torch.autograd.grad(F.mse_loss(there, before.softmax(1)), d)
            way = _unit(drift(d.detach(), score, sigma)).reshape_as(x)
            moved = here.leave(here.clamp(z + epsilon * way)).detach()
        pixels = space_of(model, x, "pixel", None)
        return one_step(pixels, x, moved, before, target, Passes(3 * len(x), len(x)), keep_path)


@dataclass(frozen=True, repr=False)
class Nudges(Attack):
    """The step of TALD as released; see ``nudges``."""

    function: ClassVar[Callable[..., BoundarySamples]] = staticmethod(nudges)
    draws: ClassVar[bool] = True
    epsilon: float = option(5e-4, "length of the step (L2), normalised", low=1e-6, high=10.0)
    reach: float = option(10.0, "how far away predictions are compared (L2), normalised", low=1e-6, high=100.0)
    sigma: float = option(1e-3, "width of the kernel; 0: by the median distance", low=0.0, high=10.0)


samplers.add("particles-released", Nudges)
