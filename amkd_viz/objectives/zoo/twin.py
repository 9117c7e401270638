"""Losses on two views of a sample: a second augmentation, whose transform may be known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.fields import option
from amkd_viz.data.jda import jda
from amkd_viz.models import Layer, Outputs
from amkd_viz.objectives.algebra import Objective, Shapes, Term, terms, wire
from amkd_viz.objectives.losses import ce, kd
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.sources import View, views
from amkd_viz.objectives.step import Batch, Read, Step
from amkd_viz.objectives.zoo.pair import Pair, kl
from amkd_viz.objectives.zoo.per_sample import cosine
from amkd_viz.objectives.zoo.relations import affinity

__all__ = ["agree", "cross_affinity", "dlb", "motion"]


class JDA(View):
    """The clean samples through JDA's 14 operations (as published for CIFAR-10), then augmented."""

    images = True

    def __call__(self, step: Step) -> Batch:
        return self.batch(step, self.loader.view(step.clean.index, step.generator, first=jda))


class Shifted(View):
    """The clean samples, shifted by up to an eighth of the side, and mirrored where the recipe's augmentation does."""

    images = True

    def __call__(self, step: Step) -> Batch:
        x = step.clean.x
        n, (h, w) = len(x), x.shape[2:]
        draws: Any = {"generator": step.generator, "device": x.device}
        dy, dx = (torch.randint(-(s // 8), s // 8 + 1, (n,), **draws) * 2 / s for s in (h, w))
        sign = torch.ones(n, device=x.device)
        if getattr(self.loader.augment, "flip", False):
            sign = torch.randint(2, (n,), **draws) * 2.0 - 1
        zero, one = torch.zeros_like(sign), torch.ones_like(sign)
        there = torch.stack([sign, zero, dx, zero, one, dy], 1).reshape(n, 2, 3)
        back = torch.stack([sign, zero, -sign * dx, zero, one, -dy], 1).reshape(n, 2, 3)
        return self.batch(step, warped(x, there), warp=back)


views.add("jda", JDA)
views.add("shifted", Shifted)


def warped(x: Tensor, theta: Tensor) -> Tensor:
    """Return maps (N, C, H, W) whose places show those that ``theta`` (N, 2, 3) gives, 0 outside."""
    grid = F.affine_grid(theta.to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


@dataclass(frozen=True, repr=False)
class agree(Term):
    """Transfer nothing: ask that the student predicts alike on two views of a sample.

    Formula: [KL(q || q') + KL(q' || q)] / 2, t 1, both with a gradient
    Weights: ce 1 on the first view, agree 1 (the original's weight is 5 for text, .6 for images).
    Source: R-Drop, NeurIPS 2021, arXiv 2106.14448
    Reading: exact loss; views differ by augmentation, and by dropout where a net has it
    Trap: without labels two equal constant predictions agree best.
    Checked: slow loop
    """

    title, unit, short = "agreement of two views", "nats", "agree"
    on: str = wire("view2", "batch that is compared with clean")

    def reads(self) -> list[Read]:
        return [("student", "clean", None), ("student", self.on, None)]

    def __call__(self, step: Step) -> Tensor:
        a, b = (step.outputs("student", on).logits for on in ("clean", self.on))
        return (kl(a, b) + kl(b, a)) / 2


class LastBatch(nn.Module):
    """Rows of the batch before and what the student predicted there."""

    index: Tensor
    logits: Tensor

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.full((size,), -1))
        self.register_buffer("logits", torch.zeros(size, classes))


class Last(View):
    """The samples of the batch before, augmented anew; in the first step those of the clean batch."""

    def __call__(self, step: Step) -> Batch:
        kept = next(part for part in step.modules.values() if isinstance(part, LastBatch))
        at = torch.where(kept.index < 0, step.clean.index, kept.index)
        made = self.batch(step, self.loader.view(at, step.generator))
        return replace(made, y=self.loader.split.y[at], index=at)


views.add("last", Last)


@dataclass(frozen=True, repr=False)
class dlb(Term):
    """Transfer the student's predictions of one step ago to the same samples in another view; no teacher.

    Formula: t^2 KL(p || q) on the samples of the batch before, p the student's predictions of then
    Weights: ce 1 on both halves, dlb 1, t 3.
    Source: Self-distillation from the last mini-batch (DLB), CVPR 2022, arXiv 2203.16172
    Reading: exact loss; the two halves of a batch are two batches, each with its own statistics
    Trap: one step back the student knows little more than now: it smooths, it does not teach.
    Checked: slow loop
    """

    title, unit, short = "last mini-batch", "nats × t²", "DLB"
    temperature: float = option(3.0, "softens both predictions", low=0.25, high=20.0)
    on = "last"

    def reads(self) -> list[Read]:
        return [("student", "clean", None), ("student", "last", None)]

    def module(self, shapes: Shapes, nets: Mapping[str, Any]) -> nn.Module:
        return LastBatch(shapes["batch", None][0], nets["student"].num_classes)

    def __call__(self, step: Step) -> Tensor:
        kept, now = step.modules[self.label], step.outputs("student").logits.detach()
        assert isinstance(kept, LastBatch)
        before = torch.where(kept.index[:, None] < 0, now, kept.logits)
        loss = self.temperature**2 * kl(step.outputs("student", "last").logits, before, self.temperature)
        kept.logits.copy_(now)
        kept.index.copy_(step.clean.index)
        return loss


@dataclass(frozen=True, repr=False)
class _Frames(Pair):
    maps = True
    layer: int = option(-2, "stage of both nets, counted from the end", low=-8, high=-1)
    second: str = wire("shifted", "batch of the second frame")

    def layers(self) -> Sequence[Layer]:
        return (self.layer,)

    def reads(self) -> list[Read]:
        nets = dict.fromkeys(("student", self.teacher))
        return [(net, on, at) for on in (self.on, self.second) for net in nets for at in (None, self.layer)]

    def maps_of(self, net: str, first: Outputs, step: Step) -> tuple[Tensor, Tensor]:
        """Return a net's maps of both frames, in the precision of the first."""
        a = first.layers[self.layer]
        return a, step.outputs(net, self.second).layers[self.layer].to(a.dtype)


@dataclass(frozen=True, repr=False)
class cross_affinity(_Frames):
    """Transfer which places of two frames look alike.

    Formula: mean of (C_S - C_T)^2, C_ij the cosine of place i of one frame and place j of the other, at most 8 x 8
    Weights: ours ce 1, affinity 1, cross_affinity 1, motion .1.
    Source: STC-KD, YAC 2022 (abstract), on ETC, ECCV 2020
    Reading: exact, with the true cosine: the released code divides by the norms of exchanged places
    Trap: a second frame costs a second pass of both nets.
    Checked: seed1_affinity
    """

    title, unit, short = "likeness across frames", "squared", "cross affinity"

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        pairs = self.maps_of("student", s, step), self.maps_of(self.teacher, t, step)
        side = min(8, *(n for pair in pairs for n in pair[0].shape[2:]))
        c_s, c_t = (across(*(F.adaptive_avg_pool2d(m, side) for m in pair)) for pair in pairs)
        return (c_s - c_t.detach()).square().mean((1, 2))


def across(a: Tensor, b: Tensor) -> Tensor:
    """Return (N, P, P) cosines of the places of one map (N, C, H, W) and of another, P = H W."""
    u, v = (F.normalize(m.flatten(2), dim=1) for m in (a, b))
    return u.transpose(1, 2) @ v


@dataclass(frozen=True, repr=False)
class motion(_Frames):
    """Transfer nothing: ask that the student sees a shifted image as it sees the image, shifted.

    Formula: mean over the overlap of (M - warp(M'))^2, M' the map of the shifted image, whose shift is known
    Weights: ours .1, beside affinity and cross_affinity 1.
    Source: STC-KD, YAC 2022 (abstract), on ETC, ECCV 2020
    Reading: our reading: a known shift in place of optical flow, so nothing is occluded inside the overlap
    Trap: a stage of 2 x 2 places cannot follow a shift by a pixel.
    Checked: slow loop
    """

    title, unit, short = "consistency in time", "squared", "motion"
    teacher: str = wire("student", "net that is compared with itself")

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        a, b = self.maps_of("student", s, step)
        theta = step.batch(self.second).warp
        assert theta is not None
        overlap = warped(torch.ones_like(b[:, :1]), theta)
        return (overlap * (a - warped(b, theta)).square()).mean((1, 2, 3))


for _term in (agree, dlb, cross_affinity, motion):
    _term.name = _term.__name__
    terms.add(_term.name, _term)


def _ccd() -> Objective:
    """Transfer predictions on two views, the second as far as the teacher sees both alike.

    Formula: mean of CE over both views and of t^2 KL, the second view's times cos(T, T') + 1
    Weights: .5 each, t 4.
    Source: CCD and JDA, ACCV 2022
    Reading: exact but for H(p, q) in place of KL; JDA's levels are those for CIFAR-10
    Trap: a common offset of the teacher's logits changes the cosine.
    Checked: seed1_ccd
    """
    soft = kd(temperature=4, t2=True) + kd(temperature=4, t2=True, on="jda") * cosine(on="jda")
    return 0.5 * (ce() + ce(on="jda") + soft)


def _stc() -> Objective:
    """Transfer which places look alike, within an image and between it and a shifted one."""
    return ce() + affinity() + cross_affinity() + motion() * 0.1


method("ccd", _ccd)
method("r-drop", lambda: ce() + agree())
method("dlb", lambda: ce() + ce(on="last") + dlb())
method("stc", _stc)
