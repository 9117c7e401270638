"""Losses by whose knowledge it is: a past self, labels of neighbours, a mended teacher, several teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.models import Classifier, Outputs
from amkd_viz.objectives.algebra import Objective, Shapes, Term, terms, wire
from amkd_viz.objectives.losses import ce, kd
from amkd_viz.objectives.losses.soft_targets import soft_cross_entropy
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Read, Step
from amkd_viz.objectives.weights import linear
from amkd_viz.objectives.zoo.pair import Logits, Pair, kl

__all__ = ["knn", "mst", "simkd", "swapped"]


@dataclass(frozen=True, repr=False)
class swapped(Logits):
    """Transfer predictions of a teacher whose mistakes are mended: the label takes the largest logit.

    Formula: t^2 H(p', q), p' of T with the logits of its prediction and of the label exchanged
    Weights: ours ce 1, swapped 1, t 4.
    Source: Probability shift, arXiv 1911.07471, as in KD_Lib
    Reading: exact exchange
    Trap: on training samples a good teacher makes few mistakes, and this is kd.
    Checked: slow loop
    """

    title, unit, short = "KD from a mended teacher", "nats × t²", "swapped"
    temperature: float = option(4.0, "softens both predictions", low=0.25, high=20.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        best, label = t.argmax(1, keepdim=True), y[:, None]
        mended = t.scatter(1, best, t.gather(1, label)).scatter(1, label, t.gather(1, best))
        return self.temperature**2 * soft_cross_entropy(mended, s, self.temperature)


@dataclass(frozen=True, repr=False)
class knn(Term):
    """Transfer the labels of the nearest training samples, in the teacher's features.

    Formula: KL(p || q), p_c = sum over k neighbours of softmax(-d / tau) [y = c], the sample itself left out
    Weights: ce 1 (label smoothing .1 in the original), knn 1; k 4 to 64, tau 10 to 100 for its distances.
    Source: kNN-KD, as Dual KD for NMT (CSL 2024) uses it, github.com/FadedCosine/kNN-KD
    Reading: exact on given neighbours; images, k 16 and tau in units of the median distance are our reading
    Trap: with the sample among its neighbours p is its label.
    Checked: seed1_knn_kd
    """

    title, unit, short = "labels of neighbours", "nats", "kNN"
    teacher: str = wire("teacher", "frozen net whose features measure distance")
    k: int = option(16, "number of neighbours", low=1, high=128)
    tau: float = option(1.0, "softens the distances, in units of their median", low=0.01, high=100.0)

    def reads(self) -> list[Read]:
        return [("student", "clean", None), (self.teacher, "clean", None)]

    def __call__(self, step: Step) -> Tensor:
        assert step.known is not None
        known, y = step.known(self.teacher)
        at, logits = step.clean.index, step.outputs("student").logits
        d = torch.cdist(known.features[at], known.features).scatter(1, at[:, None], torch.inf)
        near, rows = d.topk(min(self.k, len(y) - 1), 1, largest=False)
        return neighbours_kl(logits, near, y[rows], self.tau * near.median())


def neighbours_kl(logits: Tensor, distances: Tensor, labels: Tensor, tau: float | Tensor) -> Tensor:
    """Return KL (N,) of the labels (N, k) of neighbours at ``distances`` (N, k) and a prediction (N, K)."""
    share = (-distances / tau).softmax(1).to(logits.dtype)
    p = torch.zeros_like(logits).scatter_add(1, labels, share)
    return (torch.xlogy(p, p) - p * logits.log_softmax(1)).sum(1)


class Gate(nn.Module):
    """Linear layers K -> 2 K -> teachers, no activation between: a softmax over teachers for each sample."""

    def __init__(self, classes: int, teachers: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(classes, 2 * classes), nn.Linear(2 * classes, teachers)

    def forward(self, logits: Tensor) -> Tensor:
        """Return (N, teachers) shares."""
        made: Tensor = self.fc2(self.fc1(logits)).softmax(1)
        return made


@dataclass(frozen=True, repr=False)
class mst(Term):
    """Transfer predictions of several teachers, for each sample of those that a router chooses.

    Formula: soft: t^2 KL(sum_m w_m T_m || S), w = gate(S), which learns from sum_m w_m (t^2 KL_m + CE_m) of fixed
    losses; best: the teacher with the least CE; code: mean of t^2 KL_m of the ``top`` largest w, and the gate learns
    from KL(uniform || mean w) / m alone
    Weights: ce 1, mst 1, t 4.
    Source: MST-Distill, ACM MM 2025, arXiv 2507.07015, github.com/Gray-OREO/MST-Distill
    Reading: exact losses of the student (soft, code); best, and what the gate of soft learns from, are our reading: the
    released router does not learn whom to choose
    Trap: needs teacher="a+b".
    Checked: seed2_mst
    """

    title, unit, short = "routed teachers", "nats × t²", "MST"
    temperature: float = option(4.0, "softens both predictions", low=0.25, high=20.0)
    teachers: int = option(2, "number of teachers", low=2, high=8)
    route: str = option("soft", "how a teacher is chosen", choices=("soft", "best", "code"))
    top: int = option(1, "number of teachers of a sample (code)", low=1, high=8)

    @property
    def names(self) -> list[str]:
        return ["teacher", *(f"teacher{place}" for place in range(2, self.teachers + 1))]

    def reads(self) -> list[Read]:
        return [(net, "clean", None) for net in ("student", *self.names)]

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module:
        return Gate(nets["student"].num_classes, self.teachers)

    def __call__(self, step: Step) -> Tensor:
        s, t = step.outputs("student").logits, [step.outputs(name).logits.detach() for name in self.names]
        each = torch.stack([self.temperature**2 * kl(s, one, self.temperature) for one in t], 1)
        wrong = torch.stack([F.cross_entropy(one, step.clean.y, reduction="none") for one in t], 1)
        if self.route == "best":
            return each.gather(1, wrong.argmin(1, keepdim=True))[:, 0]
        w = step.modules[self.label](s if self.route == "code" else s.detach())
        step.metrics |= {f"mst.{name}": share for name, share in zip(self.names, w.detach().mean(0), strict=True)}
        if self.route == "code":
            return each.gather(1, w.topk(min(self.top, len(t)), 1).indices).mean(1) + balance(w)
        mixed = (w.detach()[:, :, None] * torch.stack(t, 1)).sum(1)
        learned = (w * (each + wrong).detach()).sum(1)
        return self.temperature**2 * kl(s, mixed, self.temperature) + learned - learned.detach()


def balance(w: Tensor) -> Tensor:
    """Return KL(uniform || mean share) over the number of teachers, a scalar."""
    teachers = w.shape[1]
    return (-(w.mean(0) * teachers).log() / teachers).sum() / teachers


class Reused(nn.Module):
    """A linear map to the teacher's features, with batch norm; after each update the student's head is the teacher's
    head of it, by the running statistics."""

    def __init__(self, narrow: int, wide: int, teacher: str) -> None:
        super().__init__()
        self.map, self.norm, self.teacher = nn.Linear(narrow, wide, bias=False), nn.BatchNorm1d(wide), teacher

    def forward(self, f: Tensor) -> Tensor:
        made: Tensor = self.norm(self.map(f))
        return made

    @torch.no_grad()
    def after_step(self, nets: Mapping[str, Classifier]) -> None:
        own, theirs, norm = nets["student"].head, nets[self.teacher].head, self.norm
        assert isinstance(own, nn.Linear)
        assert isinstance(theirs, nn.Linear)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        own.weight.copy_(theirs.weight @ (scale[:, None] * self.map.weight))
        own.bias.copy_(theirs.weight @ (norm.bias - scale * norm.running_mean) + theirs.bias)


@dataclass(frozen=True, repr=False)
class simkd(Pair):
    """Transfer the teacher's features alone, and take its head: the student has none of its own.

    Formula: mean of (R f - g)^2, R linear with batch norm, learned; the student's head is the teacher's head of R f
    Weights: 1, alone.
    Source: Knowledge distillation with the reused teacher classifier (SimKD), CVPR 2022, arXiv 2203.14001
    Reading: our reading: one map with batch norm in place of three convolutions with it, so that both are a linear head
    Trap: no label is read; mistakes of the teacher's head are the student's.
    Checked: slow loop
    """

    title, unit, short = "features for the teacher's head", "squared", "SimKD"

    def learned(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> nn.Module:
        return Reused(*self.widths(shapes), self.teacher)

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module | None:
        for net in ("student", self.teacher):
            if not isinstance(nets[net].head, nn.Linear):
                raise InputError(f"simkd needs nets with one linear head, but that of the {net} is another one.")
        return super().module(shapes, nets)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        return (step.modules[self.label](s.features) - t.features).square().mean(1)


for _term in (swapped, knn, mst, simkd):
    _term.name = _term.__name__
    terms.add(_term.name, _term)


def _ema_self() -> Objective:
    """Transfer predictions of a moving average of the student's own weights; no teacher.

    Weights: ours ce 1, kd 1, t 3; the average keeps .99 a step.
    Source: Mean teacher, NeurIPS 2017, arXiv 1703.01780
    Reading: our reading on labelled samples alone
    Checked: slow loop
    Trap: an average of a net that is wrong is wrong as well, and surer.
    """
    return ce() + kd(temperature=3, t2=True, teacher="ema")


def _vote() -> Objective:
    """Transfer the vote of the student's last three epochs; no teacher.

    Formula: t^2 H(p, q), p the mean of three past selves' softmaxes at t 4
    Weights: ours ce 1, kd rising to 1 over a tenth of the training, t 4.
    Source: SD-DARTS, arXiv 2302.05629 (abstract)
    Reading: our reading of an abstract, for a net of fixed form
    Checked: slow loop
    Trap: three more passes; early selves know nothing.
    """
    return ce() + kd(temperature=4, t2=True, teacher="vote") * linear(0, 1, until=0.1)


method("ema-self", _ema_self)
method("vote", _vote)
method("swapped", lambda: ce() + swapped())
method("knn", lambda: ce() + knn())
method("mst", lambda: ce() + mst())
method("simkd", lambda: simkd() * 1)
