"""Boundary supporting samples: Heo, Lee, Yun, Choi, "Knowledge Distillation with Adversarial Samples Supporting
Decision Boundary", AAAI 2019, arXiv 1805.05532, section 3.1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.boundary.sampler import Attack, samplers
from amkd_viz.boundary.samples import (
    BoundarySamples,
    Passes,
    check_target,
    differentiable,
    logits_in,
    space_of,
    status_of,
    whole,
)
from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.core.pauses import pause_point
from amkd_viz.data.checks import check_inputs
from amkd_viz.models import freeze

__all__ = ["BSS", "bss"]


def bss(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    step_size: float | Tensor = 0.3,
    steps: int = 10,
    step_rule: str = "gap",
    space: str = "normalised",
    clamp: float | tuple[float, float] | None = None,
    keep_path: bool = False,
    eps: float = 1e-4,
    compact: bool | None = None,
    check: bool = True,
) -> BoundarySamples:
    r"""Push each sample towards its target class until it has just left its base class.

    With f the logits, b the class of x_0 and k the target, an update is

    .. math:: x \leftarrow \mathrm{clamp}\bigl(x + a\,(f_b(x) - f_k(x) + \epsilon)\, g / \|g\|_2^{p}\bigr),
              \quad g = \nabla_x (f_k - f_b)

    with p = 1 for ``step_rule="gap"`` (as published) and p = 2 for ``step_rule="newton"`` (Newton). A sample that
    has left b is frozen, whatever class it landed in, so the result is the first iterate *past* the boundary. There is
    no epsilon ball: the step follows the logit gap, hence the scale of the logits and the space. The published
    a = 0.3 belongs to the normalised space.

    Args:
        model: the net to attack; evaluated in eval mode, and left as it was (flags, gradients, statistics). In the
            normalised space a compiled classifier is used as it was before torch.compile.
        x: (M, C, H, W) images in [0, 1], or (M, 2) points. M may be 0.
        target: (M,) class to move to; a sample whose target is its own class is returned where it is.
        step_size: a > 0; a scalar tensor is not checked, so that an exported attack can take it as an input.
        steps: at most this many updates, >= 1.
        space: "normalised" (the net's own normalisation) or "pixel".
        clamp: None for the valid pixel range (images; points have none); a number c for [-c, c] in ``space``. The
            published code clamps to 2.5 in the normalised space, which can leave [0, 1] by a few hundredths.
        keep_path: keep every iterate.
        compact: compute only samples that are still on their way (a host sync per step); default: on CPU only, since
            static shapes are faster on a GPU.
        check: check the values of ``x`` and ``target`` first (on a GPU, a few syncs).

    Raises:
        InputError: x is not in [0, 1] or not finite, shapes disagree, or an option is out of range.
    """
    if check and len(x):
        check_inputs(x)
    if step_rule not in ("gap", "newton"):
        raise InputError(f"step_rule must be 'gap' or 'newton', got {step_rule!r}.")
    if isinstance(step_size, str):
        raise InputError(f"step_size must be a number here, got {step_size!r}; calibrate(net, x) returns one.")
    if not (isinstance(step_size, Tensor) or step_size > 0) or steps < 1:
        raise InputError(f"The attack needs step_size > 0 and steps >= 1, got step_size={step_size}, steps={steps}.")
    steps = whole(steps, "steps")
    here = space_of(model, x, space, clamp)
    compact = x.device.type == "cpu" if compact is None else compact
    power = 1 if step_rule == "gap" else 2
    shape = (-1,) + (1,) * (x.ndim - 1)

    with freeze(model), torch.inference_mode(False), torch.enable_grad():
        z, target = here.enter(differentiable(x.detach())), differentiable(target)
        inside, applied = z.clone(), torch.zeros_like(target)
        path = [z.clone()] if keep_path else []
        live: Tensor | slice = torch.arange(len(x), device=x.device) if compact else slice(None)
        forward = backward = 0
        for step in range(steps + 1):
            pause_point()
            last = step == steps  # after the last update the net looks once more, for status and logits
            current = z[live].detach().requires_grad_(not last)
            seen = logits_in(here, current, grad=not last)
            forward += len(current)
            if step == 0:
                check_target(target, seen, values=check)
                logits = seen.detach().clone()
                base = logits.argmax(1)
            else:
                logits[live] = seen.detach()
            b, k = base[live], target[live]
            alive = (seen.argmax(1) == b) & (b != k)
            if last or (compact and not alive.any()):
                inside[live] = torch.where(alive.view(shape), current.detach(), inside[live])
                break
            gap = (seen.gather(1, b[:, None]) - seen.gather(1, k[:, None]))[:, 0]
            (g,) = torch.autograd.grad(-gap.sum(), current)
            backward += int(alive.sum()) if compact else len(current)
            current, gap = current.detach(), gap.detach()
            if compact:
                live, current, gap, g, alive = live[alive], current[alive], gap[alive], g[alive], alive[alive]  # type: ignore[index]
            g = g.to(torch.promote_types(g.dtype, gap.dtype))  # a norm in half precision can overflow or vanish
            length = alive * step_size * (gap + eps) / g.flatten(1).norm(dim=1).clamp_min(1e-12) ** power
            inside[live] = torch.where(alive.view(shape), current, inside[live])
            moved = here.clamp(current + length.view(shape) * g).to(z.dtype)
            z[live] = torch.where(alive.view(shape), moved, current)
            applied[live] += alive
            if keep_path:
                path.append(z.clone())

    return BoundarySamples(
        x=here.leave(z),
        base=base,
        target=target.detach().clone(),
        status=status_of(logits.argmax(1), base, target),
        steps=applied,
        path=torch.stack([here.leave(p) for p in path]) if keep_path else None,
        passes=Passes(forward, backward),
        inside=here.leave(inside),
        origin=x.detach().clone(),
        logits=logits,
    )


@dataclass(frozen=True, repr=False)
class BSS(Attack):
    """Boundary supporting samples; see ``bss``."""

    function: ClassVar[Callable[..., BoundarySamples]] = staticmethod(bss)
    step_size: float | str = option(
        0.3, "step size a, in the normalised space; a recipe may say auto", low=1e-3, high=10.0, words=("auto",)
    )
    steps: int = option(10, "maximum number of attack steps", low=1, high=100)
    step_rule: str = option("gap", "gap (published code) or newton (the paper's formula)", choices=("gap", "newton"))
    space: str = option("normalised", "space in which the attack moves", choices=("normalised", "pixel"))


samplers.add("bss", BSS)
