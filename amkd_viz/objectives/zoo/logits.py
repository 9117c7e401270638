"""Losses on predictions. S, T: logits (N, K); q, p: softmaxes at temperature t; y: labels; KL sums over classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.models import Outputs
from amkd_viz.objectives.algebra import Objective, terms
from amkd_viz.objectives.losses import ce, kd
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Step
from amkd_viz.objectives.weights import linear
from amkd_viz.objectives.zoo.pair import Logits, kl, onehot

__all__ = [
    "ccc",
    "dkd",
    "ls_kd",
    "margin_bins",
    "margin_mse",
    "nkd",
    "ofa",
    "pld",
    "prob_mse",
    "rld",
    "top_classes",
    "wttm",
]

WARM = 1 / 12  # 20 of 240 epochs


def standardised(z: Tensor) -> Tensor:
    """Return (z - mean) / std of each row, std with K - 1; 1e-12 in its root keeps a row of equal logits finite."""
    return (z - z.mean(1, keepdim=True)) / ((z.var(1, keepdim=True) + 1e-12).sqrt() + 1e-7)


def others(z: Tensor, y: Tensor) -> Tensor:
    """Return (N, K - 1) entries of each row without that of the label; no shape depends on data."""
    at = torch.arange(z.shape[1] - 1, device=z.device)[None]
    return z.gather(1, at + (at >= y[:, None]))


def split(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, 2): log of the label's probability and of all others'; and (N, K - 1) logits of the others."""
    rest = others(z, y)
    return torch.stack([_at(z, y), rest.logsumexp(1)], 1).log_softmax(1), rest


def _at(z: Tensor, y: Tensor) -> Tensor:
    return z.gather(1, y[:, None])[:, 0]


def _temperature(value: float) -> float:
    made: float = option(value, "softens the softmax of both nets", low=0.25, high=20.0)
    return made


@dataclass(frozen=True, repr=False)
class ls_kd(Logits):
    """Transfer the shape of the logits, not their size: each row is standardised first.

    Formula: t^2 KL(p || q) of z(T) and z(S), z(v) = (v - mean) / std of each row, std with K - 1
    Weights: ce .1, ls_kd 9, t 2 (resnet32x4 -> resnet8x4, wrn40-2 -> wrn16-2 and others); 6 to 10, t 3 for ViTs.
    Source: Logit standardization in knowledge distillation, CVPR 2024, arXiv 2403.01427
    Reading: exact
    Trap: nothing anchors the size of the student's logits, so keep labels in the sum.
    Checked: zoo_ls_kd
    """

    title, unit, short = "KD on standardised logits", "nats × t²", "LS-KD"
    temperature: float = _temperature(2.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.temperature**2 * kl(standardised(s), standardised(t), self.temperature)


@dataclass(frozen=True, repr=False)
class dkd(Logits):
    """Transfer two things apart: trust in the label, and how alike the other classes are.

    Formula: t^2 [alpha KL(b_T || b_S) + beta KL(r_T || r_S)], b = (q_y, 1 - q_y), r the softmax of the other classes
    Weights: ce 1, dkd rising to 1 in 20 of 240 epochs, alpha 1, t 4; beta 8 (resnet32x4 -> resnet8x4), 6 (wrn40-2 ->
    wrn16-2), 2 (resnet56 -> resnet20). On standardised logits alpha and beta 9 times as large, t 2.
    Source: Decoupled knowledge distillation, CVPR 2022, arXiv 2203.08679
    Reading: exact
    Trap: with two classes the second part is 0. Written with softmax sums it overflows; this one is in log space.
    Checked: zoo_dkd, seed1_dkd
    """

    title, unit, short = "decoupled KD", "nats × t²", "DKD"
    temperature: float = _temperature(4.0)
    alpha: float = option(1.0, "weight of the label's part", low=0.0, high=10.0)
    beta: float = option(8.0, "weight of the other classes' part", low=0.0, high=10.0)
    standardise: bool = option(False, "standardise each row of logits first (arXiv 2403.01427)")

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        if self.standardise:
            s, t = standardised(s), standardised(t)
        (two_s, rest_s), (two_t, rest_t) = (split(z / self.temperature, y) for z in (s, t))
        return self.temperature**2 * (self.alpha * kl(two_s, two_t) + self.beta * kl(rest_s, rest_t))


@dataclass(frozen=True, repr=False)
class tckd(dkd):
    """Transfer trust in the label alone: the first part of dkd, a term of its own so that it has its own momentum.

    Formula: t^2 alpha KL(b_T || b_S), b = (q_y, 1 - q_y)
    Weights: ce 1, tckd 1, nckd 1, alpha 1, t 4; with Recipe(update="deepkd").
    Source: DeepKD, 2025, github.com/haiduo/DeepKD
    Reading: exact
    Trap: without its update, tckd + nckd is dkd.
    Checked: zoo_dkd, seed1_deepkd
    """

    title, short, group = "trust in the label", "TCKD", "target"
    beta: float = option(0.0, "weight of the other classes' part", low=0.0, high=10.0)


@dataclass(frozen=True, repr=False)
class nckd(dkd):
    """Transfer how alike the other classes are, alone: the second part of dkd.

    Formula: t^2 beta KL(r_T || r_S), r the softmax of the other classes
    Weights: ce 1, tckd 1, nckd 1, beta 8, t 4; with Recipe(update="deepkd").
    Source: DeepKD, 2025, github.com/haiduo/DeepKD
    Reading: exact; as released, its update gives labels the momentum of the target class
    Trap: with two classes it is 0.
    Checked: zoo_dkd, seed1_deepkd
    """

    title, short, group = "likeness of the other classes", "NCKD", "others"
    alpha: float = option(0.0, "weight of the label's part", low=0.0, high=10.0)


@dataclass(frozen=True, repr=False)
class nkd(Logits):
    """Transfer trust in the label as a weight, and the other classes among themselves.

    Formula: -p_y log q_y (t 1) + gamma t^2 H(r_T, r_S), r the softmax of the other classes
    Weights: ce 1, nkd 1, gamma 1.5, t 1.
    Source: NKD, ICCV 2023, arXiv 2303.13005
    Reading: exact, as in the paper: the released mask keeps the label among the others, which its author calls a slip
    Trap: a cross-entropy, so its value does not reach 0.
    Checked: zoo_nkd
    """

    title, unit, short = "normalised KD", "nats", "NKD"
    temperature: float = _temperature(1.0)
    gamma: float = option(1.5, "weight of the other classes' part", low=0.0, high=10.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        label = -_at(t.softmax(1), y) * _at(s.log_softmax(1), y)
        rest_s, rest_t = (others(z / self.temperature, y) for z in (s, t))
        return label - self.gamma * self.temperature**2 * (rest_t.softmax(1) * rest_s.log_softmax(1)).sum(1)


@dataclass(frozen=True, repr=False)
class wttm(Logits):
    """Transfer a flattened teacher to a student at temperature 1, more where the teacher is unsure.

    Formula: Z KL(u || q), q at t 1, u = p^gamma / Z, Z = sum of p^gamma (weighted; else without the factor Z)
    Weights: ttm: ce 1, 45, gamma .1 (vgg13 -> vgg8); wttm: 4, gamma .2, published beside crd .8.
    Source: Transformed teacher matching, ICLR 2024, arXiv 2402.11148
    Reading: exact
    Trap: gamma is 1 / t of the teacher alone, and there is no factor t^2: weights of kd do not carry over.
    Checked: zoo_wttm
    """

    title, unit, short = "transformed teacher matching", "nats", "TTM"
    gamma: float = option(0.2, "power of the teacher's probabilities", low=0.01, high=1.0)
    weighted: bool = option(True, "weigh each sample by the sum of the powers")

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        powers = self.gamma * t.log_softmax(1)
        loss = kl(s, powers)
        return powers.exp().sum(1) * loss if self.weighted else loss


@dataclass(frozen=True, repr=False)
class rld(Logits):
    """Transfer the teacher's certainty, and the classes that it ranks below the label.

    Formula: t^2 [alpha KL(b_T || b_S) + beta KL(r_T || r_S)], b_T = (max p, 1 - max p), b_S = (q_y, 1 - q_y), r the
    softmax of the classes that the teacher ranks below y
    Weights: ce 1, alpha 1, beta 4 (tuned per pair), t 4.
    Source: Refined logit distillation, ICCV 2025, arXiv 2408.07703
    Reading: our reading of the paper's formulas: its code is not public
    Trap: where the teacher is right this is dkd.
    Checked: dkd where the teacher is right, slow loop elsewhere
    """

    title, unit, short = "refined logits", "nats × t²", "RLD"
    temperature: float = _temperature(4.0)
    alpha: float = option(1.0, "weight of the certainty's part", low=0.0, high=10.0)
    beta: float = option(4.0, "weight of the part below the label", low=0.0, high=10.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        s, t = s / self.temperature, t / self.temperature
        two = kl(split(s, y)[0], split(t, t.argmax(1))[0])
        below = t < _at(t, y)[:, None]
        log_s, log_t = (torch.where(below, z - _logsumexp(z, below), 0) for z in (s, t))
        rest = (below * log_t.exp() * (log_t - log_s)).sum(1)
        return self.temperature**2 * (self.alpha * two + self.beta * rest)


def _logsumexp(z: Tensor, mask: Tensor) -> Tensor:
    return z.masked_fill(~mask, -1e30).logsumexp(1, keepdim=True)


@dataclass(frozen=True, repr=False)
class pld(Logits):
    """Transfer a ranking: the label first, then the other classes as the teacher ranks them.

    Formula: sum_k a_k (logsumexp_{l >= k} S[pi_l] - S[pi_k]), pi = y, then the others by falling T; a =
    softmax(T / t)[pi]
    Weights: 1, alone; t 1 on ImageNet, 4 on CIFAR-100.
    Source: Plackett-Luce distillation, NeurIPS 2025, arXiv 2506.12542
    Reading: exact
    Trap: no labels beside it. Where the teacher gives the label almost no mass, its first place weighs almost nothing.
    Checked: seed2_pld
    """

    title, unit, short = "Plackett-Luce ranking", "nats", "PLD"
    temperature: float = option(1.0, "softens the teacher's weights, not the student", low=0.25, high=20.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        order = t.scatter(1, y[:, None], torch.inf).argsort(dim=1, stable=True)  # rising: the label is last
        s, a = s.gather(1, order), (t / self.temperature).softmax(1).gather(1, order)
        return (a * (s.logcumsumexp(1) - s)).sum(1)


@dataclass(frozen=True, repr=False)
class ofa(Logits):
    """Transfer predictions that are sharpened towards the label, for nets of another kind.

    Formula: -sum_k [(p + h)^eps - h]_k log q_k, h = onehot(y)
    Weights: ce 1, ofa 1, t 1; eps 1 (CIFAR-100), 1 to 1.5 (ImageNet).
    Source: One-for-all (OFA-KD), NeurIPS 2023, github.com/Hao840/OFAKD
    Reading: exact for the last logits; the published method has the same loss on four stage branches
    Trap: with eps 1 the label has no effect: this is H(p, q).
    Checked: zoo_ofa, seed2_ofa
    """

    title, unit, short = "one-for-all logits", "nats", "OFA"
    temperature: float = _temperature(1.0)
    eps: float = option(1.0, "power that moves mass to the label", low=1.0, high=3.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        h = onehot(y, t)
        target = ((t / self.temperature).softmax(1) + h) ** self.eps - h
        return -(target * (s / self.temperature).log_softmax(1)).sum(1)


@dataclass(frozen=True, repr=False)
class margin_mse(Logits):
    """Transfer differences of logits: by how much the label leads.

    Formula: mean of ((S_a - S_b) - (T_a - T_b))^2, a the label; b the teacher's best other class (hardest), every
    other class (all), every pair (pairs); or the two classes between which a boundary sample lies (target)
    Weights: no ce in the original; ours ce 1, margin_mse .05.
    Source: Margin-MSE, 2020, arXiv 2010.02666
    Reading: exact on given pairs; which classes make a pair is our reading for images
    Trap: raw logits give losses of 20 to 30, so weights of .01 to .1; the teacher's scale is copied.
    Checked: seed2_margin_mse
    """

    title, unit, short = "differences of logits", "squared logits", "margins"
    negative: str = option("hardest", "class b of each pair", choices=("hardest", "all", "pairs", "target"))

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        batch = step.batch(self.on)
        if self.negative != "target":
            return self.rows(s.logits, t.logits, batch.y)
        if batch.samples is None:
            raise InputError(
                f"{self.label}.negative must be hardest, all or pairs on the batch {self.on!r}, got target."
            )
        d, samples = s.logits - t.logits, batch.samples
        return (_at(d, samples.base) - _at(d, samples.target)).square()

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        d = s - t
        if self.negative == "pairs":  # the mean over ordered pairs is twice the variance
            return 2 * (d - d.mean(1, keepdim=True)).square().mean(1)
        lead = _at(d, y)[:, None] - others(d, y)
        if self.negative == "hardest":
            return _at(lead, others(t, y).argmax(1)).square()
        return lead.square().mean(1)


@dataclass(frozen=True, repr=False)
class margin_bins(Logits):
    """Transfer how far each sample is from a mistake, as a distribution over bins of the margin.

    Formula: KL(b(u_T) || b(u_S)), u = z_y - max of the others, b_k ~ exp(-(u - c_k)^2 / 2h^2), 16 centres c over the
    teacher's margins from their 1st to their 99th percentile in the batch, h their distance
    Weights: ours ce 1, margin_bins .1.
    Source: D3: discretization and decoupled KD for oriented detection, DSP 2024 (title only)
    Reading: our reading of a title
    Trap: beyond the outer centres every margin looks alike.
    Checked: slow loop
    """

    title, unit, short = "bins of the margin", "nats", "bins"

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        u_s, u_t = (_at(z, y) - others(z, y).amax(1) for z in (s, t))
        low, high = u_t.quantile(0.01), u_t.quantile(0.99)
        h = ((high - low) / 15).clamp_min(1e-3)
        c = low + h * torch.arange(16, device=u_t.device)
        b_s, b_t = (-((u[:, None] - c) / h).square() / 2 for u in (u_s, u_t))
        return kl(b_s, b_t)


@dataclass(frozen=True, repr=False)
class ccc(Logits):
    """Transfer each class's logit over the batch, its scale and offset included; no labels.

    Formula: 1 - mean over classes of 2 cov / (var_S + var_T + (mean_S - mean_T)^2), over the batch
    Weights: 1, alone.
    Source: Wav2Small, 2024, arXiv 2408.13920
    Reading: our reading: the paper judges by this number, and does not say that it trains with it
    Trap: depends on the batch; take 32 samples or more. Pearson's correlation (dist) ignores scale and offset.
    Checked: slow loop
    """

    title, unit, short = "concordance", "1 - CCC", "CCC"

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        mean_s, mean_t = s.mean(0), t.mean(0)
        cov = ((s - mean_s) * (t - mean_t)).mean(0)
        spread = (s - mean_s).square().mean(0) + (t - mean_t).square().mean(0) + (mean_s - mean_t).square()
        return 1 - (2 * cov / (spread + 1e-8)).mean()


@dataclass(frozen=True, repr=False)
class prob_mse(Logits):
    """Transfer probabilities by their squared distance, with a share of the label: generations of one net.

    Formula: labels |q - onehot(y)|^2 / K + (1 - labels) |q - p|^2 / K, t 1
    Weights: 1, alone, labels .6; the regulariser 1e-4 sum of norms is left to weight decay.
    Source: Self-distillation with weighted ground truth, NeurIPS 2021, arXiv 2102.13088
    Reading: exact without the regulariser; any teacher in place of the previous generation
    Trap: flat where the student is sure and wrong: a squared distance of softmaxes saturates.
    Checked: seed2_borup
    """

    title, unit, short = "squared distance of probabilities", "squared", "prob. MSE"
    labels: float = option(0.6, "weight of the labels", low=0.0, high=1.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        q, h = s.softmax(1), onehot(y, s)
        return self.labels * (q - h).square().mean(1) + (1 - self.labels) * (q - t.softmax(1)).square().mean(1)


@dataclass(frozen=True, repr=False)
class top_classes(Logits):
    """Transfer predictions of the classes that either net holds likely; all others are one class.

    Formula: t^2 KL(p || q) over the union of both nets' k likeliest classes and the sum of the rest
    Weights: ours ce 1, top_classes 1, k 5, t 4.
    Source: PVD-AL, IJCV 2026, arXiv 2304.04012, its points of the largest weight, as classes
    Reading: our reading: classes in place of points along a ray
    Trap: with at most k classes its gradient is that of kd with t^2.
    Checked: slow loop
    """

    title, unit, short = "likely classes", "nats × t²", "top classes"
    temperature: float = _temperature(4.0)
    k: int = option(5, "number of likely classes of each net", low=1, high=100)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        k = min(self.k, s.shape[1])
        bound = torch.stack([z.detach().topk(k, 1).values[:, -1:] for z in (s, t)])
        kept = (s >= bound[0]) | (t >= bound[1])
        parts = []
        for z in (s, t):
            log = (z / self.temperature).log_softmax(1)
            rest = log.masked_fill(kept, -1e30).logsumexp(1, keepdim=True)  # of no class: a probability of 0
            parts.append(torch.cat([log, rest], 1))
        q, p = parts
        apart = p.exp() * (p - q)
        return self.temperature**2 * (apart[:, :-1] * kept).sum(1) + self.temperature**2 * apart[:, -1]


for _term in (ls_kd, dkd, tckd, nckd, nkd, wttm, rld, pld, ofa, margin_mse, margin_bins, ccc, prob_mse, top_classes):
    _term.name = _term.__name__
    terms.add(_term.name, _term)


def _teacher_only() -> Objective:
    """Transfer the teacher's softened predictions alone: no label is read.

    Weights: none published; kd 1, t 4 with t^2.
    """
    return kd(temperature=4, t2=True) * 1


method("hinton", lambda: ce() * 0.1 + kd(temperature=4, t2=True) * 0.9)
method("teacher-only", _teacher_only)
method("ls-kd", lambda: ce() * 0.1 + ls_kd() * 9)
method("dkd", lambda: ce() + dkd() * linear(0, 1, until=WARM))
method("deepkd", lambda: ce() + (tckd() + nckd()) * linear(0, 1, until=WARM))
method("nkd", lambda: ce() + nkd())
method("ttm", lambda: ce() + wttm(gamma=0.1, weighted=False) * 45)
method("wttm", lambda: ce() + wttm() * 4)
method("rld", lambda: ce() + rld())
method("pld", lambda: pld() * 1)
method("ofa-logits", lambda: ce() + ofa())
method("margin-mse", lambda: ce() + margin_mse() * 0.05)
method("margin-bins", lambda: ce() + margin_bins() * 0.1)
method("ccc", lambda: ccc() * 1)
method("top-classes", lambda: ce() + top_classes())
method("prob-mse", lambda: prob_mse() * 1)
