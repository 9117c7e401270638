"""Losses on maps at the ends of stages: M of the student, N of the teacher, (B, C, H, W). The larger map is averaged
to the side of the smaller one. Stages count from the end; a recipe with three of them sets ``stages=3``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.models import Layer, Outputs, pre
from amkd_viz.objectives.algebra import terms
from amkd_viz.objectives.losses import ce
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Step
from amkd_viz.objectives.weights import linear
from amkd_viz.objectives.zoo.pair import Pair

__all__ = ["ab", "at", "channel", "fitnet", "fsp", "ft", "ickd", "nst", "ofd", "vid"]

Shapes = Mapping[str, Sequence[tuple[int, ...]]]


def even(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps at the side of the smaller one, by averaging."""
    side = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
    return (x if x.shape[2:] == side else F.adaptive_avg_pool2d(x, side) for x in (a, b))  # type: ignore[return-value]


def unit(x: Tensor) -> Tensor:
    """Return (N, ...) as rows of norm 1."""
    return F.normalize(x.flatten(1), dim=1)


def connector(narrow: int, wide: int) -> nn.Sequential:
    """Return 1x1 convolution - batch norm - ReLU."""
    return nn.Sequential(nn.Conv2d(narrow, wide, 1), nn.BatchNorm2d(wide), nn.ReLU())


@dataclass(frozen=True, repr=False)
class Stages(Pair):
    """A loss on maps of the last ``stages`` stages."""

    maps = True
    stages: int = option(2, "number of stages, counted from the end", low=1, high=8)

    def layers(self) -> Sequence[Layer]:
        return range(-self.stages, 0)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        return torch.stack([self.stage(s.layers[at], t.layers[at]) for at in self.layers()]).sum(0)

    def stage(self, m: Tensor, n: Tensor) -> Tensor:
        """Return the loss (N,) of one stage."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class fitnet(Pair):
    """Transfer a map: the teacher's hint must be a simple function of the student's.

    Formula: mean of (R(M) - N)^2, R = convolution (1x1; 3x3 stride 2 at twice the side; transposed 4x4 at half) - batch
    norm - ReLU, learned; none where the shapes are equal
    Weights: ce 1, fitnet 100, at the end of stage 2 of 3.
    Source: FitNets, ICLR 2015, arXiv 1412.6550, as RepDistiller b84f547
    Reading: exact
    Trap: where R is rich, it can do the student's work.
    Checked: zoo_fitnet
    """

    title, unit, short = "distance of maps", "squared activations", "hint"
    maps = True
    layer: int = option(-2, "stage of both nets, counted from the end", low=-8, high=-1)

    def layers(self) -> Sequence[Layer]:
        return (self.layer,)

    def learned(self, shapes: Shapes) -> nn.Module | None:
        (c, h, w), (wide, h_t, w_t) = shapes["student"][1], shapes[self.teacher][1]
        if (c, h, w) == (wide, h_t, w_t):
            return None
        if h == 2 * h_t:
            conv: nn.Module = nn.Conv2d(c, wide, 3, 2, 1)
        elif 2 * h == h_t:
            conv = nn.ConvTranspose2d(c, wide, 4, 2, 1)
        else:
            conv = nn.Conv2d(c, wide, 1)
        return nn.Sequential(conv, nn.BatchNorm2d(wide), nn.ReLU())

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        m, n = s.layers[self.layer], t.layers[self.layer]
        if self.label in step.modules:
            m, n = even(step.modules[self.label](m), n)
        return (m - n).square().mean((1, 2, 3))


@dataclass(frozen=True, repr=False)
class at(Stages):
    """Transfer where a net looks: the energy of each place of a map.

    Formula: sum over stages of mean of (Q_S - Q_T)^2, Q = the mean over channels of M^2, as a unit vector
    Weights: ce 1, at 1000, three stages.
    Source: Attention transfer, ICLR 2017, arXiv 1612.03928, as RepDistiller b84f547
    Reading: exact, as in the code: the paper sums norms, which is 37 times as much
    Trap: at 1 x 1 places there is nothing to transfer.
    Checked: zoo_at
    """

    title, unit, short = "attention maps", "squared", "AT"

    def stage(self, m: Tensor, n: Tensor) -> Tensor:
        m, n = even(m, n)
        return (unit(m.square().mean(1)) - unit(n.square().mean(1))).square().mean(1)


@dataclass(frozen=True, repr=False)
class nst(Stages):
    """Transfer the distribution of channels: which patterns of places occur.

    Formula: sum over stages of k_TT + k_SS - 2 k_ST, k the mean over pairs of channels of (a . b)^2, channels as unit
    vectors over places
    Weights: ce 1, nst 50, three stages.
    Source: Neuron selectivity transfer, arXiv 1707.01219, as RepDistiller b84f547
    Reading: exact
    Trap: published code builds all pairs of channels and places; here one product per pair of nets.
    Checked: zoo_nst
    """

    title, unit, short = "patterns of channels", "squared", "NST"

    def stage(self, m: Tensor, n: Tensor) -> Tensor:
        a, b = (F.normalize(x.flatten(2), dim=2) for x in even(m, n))
        (ss, tt, st) = ((x @ y.transpose(1, 2)).square().mean((1, 2)) for x, y in ((a, a), (b, b), (a, b)))
        return ss + tt - 2 * st


@dataclass(frozen=True, repr=False)
class fsp(Stages):
    """Transfer how maps change from one stage to the next.

    Formula: mean over neighbouring stages of mean of (G_S - G_T)^2, G = M_i M_{i+1}' / (H W)
    Weights: ce 1, fsp 50, in the original as a first phase of 30 epochs.
    Source: A gift from knowledge distillation, CVPR 2017, as RepDistiller b84f547
    Reading: exact loss; beside ce all the time is our reading
    Trap: both nets must have the same numbers of channels.
    Checked: zoo_fsp
    """

    title, unit, short = "flow between stages", "squared", "FSP"
    stages: int = option(2, "number of stages, counted from the end", low=2, high=8)

    def learned(self, shapes: Shapes) -> None:
        ours, theirs = ([shape[0] for shape in shapes[net][1:]] for net in ("student", self.teacher))
        if ours != theirs:
            raise InputError(f"fsp needs two nets with the same numbers of channels, got {ours} and {theirs}.")

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        flows = []
        for i, j in pairwise(self.layers()):
            g_s, g_t = (_flow(*even(x.layers[i], x.layers[j])) for x in (s, t))
            flows.append((g_s - g_t).square().mean((1, 2)))
        return torch.stack(flows).sum(0)


def _flow(m: Tensor, n: Tensor) -> Tensor:
    return m.flatten(2) @ n.flatten(2).transpose(1, 2) / m.flatten(2).shape[2]


@dataclass(frozen=True, repr=False)
class ft(Pair):
    """Transfer factors: maps that a translator has made of the student's.

    Formula: mean of |Q_S - Q_T|, Q as in at, of the translated student and of the teacher
    Weights: ce 1, ft 200.
    Source: Factor transfer, NeurIPS 2018, as RepDistiller b84f547
    Reading: our reading: the teacher's factor is its map; the original trains a paraphraser of it for 30 epochs first
    Trap: code that flattens whole factors gives another loss under this name.
    Checked: zoo_ft
    """

    title, unit, short = "factors", "absolute", "FT"
    maps = True
    layer: int = option(-1, "stage of both nets, counted from the end", low=-8, high=-1)

    def layers(self) -> Sequence[Layer]:
        return (self.layer,)

    def learned(self, shapes: Shapes) -> nn.Module:
        return connector(*self.widths(shapes, 1))

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        return factors(step.modules[self.label](s.layers[self.layer]), t.layers[self.layer])


def factors(m: Tensor, n: Tensor) -> Tensor:
    """Return the loss (N,) of ``ft`` on two factors."""
    m, n = even(m, n)
    return (unit(m.square().mean(1)) - unit(n.square().mean(1))).abs().mean(1)


@dataclass(frozen=True, repr=False)
class ickd(Pair):
    """Transfer which channels of a map answer together.

    Formula: |G_S - G_T|_F^2 / C, G = M M' over places with rows of norm 1; a learned 1x1 convolution of the student's
    map where widths differ
    Weights: ours ce 1, ickd 1.
    Source: ICKD, ICCV 2021, as DisWOT (CVPR 2023) scores with it, github.com/lliai/DisWOT-CVPR2023
    Reading: exact
    Trap: blind to where a channel answers: places may be exchanged.
    Checked: seed2_diswot_taps
    """

    title, unit, short = "correlation of channels", "squared", "ICKD"
    maps = True
    layer: int = option(-1, "stage of both nets, counted from the end", low=-8, high=-1)

    def layers(self) -> Sequence[Layer]:
        return (self.layer,)

    def learned(self, shapes: Shapes) -> nn.Module | None:
        narrow, wide = self.widths(shapes, 1)
        return None if narrow == wide else nn.Conv2d(narrow, wide, 1)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        m, n = s.layers[self.layer], t.layers[self.layer]
        if self.label in step.modules:
            m = step.modules[self.label](m)
        g_s, g_t = (F.normalize(x.flatten(2) @ x.flatten(2).transpose(1, 2), dim=2) for x in (m, n))
        return (g_s - g_t).square().sum((1, 2)) / n.shape[1]


class Variational(nn.Module):
    """A Gaussian of the teacher's map, its mean a function of the student's and its variance one number per channel."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        widths = ((narrow, wide), (wide, wide), (wide, wide))
        convs = [nn.Conv2d(a, b, 1, bias=False) for a, b in widths]
        self.mean = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])
        self.log_scale = nn.Parameter(torch.full((wide,), math.log(math.expm1(5 - 1e-5))))  # a variance of 5 at first

    def forward(self, m: Tensor, n: Tensor) -> Tensor:
        m, n = even(m, n)
        v = (F.softplus(self.log_scale) + 1e-5)[:, None, None]
        return ((n - self.mean(m)).square() / v + v.log()).mean((1, 2, 3)) / 2


class _PerStage(Stages):
    """A loss with a learned part per stage, which takes both maps."""

    def part(self, narrow: int, wide: int) -> nn.Module:
        raise NotImplementedError

    def learned(self, shapes: Shapes) -> nn.Module:
        return nn.ModuleList(self.part(*self.widths(shapes, place)) for place in range(1, self.stages + 1))

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        parts = step.modules[self.label]
        assert isinstance(parts, nn.ModuleList)
        each = [part(s.layers[at], t.layers[at]) for part, at in zip(parts, self.layers(), strict=True)]
        return torch.stack(each).sum(0)


@dataclass(frozen=True, repr=False)
class vid(_PerStage):
    """Transfer what of the teacher's maps can be known from the student's, channel by channel.

    Formula: sum over stages of mean of [(N - mu(M))^2 / v + log v] / 2, mu three 1x1 convolutions, v a learned variance
    per channel, 5 at first
    Weights: ce 1, vid 1, three stages.
    Source: Variational information distillation, CVPR 2019, arXiv 1904.05835, as RepDistiller b84f547
    Reading: exact
    Trap: may be negative: a log of variances. Some code never trains the variances.
    Checked: zoo_vid
    """

    title, unit, short = "information in maps", "nats", "VID"

    def part(self, narrow: int, wide: int) -> nn.Module:
        return Variational(narrow, wide)


class Pooled(nn.Module):
    """Squared distance of channel means after a connector."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.connector = connector(narrow, wide)

    def forward(self, m: Tensor, n: Tensor) -> Tensor:
        return channel_means(self.connector(m), n)


def channel_means(m: Tensor, n: Tensor) -> Tensor:
    """Return the mean over channels of the squared distance of the maps' means, (N,)."""
    return (m.mean((2, 3)) - n.mean((2, 3))).square().mean(1)


@dataclass(frozen=True, repr=False)
class channel(_PerStage):
    """Transfer how strongly each channel of a stage answers.

    Formula: sum over stages of mean of (GAP(R(M)) - GAP(N))^2, R = 1x1 convolution - batch norm - ReLU, learned
    Weights: ce 1, channel 6, times .9 at epochs 60 and 160.
    Source: Channel distillation, 2020, github.com/zhouzaida/channel-distillation
    Reading: exact loss, with a constant weight; on it builds MTKD-SSR (IJCV 2023, abstract only)
    Trap: where in the map a channel answers is not transferred.
    Checked: seed1_channel_guided
    """

    title, unit, short = "means of channels", "squared", "CD"

    def part(self, narrow: int, wide: int) -> nn.Module:
        return Pooled(narrow, wide)


class Before(nn.Module):
    """A loss on the activations before a ReLU, after a 1x1 convolution and batch norm of the student's.

    Args:
        loss: of two maps of one shape, (N,).
    """

    def __init__(self, narrow: int, wide: int, loss: object) -> None:
        super().__init__()
        self.connector, self.loss = connector(narrow, wide)[:2], loss

    def forward(self, m: Tensor, n: Tensor) -> Tensor:
        made: Tensor = self.loss(*even(self.connector(m), n))  # type: ignore[operator]
        return made


class _BeforeReLU(_PerStage):
    def layers(self) -> Sequence[Layer]:
        return [pre(stage) for stage in range(-self.stages, 0)]

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        parts = step.modules[self.label]
        assert isinstance(parts, nn.ModuleList)
        each = [
            part(s.layers[at], t.layers[at]) * 2.0 ** -(len(parts) - 1 - place)
            for place, (part, at) in enumerate(zip(parts, self.layers(), strict=True))
        ]
        return torch.stack(each).sum(0)


@dataclass(frozen=True, repr=False)
class ab(_BeforeReLU):
    """Transfer on which side of its ReLU each neuron is: the boundaries of activations.

    Formula: sum over stages of 2^-(n - i) [N > 0: (1 - M)_+^2, else (1 + M)_+^2], before the ReLU, summed
    Weights: 3 / 1000, as a first phase of 30 epochs, no term after it.
    Source: Activation boundaries, AAAI 2019, arXiv 1811.03233, as RepDistiller b84f547
    Reading: exact loss; falling beside ce over the first half is our reading
    Trap: values do not matter, signs do; by the authors of bss, and another kind of boundary.
    Checked: zoo_ab
    """

    title, unit, short = "sides of ReLUs", "squared", "AB"

    def part(self, narrow: int, wide: int) -> nn.Module:
        return Before(narrow, wide, sides)


def sides(m: Tensor, n: Tensor) -> Tensor:
    """Return the loss (N,) of ``ab`` at one stage."""
    return torch.where(n > 0, 1 - m, 1 + m).clamp_min(0).square().sum((1, 2, 3))


@dataclass(frozen=True, repr=False)
class ofd(_BeforeReLU):
    """Transfer activations before the ReLU, the negative ones only so far that they stay negative.

    Formula: sum over stages of 2^-(n - i) [N > 0: (M - N)^2, else (M - max(N, m))_+^2], m the mean of the channel's
    negative activations
    Weights: ce 1, ofd .001.
    Source: A comprehensive overhaul of feature distillation, ICCV 2019, arXiv 1904.01866
    Reading: our reading of m: measured in each batch, not computed from the batch norm; the loss given m is exact
    Trap: a sum over places: weights grow with the size of the maps.
    Checked: zoo_ofd
    """

    title, unit, short = "activations before ReLUs", "squared", "OFD"

    def part(self, narrow: int, wide: int) -> nn.Module:
        return Before(narrow, wide, overhaul)


def overhaul(m: Tensor, n: Tensor, margin: Tensor | None = None) -> Tensor:
    """Return the loss (N,) of ``ofd`` at one stage; margin (1, C, 1, 1), by default measured."""
    if margin is None:
        below = (n < 0).to(n.dtype)
        margin = (n * below).sum((0, 2, 3), keepdim=True) / below.sum((0, 2, 3), keepdim=True).clamp_min(1)
    negative = (m - n.maximum(margin)).clamp_min(0)
    return torch.where(n > 0, m - n, negative).square().sum((1, 2, 3))


for _term in (fitnet, at, nst, fsp, ft, ickd, vid, channel, ab, ofd):
    _term.name = _term.__name__
    terms.add(_term.name, _term)
method("fitnet", lambda: ce() + fitnet() * 100)
method("at", lambda: ce() + at() * 1000)
method("nst", lambda: ce() + nst() * 50)
method("fsp", lambda: ce() + fsp() * 50)
method("ft", lambda: ce() + ft() * 200)
method("ickd", lambda: ce() + ickd())
method("vid", lambda: ce() + vid())
method("channel", lambda: ce() + channel() * 6)
method("ab", lambda: ce() + ab() * linear(0.003, 0, until=0.5))
method("ofd", lambda: ce() + ofd() * 0.001)
