"""Other ways across, or towards, a decision boundary. Each is one pure function that returns BoundarySamples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.boundary.samples import (
    BoundarySamples,
    Passes,
    Space,
    check_target,
    differentiable,
    logits_in,
    space_of,
    status_of,
)
from amkd_viz.core.errors import InputError
from amkd_viz.data.checks import check_inputs
from amkd_viz.models import freeze

__all__ = ["deepfool", "fgsm", "noise"]


def fgsm(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    epsilon: float = 8 / 255,
    keep_path: bool = False,
    check: bool = True,
) -> BoundarySamples:
    """Targeted fast gradient sign method (Goodfellow et al., ICLR 2015, arXiv 1412.6572): x - epsilon sign(grad CE).

    Args:
        x: (M, C, H, W) in [0, 1], or (M, 2).
        target: (M,) classes.
        epsilon: > 0, in pixel units of [0, 1] (L-infinity).
        keep_path: keep both iterates.
        check: look at the values of ``x`` and ``target`` first (on a GPU the host waits).
    """
    _check(x, check)
    _positive("epsilon", epsilon)
    here = space_of(model, x, "pixel", None)
    with freeze(model), torch.inference_mode(False), torch.enable_grad():
        start, target = x.detach().clone().requires_grad_(), differentiable(target)
        before = logits_in(here, start, grad=True)
        check_target(target, before, values=check)
        (g,) = torch.autograd.grad(F.cross_entropy(before, target, reduction="sum"), start)
        moved = here.clamp(start.detach() - epsilon * g.sign())
        return _one_step(here, x, moved, before.detach(), target, Passes(2 * len(x), len(x)), keep_path)


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
    """x plus uniform noise in [-epsilon, epsilon], clamped to the pixel box: the control that knows no boundary.

    Args:
        x: (M, C, H, W) in [0, 1], or (M, 2).
        target: (M,) classes, only used for the status.
        check: as in ``fgsm``.
    """
    _check(x, check)
    _positive("epsilon", epsilon)
    here = space_of(model, x, "pixel", None)
    with freeze(model):
        before = logits_in(here, x.detach())
        check_target(target, before, values=check)
        shift = torch.empty_like(x).uniform_(-epsilon, epsilon, generator=generator)
        return _one_step(here, x, here.clamp(x.detach() + shift), before, target, Passes(2 * len(x), 0), keep_path)


def deepfool(
    model: nn.Module,
    x: Tensor,
    target: Tensor | None = None,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    keep_path: bool = False,
) -> BoundarySamples:
    r"""DeepFool, L2 (Moosavi-Dezfooli et al., CVPR 2016, arXiv 1511.04599): to the linearised net's nearest boundary.

    In each step the class l with the smallest :math:`|f_l - f_b| / \|w_l\|`, w_l = grad(f_l - f_b), is approached by
    :math:`(|f_l - f_b| / \|w_l\|^2)\, w_l`; the sum of the steps is scaled by 1 + ``overshoot``.

    Args:
        x: (M, C, H, W) in [0, 1], or (M, 2).
        target: (M,) to go to these classes only; None for the nearest of all. ``target`` of the result is the class
            in which the sample ended.
        steps: >= 1.
        overshoot: >= 0.
        keep_path: keep every iterate.
    """
    _check(x)
    if steps < 1 or overshoot < 0:
        raise InputError(f"deepfool needs steps >= 1 and overshoot >= 0, not {steps} and {overshoot}.")
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
            rows = []
            wanted = range(classes) if target is None else [int(k) for k in target[live].unique()]
            for k in wanted:
                rows.append(torch.autograd.grad(gaps[:, k].sum(), current, retain_graph=True)[0])
            w = torch.stack(rows, 1)  # (live, wanted, ...)
            w = w.to(torch.promote_types(w.dtype, gaps.dtype))  # a norm in half precision can overflow or vanish
            forward, backward = forward + len(live), backward + len(live) * len(rows)
            length = w.flatten(2).norm(dim=2).clamp_min(1e-12)
            columns = torch.tensor(list(wanted), device=x.device)
            distance = gaps.detach()[:, columns].abs() / length
            allowed = columns[None] != b[:, None] if target is None else columns[None] == target[live][:, None]
            nearest = distance.masked_fill(~allowed, torch.inf).argmin(1)
            pick = torch.arange(len(live), device=x.device)
            shift = ((distance + 1e-6) / length)[pick, nearest].view(shape) * w[pick, nearest]
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


def _one_step(
    here: Space, x: Tensor, moved: Tensor, before: Tensor, target: Tensor, cost: Passes, keep_path: bool
) -> BoundarySamples:
    logits, base = logits_in(here, moved), before.argmax(1)
    stayed = (logits.argmax(1) == base).view((-1,) + (1,) * (x.ndim - 1))
    return BoundarySamples(
        x=moved,
        base=base,
        target=target.detach().clone(),
        status=status_of(logits.argmax(1), base, target),
        steps=torch.ones_like(target),
        path=torch.stack([x.detach(), moved]) if keep_path else None,
        passes=cost,
        inside=torch.where(stayed, moved, x.detach()),
        origin=x.detach().clone(),
        logits=logits,
    )


def _check(x: Tensor, wanted: bool = True) -> None:
    if wanted and len(x):  # an empty batch is a batch
        check_inputs(x)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{name} must be > 0, not {value}.")
