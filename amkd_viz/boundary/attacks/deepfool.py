"""DeepFool, the nearest decision boundary of the linearised net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.boundary.sampler import Attack, samplers
from amkd_viz.boundary.samples import BoundarySamples, Passes, check_target, logits_in, space_of, status_of, whole
from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.data.checks import check_inputs
from amkd_viz.models import freeze

__all__ = ["DeepFool", "deepfool"]


def deepfool(
    model: nn.Module,
    x: Tensor,
    target: Tensor | None = None,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    keep_path: bool = False,
    check: bool = True,
) -> BoundarySamples:
    r"""Move to the nearest boundary of the linearised net: DeepFool, L2 (Moosavi-Dezfooli et al., arXiv 1511.04599).

    In each step the class l with the smallest :math:`|f_l - f_b| / \|w_l\|`, w_l = grad(f_l - f_b), is approached by
    :math:`(|f_l - f_b| / \|w_l\|^2)\, w_l`; the sum of the steps is scaled by 1 + ``overshoot``.

    Args:
        x: (M, C, H, W) in [0, 1], or (M, 2).
        target: (M,) to go to these classes only; None for the nearest of all. ``target`` of the result is the class
            in which the sample ended.
        steps: >= 1.
        overshoot: >= 0.
        keep_path: keep every iterate. check: check the values of ``x`` first.
    """
    if check and len(x):
        check_inputs(x)
    if steps < 1 or overshoot < 0:
        raise InputError(f"deepfool needs steps >= 1 and overshoot >= 0, got {steps} and {overshoot}.")
    steps = whole(steps, "steps")
    here = space_of(model, x, "pixel", None)
    shape = (-1,) + (1,) * (x.ndim - 1)
    with freeze(model), torch.inference_mode(False), torch.enable_grad():
        start = x.detach().clone()
        total = torch.zeros_like(start)
        before = logits_in(here, start)
        if target is not None:
            check_target(target, before)
        classes = before.shape[1]
        base = before.argmax(1)
        logits, outside, inside = before.clone(), start.clone(), start.clone()
        applied = torch.zeros_like(base)
        live = torch.arange(len(x), device=x.device)
        path = [start.clone()] if keep_path else []
        forward, backward = len(x), 0
        for _ in range(steps):
            if not len(live):  # host sync per step: live samples only
                break
            current = outside[live].requires_grad_()
            seen = logits_in(here, current, grad=True)
            b = base[live]
            gaps = seen - seen.gather(1, b[:, None])
            least = torch.full_like(gaps[:, 0], torch.inf).detach()
            shift: Tensor | float = 0.0
            # one class at a time: the gradients of all together would take samples x classes x pixels
            for column in [b.new_full(b.shape, k) for k in range(classes)] if target is None else [target[live]]:
                gap = gaps.gather(1, column[:, None])[:, 0]
                w = torch.autograd.grad(gap.sum(), current, retain_graph=True)[0]
                w = w.to(torch.promote_types(w.dtype, gaps.dtype))  # a norm in half precision can overflow or vanish
                backward += len(live)
                length = w.flatten(1).norm(dim=1).clamp_min(1e-12)
                distance = gap.detach().abs() / length
                if target is None:
                    distance = distance.masked_fill(column == b, torch.inf)
                nearer = (distance < least) | distance.isnan()
                least = torch.where(nearer, distance, least)
                shift = torch.where(nearer.view(shape), ((distance + 1e-6) / length).view(shape) * w, shift)
            forward += len(live)
            inside[live] = current.detach()
            total[live] += shift
            moved = here.clamp(start[live] + (1 + overshoot) * total[live])
            outside[live] = moved
            logits[live] = logits_in(here, moved)
            forward += len(live)
            applied[live] += 1
            if keep_path:
                path.append(outside.clone())
            live = live[logits[live].argmax(1) == b]
        inside[live] = outside[live]
    winner = logits.argmax(1)
    goal = winner.clone() if target is None else target.detach().clone()
    return BoundarySamples(
        x=outside,
        base=base,
        target=goal,
        status=status_of(winner, base, goal),
        steps=applied,
        path=torch.stack(path) if keep_path else None,
        passes=Passes(forward, backward),
        inside=inside,
        origin=start,
        logits=logits,
    )


@dataclass(frozen=True, repr=False)
class DeepFool(Attack):
    """DeepFool towards the target class; see ``deepfool``."""

    function: ClassVar[Callable[..., BoundarySamples]] = staticmethod(deepfool)
    static: ClassVar[bool] = False

    steps: int = option(10, "maximum number of attack steps", low=1, high=100)


samplers.add("deepfool", DeepFool)
