"""Build it yourself: checkers of functions that a reader writes, and what goes on with these functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.boundary.samples import Passes, status_of
from amkd_viz.data import Dataset
from amkd_viz.models import freeze
from amkd_viz.objectives import Term, ce, linear, methods, terms
from amkd_viz.objectives.losses.soft_targets import soft_cross_entropy
from amkd_viz.objectives.losses.triplets import negatives_of
from amkd_viz.objectives.metric import triplet_hinge
from amkd_viz.training import SPIRALS, Recipe
from amkd_viz.views import View
from exercises.checking import LookAgain, NotAnswered, check, exercise

__all__ = ["hinge_losses", "walk", "with_kd"]

Function = Callable[..., Any]
MARGINS = (0.0, 0.5, 1.0, 2.0, 4.0)
DIGITS = 1e-4  # relative tolerance of every comparison


def hidden(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def compared(function: Any, inputs: tuple[Any, ...], right: Tensor, mistakes: dict[str, Tensor]) -> None:
    """Raise unless ``function(*inputs)`` is ``right``; name the mistake whose value it has."""
    if not callable(function):
        raise LookAgain(f"give the function itself, not {type(function).__name__}.")
    value = function(*inputs)
    if value is None or value is ...:
        raise NotAnswered
    if not isinstance(value, Tensor):
        raise LookAgain(f"return a tensor, not {type(value).__name__}.")
    if value.shape != right.shape:
        raise LookAgain(f"the result must have the shape {tuple(right.shape)}, got {tuple(value.shape)}.")
    if torch.allclose(value, right, rtol=DIGITS, atol=1e-6):
        return
    for words, wrong in mistakes.items():
        if wrong.shape == value.shape and torch.allclose(value, wrong, rtol=DIGITS, atol=1e-6):
            raise LookAgain(words)
    ratio = (value / right).flatten()
    if torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-3):
        raise LookAgain(f"every value is {float(ratio[0]):.3g} times the right one: a factor is off.")
    raise LookAgain(
        f"on hidden inputs the first value is {value.flatten()[0]:.4f} and should be {right.flatten()[0]:.4f}."
    )


@exercise(
    "00.a",
    "Write my_kd(student, teacher, t): for each row of logits (N, K) the cross-entropy H(p, q) = -sum_k p_k log q_k of "
    "the two softmaxes at temperature t, the teacher's as p. Return (N,).",
    (
        "Divide both logits by t first. torch has .softmax(1) and .log_softmax(1).",
        "p = (teacher / t).softmax(1) and log q = (student / t).log_softmax(1); what is left is a sum over dim 1.",
    ),
)
def kd_loss(answer: Any) -> str:
    student, teacher, t = 2 * hidden(6, 5), 2 * hidden(6, 5, seed=1), 3.0
    right = soft_cross_entropy(teacher, student, t)
    p, log_q = (teacher / t).softmax(1), (student / t).log_softmax(1)
    mistakes = {
        "the sign is off: a cross-entropy is positive.": -right,
        "the temperature is missing: divide both logits by t.": soft_cross_entropy(teacher, student, 1.0),
        "the temperature is on the teacher's side only: divide the student's logits by t too.": -(
            p * student.log_softmax(1)
        ).sum(1),
        "the temperature is on the student's side only: divide the teacher's logits by t too.": -(
            teacher.softmax(1) * log_q
        ).sum(1),
        "you multiply the logits by t; a temperature above 1 softens, so it divides.": soft_cross_entropy(
            teacher * t, student * t, 1.0
        ),
        "teacher and student are exchanged: the teacher gives p.": soft_cross_entropy(student, teacher, t),
        "that is the mean over the classes; take the sum.": right / 5,
        "that is KL(p, q): H(p, q) without the entropy of p. Its gradient is the same, its value is not.": (
            p * (p.log() - log_q)
        ).sum(1),
        "you take the probabilities of the student, not their logarithm.": -(p * log_q.exp()).sum(1),
        "the factor t^2 belongs to some recipes, not to this one.": t**2 * right,
    }
    compared(answer, (student, teacher, t), right, mistakes)
    return "equal to the library's loss on hidden logits. The next cell trains a student with yours."


@exercise(
    "02.a",
    "Write my_step(x, gap, g, a): the next iterate of the attack, x + a * gap * g / ||g||, for rows x and g (N, D), "
    "gaps (N,) and a number a. Return (N, D).",
    (
        "The norm is one number per row: g.norm(dim=1).",
        "A number per row becomes a column by [:, None], so that it multiplies each entry of its row.",
    ),
)
def attack_step(answer: Any) -> str:
    x, g, gap, a = hidden(5, 4), 3 * hidden(5, 4, seed=1), hidden(5, seed=2).abs() + 0.5, 0.3
    way, norm = g * (a * gap)[:, None], g.norm(dim=1)[:, None]
    mistakes = {
        "the sign is off: g points to the target class, so the step is added.": x - way / norm,
        "the norm is missing: divide g by its length.": x + way,
        "that is the Newton step: you divide by the squared norm, the published code by the norm.": x + way / norm**2,
        "the norm is that of the whole batch: take one per row, dim=1.": x + way / g.norm(),
        "the logit gap is missing: far from the boundary the steps are longer.": x + a * g / norm,
        "the step size a is missing.": x + gap[:, None] * g / norm,
        "that is the step alone: add x.": way / norm,
        "that is the sign of the gradient, as in FGSM; here its direction counts.": x + (a * gap)[:, None] * g.sign(),
    }
    compared(answer, (x, gap, g, a), x + way / norm, mistakes)
    return "equal to the library's step on hidden inputs. The next cell attacks with yours."


@exercise(
    "03.a",
    "Write my_hinge(d_ap, d_an, m): for each anchor the mean over its negatives of [d(a, p) - d(a, n) + m]_+. d_ap is "
    "(N,), d_an (N, M). Return (N,).",
    (
        "[.]_+ is .clamp(min=0), and it comes before the mean.",
        "d_ap[:, None] - d_an + m has a row per anchor; clamp it, then take the mean over dim 1.",
    ),
)
def hinge_loss(answer: Any) -> str:
    d_ap, d_an, m = hidden(6).abs(), 1 + hidden(6, 7, seed=1).abs() * 0.8, 0.5
    bracket = d_ap[:, None] - d_an + m
    zero = bracket.clamp(min=0)
    right = torch.stack(
        [
            triplet_hinge(p[None], n[None], torch.ones(1, 7, dtype=torch.bool), m)[0]
            for p, n in zip(d_ap, d_an, strict=True)
        ]
    )
    mistakes = {
        "the sign is off: the positive adds to the loss, the negative lowers it.": (-bracket + 2 * m)
        .clamp(min=0)
        .mean(1),
        "the margin has the wrong sign.": (bracket - 2 * m).clamp(min=0).mean(1),
        "the margin is missing.": (bracket - m).clamp(min=0).mean(1),
        "the bracket is not cut off at 0: a negative beyond the margin earns nothing.": bracket.mean(1),
        "cut off at 0 first, then take the mean.": bracket.mean(1).clamp(min=0),
        "that is the mean over the active triplets; the zeros count as well.": zero.sum(1)
        / (bracket > 0).sum(1).clamp_min(1),
        "that is the sum over the negatives; take the mean.": zero.sum(1),
        "that is the hardest negative alone; take the mean over all.": zero.amax(1),
        "that is one number for the whole batch; return one per anchor.": zero.mean(),
    }
    compared(answer, (d_ap, d_an, m), right, mistakes)
    return "equal to the library's loss on hidden distances. The next cell goes on with yours."


def _own(name: str, function: Function, library: Function) -> Function:
    """Return the reader's function if the checker accepts it, else the library's, and say so."""
    if check(name, function):
        return function
    print(f"Exercise {name} is open, so this is the library's function. Solve it and run this cell again.")
    return library


def with_kd(function: Function) -> Recipe:
    """Return the recipe of the notebook's ``kd`` student with ``function(student, teacher, t)`` as its loss.

    A function that the checker does not accept is replaced by the library's.
    """
    loss = _own("00.a", function, lambda student, teacher, t: soft_cross_entropy(teacher, student, t))

    @dataclass(frozen=True, repr=False)
    class my_kd(Term):
        """The loss that a reader of notebook 00 wrote."""

        title: ClassVar[str] = "KD as you wrote it"
        unit: ClassVar[str] = "nats"
        short: ClassVar[str] = "mine"

        def __call__(self, step: Any) -> Tensor:
            return loss(step.outputs("student").logits, step.outputs("teacher").logits.detach(), 3.0)

    terms.register("my_kd", my_kd)
    methods.register("mine", lambda: ce() + my_kd() * linear(4, 1))
    return SPIRALS.replace(method="mine")


def walk(net: nn.Module, x: Tensor, target: Tensor, step: Function, a: float = 0.3, steps: int = 20) -> BoundarySamples:
    """Attack points (N, D) with ``step(x, gap, g, a)`` until the class of ``net`` has changed.

    A function that the checker does not accept is replaced by the library's.
    """

    def library(x: Tensor, gap: Tensor, g: Tensor, a: float) -> Tensor:
        return x + (a * gap / g.norm(dim=1))[:, None] * g

    step = _own("02.a", step, library)
    rows = torch.arange(len(x))
    with freeze(net), torch.enable_grad():
        z, path, applied, inside = x.clone(), [x.clone()], torch.zeros_like(target), x.clone()
        base = net(x).argmax(1)
        for _ in range(steps):
            z = z.detach().requires_grad_()
            logits = net(z)
            alive = (logits.argmax(1) == base) & (base != target)
            if not alive.any():
                break
            gap = logits[rows, base] - logits[rows, target]
            (g,) = torch.autograd.grad(-gap.sum(), z)
            inside = torch.where(alive[:, None], z.detach(), inside)
            z = torch.where(alive[:, None], step(z.detach(), gap.detach(), g, a), z.detach())
            applied += alive
            path.append(z.clone())
        z = z.detach()
        logits = net(z).detach()
    status = status_of(logits.argmax(1), base, target)
    passes = Passes(int(applied.sum()) + len(x), int(applied.sum()))
    return BoundarySamples(z, base, target, status, applied, torch.stack(path), passes, inside, x.clone(), logits)


def hinge_losses(
    view: View, data: Dataset, samples: BoundarySamples, function: Function, margins: tuple[float, ...] = MARGINS
) -> str:
    """Return the mean loss ``function(d_ap, d_an, m)`` of each net of a ``distances`` view as a table over margins.

    A function that the checker does not accept is replaced by the library's.
    """
    loss = _own("03.a", function, lambda d_ap, d_an, m: (d_ap[:, None] - d_an + m).clamp(min=0).mean(1))
    names = [key.removesuffix(".d_ap") for key in view.arrays if key.endswith(".d_ap")]
    counts = negatives_of(data.test.y, samples.base, samples.target).sum(1).tolist()
    rows = ["margin " + "".join(f"{name:>9}" for name in names)]
    for m in margins:
        row = f"{m:6.1f} "
        for name in names:
            near, far = (torch.as_tensor(view.arrays[f"{name}.{part}"]).float() for part in ("d_ap", "d_an"))
            each = [loss(p[None], n[None], m) for p, n in zip(near, far.split(counts), strict=True) if len(n)]
            row += f"{float(torch.cat(each).mean()):9.3f}"
        rows.append(row)
    return "\n".join(rows)
