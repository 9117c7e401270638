"""Losses on pooled features f (N, D) of the student and g of the teacher, and on how samples relate in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.fields import option
from amkd_viz.models import Classifier, Layer, Outputs
from amkd_viz.objectives.algebra import Objective, Shapes, terms, wire
from amkd_viz.objectives.losses import ce
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Step
from amkd_viz.objectives.zoo.pair import Pair, kl, onehot

__all__ = ["affinity", "align", "cc", "crd", "leaf", "pkt", "prototypes", "rkd", "sp", "srd"]


@dataclass(frozen=True, repr=False)
class rkd(Pair):
    """Transfer distances between samples and the angles that three of them make.

    Formula: distance l(d_S, d_T) + angle l(a_S, a_T), l smooth L1; d the distances of pairs over their mean, a_ijk the
    cosine at sample i between j - i and k - i
    Weights: ce 1, distance 25, angle 50.
    Source: Relational knowledge distillation, CVPR 2019, arXiv 1904.05068
    Reading: exact
    Trap: angles take memory N^3; widths of the nets may differ.
    Checked: zoo_rkd
    """

    title, unit, short = "distances and angles", "smooth L1", "RKD"
    distance: float = option(25.0, "weight of the distances", low=0.0, high=100.0)
    angle: float = option(50.0, "weight of the angles", low=0.0, high=100.0)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        f, g = s.features, t.features
        loss = self.distance * F.smooth_l1_loss(distances(f), distances(g))
        return loss + self.angle * F.smooth_l1_loss(angles(f), angles(g))


def distances(f: Tensor) -> Tensor:
    """Return (N, N) distances over their mean off the diagonal; equal rows are 0 apart, without a gradient."""
    n = len(f)
    squared = (f.square().sum(1)[:, None] + f.square().sum(1)[None] - 2 * f @ f.T).clamp_min(1e-12)
    d = squared.sqrt() * (1 - torch.eye(n, dtype=f.dtype, device=f.device))
    return d / (d.sum() / (n * (n - 1))).clamp_min(1e-12)


def angles(f: Tensor) -> Tensor:
    """Return (N, N, N) cosines: at i, between the directions to j and to k."""
    e = F.normalize(f[None] - f[:, None], dim=2)
    return e @ e.transpose(1, 2)


@dataclass(frozen=True, repr=False)
class sp(Pair):
    """Transfer which samples of a batch activate the last maps alike.

    Formula: |G_S - G_T|_F^2 / N^2, G = F F' with rows of norm 1, F the last stage's output, flattened
    Weights: ce 1, sp 3000.
    Source: Similarity-preserving KD, ICCV 2019, arXiv 1907.09682
    Reading: exact
    Trap: some code normalises the rows in L1, where 3000 is 14 times too small. Depends on the batch: made for 64.
    Checked: zoo_sp
    """

    title, unit, short = "similarity of samples", "squared", "SP"
    layer: int = option(-1, "stage of both nets, counted from the end", low=-8, high=-1)

    def layers(self) -> Sequence[Layer]:
        return (self.layer,)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        g_s, g_t = (similarities(x.layers[self.layer].flatten(1)) for x in (s, t))
        return (g_s - g_t).square().mean()


def similarities(f: Tensor) -> Tensor:
    """Return (N, N) inner products of the rows of (N, D), each row of the result of norm 1."""
    return F.normalize(f @ f.T, dim=1)


@dataclass(frozen=True, repr=False)
class pkt(Pair):
    """Transfer, for each sample, the probability with which every other is its neighbour.

    Formula: mean over N^2 entries of P_T log (P_T / P_S), P = (cos + 1) / 2 over the sum of its row
    Weights: ce 1, pkt 30000 (for the mean over N^2).
    Source: Probabilistic knowledge transfer, ECCV 2018, arXiv 1803.10837
    Reading: exact
    Trap: self-similarity is part of each row. Depends on the batch: made for 64.
    Checked: zoo_pkt
    """

    title, unit, short = "neighbour probabilities", "nats / N", "PKT"

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        p_s, p_t = (_neighbour_probabilities(x.features) for x in (s, t))
        return (p_t * ((p_t + 1e-7) / (p_s + 1e-7)).log()).mean()


def _neighbour_probabilities(f: Tensor) -> Tensor:
    u = f / ((f.square().sum(1, keepdim=True) + 1e-30).sqrt() + 1e-7)
    p = (u @ u.T + 1) / 2
    return p / p.sum(1, keepdim=True)


class Embeddings(nn.Module):
    """Linear maps of the features of the student and of the teacher to one width, both learned."""

    def __init__(self, narrow: int, wide: int, width: int) -> None:
        super().__init__()
        self.student, self.teacher = nn.Linear(narrow, width), nn.Linear(wide, width)


@dataclass(frozen=True, repr=False)
class _Embedded(Pair):
    width: int = option(128, "width of the learned embeddings", low=1, high=1024)

    def learned(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> nn.Module:
        return Embeddings(*self.widths(shapes), self.width)

    def embedded(self, s: Outputs, t: Outputs, step: Step) -> tuple[Tensor, Tensor]:
        made = step.modules[self.label]
        assert isinstance(made, Embeddings)
        return made.student(s.features), made.teacher(t.features)


@dataclass(frozen=True, repr=False)
class cc(_Embedded):
    """Transfer differences of neighbours in the batch, between two learned embeddings.

    Formula: mean_i sum_d D_i D_{i+1}, D = |f - g| of learned linear embeddings
    Weights: ce 1, cc .02.
    Source: Correlation congruence, ICCV 2019, as its authors gave it to RepDistiller b84f547
    Reading: exact, as in that code: the paper's kernel form is another loss
    Trap: depends on the order of the batch. Three different losses have this name.
    Checked: zoo_cc
    """

    title, unit, short = "products of neighbours", "squared", "CC"

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        return neighbour_products(*self.embedded(s, t, step))


def neighbour_products(f: Tensor, g: Tensor) -> Tensor:
    """Return the loss of ``cc`` on embeddings (N, D)."""
    d = (f - g).abs()
    return (d[:-1] * d[1:]).sum(1).mean()


@dataclass(frozen=True, repr=False)
class crd(_Embedded):
    """Transfer which sample it is: the student's embedding is nearest to the teacher's of the same sample.

    Formula: CE of softmax over j of e_i . u_j / t at j = i, in both directions, e and u unit embeddings, both learned
    Weights: ce 1, ours crd .8 (that of the original), t .07.
    Source: Contrastive representation distillation, ICLR 2020, arXiv 1910.10699
    Reading: our reading: negatives are the batch (InfoNCE), in place of 16384 from a bank of all samples
    Trap: few negatives in small batches; the original's bank needs 1.1 GB a step at batch size 64.
    Checked: slow loop
    """

    title, unit, short = "contrast with the batch", "nats", "CRD"
    temperature: float = option(0.07, "divides the cosines", low=0.01, high=1.0)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        return info_nce(*self.embedded(s, t, step), self.temperature)


def info_nce(e: Tensor, u: Tensor, temperature: float) -> Tensor:
    """Return the mean of both directions' cross-entropies of (N, D) embeddings, positives on the diagonal."""
    logits = F.normalize(e, dim=1) @ F.normalize(u, dim=1).T / temperature
    return -(logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()).mean()


@dataclass(frozen=True, repr=False)
class srd(Pair):
    """Transfer normalised features through the teacher's eyes, and predictions.

    Formula: 2 log sum |W f - g|^4 + KL(p || q), both sides batch-normed
    Weights: ce 1, srd 1, exponent 4, t 1.
    Source: Understanding the role of the projector in KD, AAAI 2024, arXiv 2303.11098
    Reading: exact on given features; both norms keep no scale or offset
    Trap: the log of a sum over the batch makes the gradient smaller where the batch is larger.
    Checked: zoo_srd
    """

    title, unit, short = "normalised features", "log", "SRD"

    def learned(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> nn.Module:
        return nn.Linear(*self.widths(shapes))

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        f, g = (_normed(x) for x in (step.modules[self.label](s.features), t.features))
        return far(f, g) + kl(s.logits, t.logits).mean()


def _normed(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()


def far(f: Tensor, g: Tensor) -> Tensor:
    """Return the feature part of ``srd``, a scalar."""
    return 2 * ((f - g).abs() ** 4).sum().clamp_min(1e-12).log()


@dataclass(frozen=True, repr=False)
class leaf(Pair):
    """Transfer the teacher's features themselves, so that its head and its index work with the student's.

    Formula: |W f + b - g|^2
    Weights: 1, alone; ours .1 beside ce 1, so that the student's own head learns too.
    Source: LEAF, arXiv 2509.12539 (a digest)
    Reading: our reading: squared, and for images
    Trap: what it promises is read by the teacher's head on W f + b, not by the student's accuracy.
    Checked: slow loop
    """

    title, unit, short = "distance of features", "squared", "leaf"

    def learned(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> nn.Module:
        return nn.Linear(*self.widths(shapes))

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        return (step.modules[self.label](s.features) - t.features).square().sum(1)


@dataclass(frozen=True, repr=False)
class affinity(Pair):
    """Transfer which places of a map look alike.

    Formula: mean of (A_S - A_T)^2, A_ij the cosine of places i and j of a map, of at most 8 x 8 places
    Weights: ours ce 1, affinity 1.
    Source: ETC, ECCV 2020, on which STC-KD (YAC 2022, abstract only) builds
    Reading: exact for one frame; a stage of an image net is our reading
    Trap: blind to what the places show: a map with its colours exchanged is the same.
    Checked: seed1_affinity
    """

    title, unit, short = "likeness of places", "squared", "affinity"
    maps = True
    layer: int = option(-2, "stage of both nets, counted from the end", low=-8, high=-1)

    def layers(self) -> Sequence[Layer]:
        return (self.layer,)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        side = min(8, *s.layers[self.layer].shape[2:], *t.layers[self.layer].shape[2:])
        a_s, a_t = (cosines(F.adaptive_avg_pool2d(x.layers[self.layer], side)) for x in (s, t))
        return (a_s - a_t).square().mean((1, 2))


def cosines(maps: Tensor) -> Tensor:
    """Return (N, P, P) cosines of the places of maps (N, C, H, W), P = H W."""
    u = F.normalize(maps.flatten(2), dim=1)
    return u.transpose(1, 2) @ u


class Centres(nn.Module):
    """A head from the student's features to the teacher's, and a running mean of the teacher's unit features by class.

    Attributes:
        centres: (K, wide), 0 for a class of which there was no sample yet.
    """

    centres: Tensor

    def __init__(self, narrow: int, wide: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(narrow, wide)
        self.register_buffer("centres", torch.zeros(classes, wide))

    @torch.no_grad()
    def follow(self, g: Tensor, y: Tensor) -> Tensor:
        """Move the centre of each class of the batch a tenth of the way to its mean unit feature; return (K, wide)."""
        h = onehot(y, self.centres.T)
        mean = h.T @ F.normalize(g, dim=1).to(h.dtype) / h.sum(0)[:, None].clamp_min(1)
        moved = torch.where((self.centres != 0).any(1, keepdim=True), 0.9 * self.centres + 0.1 * mean, mean)
        self.centres.copy_(torch.where(h.sum(0)[:, None] > 0, moved, self.centres))
        return self.centres.to(g.dtype, copy=True)  # the next step moves them before a recorded backward has ended


class Centred(Pair):
    """A loss against the centres of the teacher's classes."""

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module:
        narrow, wide = (shapes[net, None][0] for net in ("student", self.teacher))
        return Centres(narrow, wide, nets["student"].num_classes)

    def against(self, s: Outputs, t: Outputs, step: Step) -> tuple[Tensor, Tensor]:
        """Return unit embeddings (N, D) of the student and centres (K, D)."""
        made = step.modules[self.label]
        assert isinstance(made, Centres)
        return F.normalize(made.head(s.features), dim=1), made.follow(t.features, step.clean.y)


@dataclass(frozen=True, repr=False)
class prototypes(Centred):
    """Transfer the centres of classes: distances to the teacher's centres predict as it does.

    Formula: KL(p || softmax_k(-|W f - c_k|^2 / t)), c_k a running mean (.9) of the teacher's unit features of class k
    Weights: ours ce 1, prototypes 1, t .1.
    Source: ProKD, AAAI 2023, arXiv 2301.08855 (abstract)
    Reading: our reading of an abstract
    Trap: until a class has had a sample, its centre is at 0.
    Checked: slow loop
    """

    title, unit, short = "distances to centres", "nats", "centres"
    temperature: float = option(0.1, "divides the squared distances", low=0.01, high=10.0)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        f, centres = self.against(s, t, step)
        return kl(-(f[:, None] - centres[None]).square().sum(2) / self.temperature, t.logits)


@dataclass(frozen=True, repr=False)
class align(Centred):
    """Transfer where classes lie: the student's centre of a class at the boundary is nearest to the teacher's.

    Formula: -mean over classes k of the batch of log softmax_j(cos(s_k, c_j) / t)[k], s_k the student's mean unit
    embedding of boundary samples whose label is k, c_j a running mean (.9) of the teacher's on clean samples
    Weights: ours ce 1, prototypes 1, align 1, t .1.
    Source: ProKD, AAAI 2023, arXiv 2301.08855 (abstract), where the two domains are languages
    Reading: our reading of an abstract: clean samples and boundary samples as the two domains
    Trap: a class without boundary samples is left out as a positive, but stays as a negative.
    Checked: slow loop
    """

    title, unit, short = "centres at the boundary", "nats", "align"
    taught = "clean"
    on: str = wire("boundary", "batch of the student's centres")
    temperature: float = option(0.1, "divides the cosines", low=0.01, high=1.0)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        (e, centres), batch = self.against(s, t, step), step.batch(self.on)
        h = onehot(batch.y, centres.T)
        h = h if batch.first is None else h * batch.first[:, None]
        there = (h.sum(0) > 0).to(h.dtype)
        cosines = F.normalize(h.T @ e, dim=1) @ F.normalize(centres, dim=1).T
        right = (cosines / self.temperature).log_softmax(1).diagonal()
        return -(there * right).sum() / there.sum().clamp_min(1)


for _term in (rkd, sp, pkt, cc, crd, srd, leaf, affinity, prototypes, align):
    _term.name = _term.__name__
    terms.add(_term.name, _term)
method("rkd", lambda: ce() + rkd())
method("sp", lambda: ce() + sp() * 3000)
method("pkt", lambda: ce() + pkt() * 30000)
method("cc", lambda: ce() + cc() * 0.02)
method("crd", lambda: ce() + crd() * 0.8)
method("srd", lambda: ce() + srd())
method("leaf", lambda: ce() + leaf() * 0.1)
method("affinity", lambda: ce() + affinity())
method("prototypes", lambda: ce() + prototypes())


def _prokd() -> Objective:
    """Transfer the centres of classes, and bring the student's centres at the boundary to them."""
    return ce() + prototypes() + align()


method("prokd", _prokd)
