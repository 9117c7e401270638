"""Losses on stages that are fused top-down, and on exits: small heads at the end of earlier stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.fields import option
from amkd_viz.models import Classifier, Layer, Outputs, pre
from amkd_viz.objectives.algebra import terms, wire
from amkd_viz.objectives.losses import ce, kd
from amkd_viz.objectives.losses.soft_targets import soft_cross_entropy
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Read, Step
from amkd_viz.objectives.weights import linear
from amkd_viz.objectives.zoo.logits import WARM, ofa
from amkd_viz.objectives.zoo.pair import Pair, kl
from amkd_viz.objectives.zoo.relations import info_nce
from amkd_viz.objectives.zoo.stages import Shapes, Stages, channel, even

__all__ = ["byot", "fused", "hcl", "ofa_branches", "responses"]


class Fuse(nn.Module):
    """One level of attention-based fusion: the map of a stage with that of the deeper stage.

    Args:
        channels: of the stage. middle: of what goes on to the next level. out: of the result.
        deepest: without a deeper map.
    """

    def __init__(self, channels: int, middle: int, out: int, deepest: bool) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.conv2 = nn.Sequential(nn.Conv2d(middle, out, 3, padding=1, bias=False), nn.BatchNorm2d(out))
        self.attention = None if deepest else nn.Conv2d(2 * middle, 2, 1)

    def forward(self, m: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the result (N, out, H, W), and the fused map (N, middle, H, W) for the level above."""
        m = self.conv1(m)
        if self.attention is not None:
            assert deeper is not None
            deeper = F.interpolate(deeper, m.shape[2:])
            z = self.attention(torch.cat([m, deeper], 1)).sigmoid()
            m = m * z[:, :1] + deeper * z[:, 1:]
        return self.conv2(m), m


class Fusion(nn.Module):
    """Fuse maps of stages, the first one the earliest, from the deepest on; each result has a width in ``outs``."""

    def __init__(self, channels: Sequence[int], outs: Sequence[int]) -> None:
        super().__init__()
        middle, last = min(512, channels[-1]), len(channels) - 1
        self.levels = nn.ModuleList(
            Fuse(c, middle, out, place == last) for place, (c, out) in enumerate(zip(channels, outs, strict=True))
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return one map (N, out, H, W) per stage, the earliest first."""
        made, deeper = [], None
        for level, m in zip(reversed(self.levels), reversed(maps), strict=True):
            out, deeper = level(m, deeper)
            made.append(out)
        return made[::-1]


def pyramid(m: Tensor, n: Tensor) -> Tensor:
    """Return the squared distance (N,) of two maps and of their averages on 4 x 4, 2 x 2 and 1 places, weighted."""
    loss, total, weight = (m - n).square().mean((1, 2, 3)), 1.0, 1.0
    for side in (4, 2, 1):
        if side < m.shape[2]:
            weight /= 2
            a, b = (F.adaptive_avg_pool2d(x, side) for x in (m, n))
            loss, total = loss + weight * (a - b).square().mean((1, 2, 3)), total + weight
    return loss / total


@dataclass(frozen=True, repr=False)
class hcl(Stages):
    """Transfer the teacher's stages to a student that reviews its earlier stages with its later ones.

    Formula: sum over stages and pooled features of [MSE + sum_l 2^-i MSE of l x l averages] / (1 + sum 2^-i), l = 4, 2,
    1 below the side, of fused student maps and the teacher's before the ReLU
    Weights: ce 1, hcl rising to 1 (5 for resnet32x4 -> resnet8x4) in 20 of 240 epochs, three stages.
    Source: Distilling knowledge via knowledge review, CVPR 2021, arXiv 2104.09044, as mdistiller a08d46f
    Reading: exact
    Trap: the fusion learns too, so a small loss does not mean a student like the teacher.
    Checked: zoo_hcl, seed1_reviewkd
    """

    title, unit, short = "reviewed stages", "squared", "review"

    def layers(self) -> Sequence[Layer]:
        return [pre(stage) for stage in range(-self.stages, 0)]

    def learned(self, shapes: Shapes) -> nn.Module:
        ours, theirs = shapes["student"], shapes[self.teacher]
        return Fusion([s[0] for s in [*ours[1:], ours[0]]], [t[0] for t in [*theirs[1:], theirs[0]]])

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        ours, theirs = ([*(x.layers[at] for at in self.layers()), x.features[..., None, None]] for x in (s, t))
        fused = step.modules[self.label](ours)
        return torch.stack([pyramid(*even(m, n)) for m, n in zip(fused, theirs, strict=True)]).sum(0)


class BothFusions(nn.Module):
    """A fusion of the student's stages and one of the teacher's, to one width."""

    def __init__(self, ours: Sequence[int], theirs: Sequence[int], width: int) -> None:
        super().__init__()
        self.student = Fusion(ours, [width] * len(ours))
        self.teacher = Fusion(theirs, [width] * len(theirs))


@dataclass(frozen=True, repr=False)
class fused(Stages):
    """Transfer which sample it is at every stage, between fused maps of both nets.

    Formula: sum over stages of InfoNCE of the means of both nets' fused maps, negatives from the batch, both directions
    Weights: ours ce 1, kd (t 4, t^2) .9, fused .5, temperature .1.
    Source: MFFKD, Sci. Rep. 2024 (abstract), on the fusion of ReviewKD
    Reading: our reading of an abstract
    Trap: the teacher's fusion learns as well: with a squared distance both could shrink to nothing.
    Checked: slow loop
    """

    title, unit, short = "contrast of fused stages", "nats", "fused"
    temperature: float = option(0.1, "divides the cosines", low=0.01, high=1.0)
    width: int = option(64, "channels of the fused maps", low=1, high=512)

    def learned(self, shapes: Shapes) -> nn.Module:
        ours, theirs = ([shape[0] for shape in shapes[net][1:]] for net in ("student", self.teacher))
        return BothFusions(ours, theirs, self.width)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        made = step.modules[self.label]
        assert isinstance(made, BothFusions)
        ours, theirs = (
            fusion([x.layers[at] for at in self.layers()]) for fusion, x in ((made.student, s), (made.teacher, t))
        )
        pairs = zip(ours, theirs, strict=True)
        return torch.stack([info_nce(m.mean((2, 3)), n.mean((2, 3)), self.temperature) for m, n in pairs]).sum()


class Exit(nn.Module):
    """1x1 convolution to the width of the last features - batch norm - ReLU - mean - linear head."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, classes)

    def forward(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, width) and logits (N, K)."""
        features = self.body(m).mean((2, 3))
        return features, self.head(features)


@dataclass(frozen=True, repr=False)
class Exits(Pair):
    """A loss on exits of the student, which are learned with it and dropped after."""

    maps = True
    exits: int = option(1, "number of exits before the last stage", low=1, high=7)

    def layers(self) -> Sequence[Layer]:
        return range(-1 - self.exits, -1)

    def reads(self) -> list[Read]:
        student: list[Read] = [("student", self.on, layer) for layer in (None, *self.layers())]
        return [*student, *([] if self.teacher == "student" else [(self.teacher, self.on, None)])]

    def module(self, shapes: Mapping[tuple[str, Layer | None], tuple[int, ...]], nets: Mapping[str, Classifier]) -> Any:
        super().module(shapes, nets)
        (width,), classes = shapes["student", None], nets["student"].num_classes
        return nn.ModuleList(Exit(shapes["student", layer][0], width, classes) for layer in self.layers())

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        parts = step.modules[self.label]
        assert isinstance(parts, nn.ModuleList)
        made = [part(s.layers[at]) for part, at in zip(parts, self.layers(), strict=True)]
        return torch.stack([self.exit(f, z, t, step.clean.y) for f, z in made]).sum(0)

    def exit(self, f: Tensor, z: Tensor, t: Outputs, y: Tensor) -> Tensor:
        """Return the loss (N,) of one exit, from its features f and logits z."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class byot(Exits):
    """Transfer the student's own last stage to exits at its earlier ones; no teacher.

    Formula: sum over exits of .9 CE + .1 t^2 H(p_final, p_exit) + 1e-6 sum of (f_exit - f_final)^2 where one is > 0
    Weights: ce .9, byot 1, t 3.
    Source: Be your own teacher, ICCV 2019, github.com/luanyunteng/pytorch-be-your-own-teacher
    Reading: exact loss; exits of one 1x1 convolution in place of bottlenecks are our reading
    Trap: the last stage is a teacher without a gradient: it learns from labels alone.
    Checked: seed1_byot
    """

    title, unit, short = "exits", "nats", "exits"
    teacher: str = wire("student", "net whose last stage is copied")
    temperature: float = option(3.0, "softens the softmax", low=0.25, high=20.0)

    def exit(self, f: Tensor, z: Tensor, t: Outputs, y: Tensor) -> Tensor:
        soft = self.temperature**2 * soft_cross_entropy(t.logits, z, self.temperature)
        apart = ((f - t.features).square() * ((f > 0) | (t.features > 0))).sum(1)
        return 0.9 * F.cross_entropy(z, y, reduction="none") + 0.1 * soft + 1e-6 * len(f) * apart  # a sum, not a mean


@dataclass(frozen=True, repr=False)
class ofa_branches(Exits):
    """Transfer predictions to exits at the student's earlier stages, for nets of another kind.

    Formula: sum over exits of the loss of ofa on their logits
    Weights: ce 1, ofa 1, ofa_branches 1.
    Source: One-for-all (OFA-KD), NeurIPS 2023, github.com/Hao840/OFAKD
    Reading: exact loss; branches of one 1x1 convolution in place of separable ones are our reading
    Trap: the branches cost 10 to 20 % of a step of a ResNet-18.
    Checked: zoo_ofa, seed2_ofa
    """

    title, unit, short = "one-for-all branches", "nats", "branches"
    eps: float = option(1.0, "power that moves mass to the label", low=1.0, high=3.0)

    def exit(self, f: Tensor, z: Tensor, t: Outputs, y: Tensor) -> Tensor:
        return ofa(eps=self.eps).rows(z, t.logits, y)


@dataclass(frozen=True, repr=False)
class responses(Stages):
    """Transfer what each stage can say: to exits, from the teacher's and from the student's next one.

    Formula: sum over exits l of H(y, a_l) + H(y, A_l) + t^2 KL(A_l || a_l) + t^2 KL(a_l+1 || a_l), a of the student and
    A of the teacher, whose body stays frozen; after the last exit the net's own logits; each target without a gradient
    Weights: ours ce 1, kd (t 3, t^2) 1, channel 6, responses 1, t 3.
    Source: MTKD-SSR, IJCV 2023 (abstract)
    Reading: our reading of an abstract
    Trap: the teacher's exits learn from the first step on: at first they know nothing.
    Checked: slow loop
    """

    title, unit, short = "answers of stages", "nats × t²", "responses"
    stages: int = option(1, "number of exits before the last stage", low=1, high=7)
    temperature: float = option(3.0, "softens the predictions", low=0.25, high=20.0)

    def layers(self) -> Sequence[Layer]:
        return range(-1 - self.stages, -1)

    def module(self, shapes: Mapping[tuple[str, Layer | None], tuple[int, ...]], nets: Mapping[str, Classifier]) -> Any:
        super().module(shapes, nets)
        classes = nets["student"].num_classes
        return nn.ModuleList(
            nn.ModuleList(Exit(shapes[net, at][0], shapes[net, None][0], classes) for at in self.layers())
            for net in ("student", self.teacher)
        )

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        y, at, parts = step.clean.y, self.temperature, step.modules[self.label]
        ours, theirs = (
            [exit_(x.layers[layer])[1] for exit_, layer in zip(own, self.layers(), strict=True)]
            for own, x in zip(parts, (s, t), strict=True)  # type: ignore[call-overload]
        )
        each = []
        for a, b, after in zip(ours, theirs, [*ours[1:], s.logits], strict=True):
            labels = F.cross_entropy(a, y, reduction="none") + F.cross_entropy(b, y, reduction="none")
            each.append(labels + at**2 * (kl(a, b.detach(), at) + kl(a, after.detach(), at)))
        return torch.stack(each).sum(0)


for _term in (hcl, fused, byot, ofa_branches, responses):
    _term.name = _term.__name__
    terms.add(_term.name, _term)
method("review", lambda: ce() + hcl() * linear(0, 1, until=WARM))
method("fused", lambda: ce() + kd(temperature=4, t2=True) * 0.9 + fused() * 0.5)
method("byot", lambda: ce() * 0.9 + byot())
method("ofa", lambda: ce() + ofa() + ofa_branches())
method("ssr", lambda: ce() + kd(temperature=3, t2=True) + channel() * 6 + responses())
