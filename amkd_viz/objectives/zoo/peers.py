"""Losses of nets that teach each other while both learn: ``Recipe(peer=...)``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.fields import option
from amkd_viz.models import Classifier
from amkd_viz.objectives.algebra import Objective, Shapes, Term, terms, wire
from amkd_viz.objectives.losses import ce, kd
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Read, Step
from amkd_viz.objectives.zoo.pair import kl
from amkd_viz.objectives.zoo.stages import even

__all__ = ["ffl", "mutual"]

RAMP = 80 / 300  # of the training, in which the nets come to trust each other


@dataclass(frozen=True, repr=False)
class mutual(Term):
    """Transfer predictions between two nets that learn together, both ways.

    Formula: H(y, q_peer) + t^2 [KL(q_peer || q) + KL(q || q_peer)], each target without a gradient
    Weights: ce 1, mutual 1, t 1.
    Source: Deep mutual learning, CVPR 2018, arXiv 1706.00384
    Reading: exact
    Trap: no teacher: two small nets may agree on the same mistakes. Needs peer=NAME.
    Checked: slow loop
    """

    title, unit, short = "mutual learning", "nats × t²", "DML"
    peer: str = wire("peer", "net that learns too")
    temperature: float = option(1.0, "softens both predictions", low=0.25, high=20.0)

    def reads(self) -> list[Read]:
        return [("student", "clean", None), (self.peer, "clean", None)]

    def __call__(self, step: Step) -> Tensor:
        s, p = (step.outputs(net).logits for net in ("student", self.peer))
        both = kl(s, p.detach(), self.temperature) + kl(p, s.detach(), self.temperature)
        return F.cross_entropy(p, step.clean.y, reduction="none") + self.temperature**2 * both


class FusionHead(nn.Module):
    """Both nets' last maps, side by side: 3x3 per channel - 1x1 - mean - linear head."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1_1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1_1 = nn.BatchNorm2d(width)
        self.fc2 = nn.Linear(width, classes)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return fused logits (N, K) of two maps of one height and width."""
        m = F.relu(self.bn1(self.conv1(torch.cat([a, b], 1))))
        made: Tensor = self.fc2(F.relu(self.bn1_1(self.conv1_1(m))).mean((2, 3)))
        return made


def towards(target: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Return t^2 sum_c (p + 1e-7) log((p + 1e-7) / q) of each row, p of the target without a gradient."""
    p = (target.detach() / temperature).softmax(1) + 1e-7
    return temperature**2 * (p * (p.log() - (logits / temperature).log_softmax(1))).sum(1)


@dataclass(frozen=True, repr=False)
class ffl(Term):
    """Transfer predictions of a head that sees both nets' maps to both nets, and their mean to it.

    Formula: H(y, q_peer) + H(y, m) + ramp [D(m -> q) + D(m -> q_peer) + D(mean logits -> m)], D = t^2 KL with 1e-7
    added to its target, ramp = exp(-5 (1 - e)^2) over the first 80 of 300 epochs
    Weights: ce 1, ffl 1, t 3.
    Source: Feature fusion learning (FFL), 2019, github.com/Jangho-Kim/FFL-pytorch
    Reading: exact loss; two whole nets in place of two ends of one are our reading
    Trap: targets carry 1e-7 and do not sum to 1. Needs peer=NAME.
    Checked: seed1_ffl
    """

    title, unit, short = "fused classifier", "nats × t²", "FFL"
    peer: str = wire("peer", "net that learns too")
    temperature: float = option(3.0, "softens the predictions", low=0.25, high=20.0)

    def reads(self) -> list[Read]:
        return [(net, "clean", at) for net in ("student", self.peer) for at in (None, -1)]

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module:
        ours, theirs = (shapes[net, -1][0] for net in ("student", self.peer))
        return FusionHead(ours + theirs, max(ours, theirs), nets["student"].num_classes)

    def __call__(self, step: Step) -> Tensor:
        s, p, y = step.outputs("student"), step.outputs(self.peer), step.clean.y
        with torch.autocast(y.device.type, enabled=False):
            maps = even(*(x.layers[-1].to(s.logits.dtype) for x in (s, p)))
            m = step.modules[self.label](*maps)
            ramp = math.exp(-5 * (1 - min(step.progress / RAMP, 1.0)) ** 2)
            labels = F.cross_entropy(p.logits, y, reduction="none") + F.cross_entropy(m, y, reduction="none")
            t, mean = self.temperature, (s.logits + p.logits) / 2
            soft = towards(m, s.logits, t) + towards(m, p.logits, t) + towards(mean, m, t)
        return labels + ramp * soft


for _term in (mutual, ffl):
    _term.name = _term.__name__
    terms.add(_term.name, _term)


def _ffcl() -> Objective:
    """Transfer predictions of a fused head, and a little of the student's own moving average.

    Formula: ffl + .1 t^2 H(p_ema, q)
    Weights: ours ce 1, ffl 1, kd .1, t 3.
    Source: FFCL, IJDSN 2021 (abstract), on FFL
    Reading: our reading of an abstract: what it calls positive knowledge is the moving average
    """
    return ce() + ffl() + 0.1 * kd(temperature=3, t2=True, teacher="ema")


method("dml", lambda: ce() + mutual())
method("ffl", lambda: ce() + ffl())
method("ffcl", _ffcl)
