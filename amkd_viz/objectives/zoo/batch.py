"""Losses on how the predictions of a batch relate to each other; they depend on the size of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from amkd_viz.core.fields import option
from amkd_viz.models import Outputs
from amkd_viz.objectives.algebra import terms, wire
from amkd_viz.objectives.losses import ce
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Read, Step
from amkd_viz.objectives.zoo.logits import standardised
from amkd_viz.objectives.zoo.pair import Logits, Pair, kl

__all__ = ["batch_softmax", "dist", "graph", "mlkd", "skd"]


@dataclass(frozen=True, repr=False)
class dist(Logits):
    """Transfer correlations: of each sample's probabilities, and of each class's over the batch.

    Formula: t^2 [beta (1 - mean over rows of rho(q_i, p_i)) + gamma (1 - mean over columns of rho(q_k, p_k))], rho
    Pearson's correlation
    Weights: ce 1; beta = gamma = 1, t 1 on ImageNet; 2, t 4 on CIFAR-100.
    Source: Knowledge distillation from a stronger teacher (DIST), NeurIPS 2022, arXiv 2205.10536
    Reading: exact
    Trap: the columns need a batch that holds many classes.
    Checked: zoo_dist
    """

    title, unit, short = "correlation of probabilities", "1 - rho", "DIST"
    temperature: float = option(4.0, "softens the softmax of both nets", low=0.25, high=20.0)
    beta: float = option(2.0, "weight of the rows", low=0.0, high=10.0)
    gamma: float = option(2.0, "weight of the columns", low=0.0, high=10.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        q, p = (s / self.temperature).softmax(1), (t / self.temperature).softmax(1)
        return self.temperature**2 * (self.beta * _unlike(q, p) + self.gamma * _unlike(q.T, p.T))


def _unlike(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 - the mean correlation of the rows of two matrices."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return 1 - ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-8)).mean()


def class_gram(s: Tensor, t: Tensor, temperature: float) -> Tensor:
    """Return ||p'p - q'q||_F^2 / K."""
    return _gram((s / temperature).softmax(1).T, (t / temperature).softmax(1).T)


def batch_gram(s: Tensor, t: Tensor, temperature: float) -> Tensor:
    """Return ||p p' - q q'||_F^2 / N."""
    return _gram((s / temperature).softmax(1), (t / temperature).softmax(1))


def _gram(q: Tensor, p: Tensor) -> Tensor:
    return (p @ p.T - q @ q.T).square().sum() / len(q)


@dataclass(frozen=True, repr=False)
class mlkd(Pair):
    """Transfer predictions at several temperatures, and how samples and classes resemble each other.

    Formula: sum_t [m KD_t(w) + c class_t(w) + m batch_t(w)] + sum_{t in T, 3, 5} KD_t(s) + sum_{t in 2, 6} KD_t(w), t
    in T, 3, 5, 2, 6; w the clean batch, s the second view, KD_t = t^2 KL, batch and class the squared distance of Gram
    matrices, m and c the shares of samples and classes of at most median confidence
    Weights: ce .1 on both views, mlkd .9, T 4; with standardised logits 9, T 2.
    Source: Multi-level logit distillation, CVPR 2023
    Reading: exact, as coded: its masks scale by about a half in place of choosing, and t 2 and 6 read the first view
    Trap: a second view costs a second pass of both nets.
    Checked: zoo_mlkd
    """

    title, unit, short = "multi-level logits", "nats × t²", "MLKD"
    temperature: float = option(4.0, "the first of five temperatures", low=0.25, high=20.0)
    standardise: bool = option(False, "standardise each row of logits in KD first (arXiv 2403.01427)")
    strong: str = wire("view2", "batch of the second view")

    def reads(self) -> list[Read]:
        return [*super().reads(), *((net, self.strong, None) for net in ("student", self.teacher))]

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        strong_s, strong_t = (step.outputs(net, self.strong).logits for net in ("student", self.teacher))
        w, strong, p = (s.logits, t.logits), (strong_s, strong_t.detach()), t.logits.softmax(1)
        m, c = _at_most_median(p.amax(1)), _at_most_median(p.sum(0))

        def instance(pair: tuple[Tensor, Tensor], at: float) -> Tensor:
            a, b = (standardised(z) for z in pair) if self.standardise else pair
            return at**2 * kl(a, b, at).mean()

        temperatures = (self.temperature, 3, 5, 2, 6)
        parts = [m * instance(w, at) + c * class_gram(*w, at) + m * batch_gram(*w, at) for at in temperatures]
        parts += [instance(strong if place < 3 else w, at) for place, at in enumerate(temperatures)]
        return torch.stack(parts).sum()


def _at_most_median(values: Tensor) -> Tensor:
    return (values <= values.quantile(0.5)).to(values.dtype).mean()


@dataclass(frozen=True, repr=False)
class skd(Logits):
    """Transfer predictions, and the direction in which samples of a batch differ from each other.

    Formula: instance KL(p || q) + direction mean_i sqrt(D_i' C^-1 D_i), D the difference of the Gram matrices of unit
    logits, C = cov(D) + .1 I
    Weights: ce 1, instance 10 (t 4), direction 20.
    Source: StreamLined KD, CVPR 2026, github.com/HyunJunSik/StreamLined, as torchdistill 1.1.5 has it (mode paper)
    Reading: exact, as in the paper: the released code multiplies by t^2, halves by masks and divides Gram matrices by K
    Trap: at the small logits of a fresh net the gradient of the directions is many times that of ce: lower it there.
    Checked: zoo_skd
    """

    title, unit, short = "directions in a batch", "nats", "SKD"
    temperature: float = option(4.0, "softens the softmax of both nets", low=0.25, high=20.0)
    instance: float = option(10.0, "weight of the predictions", low=0.0, high=100.0)
    direction: float = option(20.0, "weight of the directions", low=0.0, high=100.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.instance * kl(s, t, self.temperature) + self.direction * directions(s, t)


def directions(s: Tensor, t: Tensor) -> Tensor:
    """Return the part of ``skd`` on Gram matrices, a scalar."""
    u, v = normalize(s, dim=1), normalize(t, dim=1)
    d = u @ u.T - v @ v.T
    e = d - d.mean(0)
    c = e.T @ e / (len(d) - 1) + 0.1 * torch.eye(
        len(d), device=d.device
    )  # the 0.1 of float32, as the reference adds it
    root = torch.linalg.cholesky_ex(c)[0]  # positive definite; without the check for which a GPU would wait
    squared = torch.linalg.solve_triangular(root, d.T, upper=False).square().sum(0)
    return (squared + 1e-12).sqrt().mean()


@dataclass(frozen=True, repr=False)
class batch_softmax(Logits):
    """Transfer which samples of a batch are the most typical of each class.

    Formula: t^2 / K sum_k KL over the batch of softmax_i(T_ik (1 - e_i) / t) and that of S; e the edge-ness, see near
    Weights: ours ce 1, kd (t^2) 1 times near, batch_softmax 1; dense: edge 50, body 20.
    Source: Boundary-privileged KD (BPKD), WACV 2024, arXiv 2306.08075
    Reading: our reading for samples in place of pixels; the sum itself as three re-implementations have it
    Trap: logits that are masked are 0 in the softmax, not left out.
    Checked: seed2_bpkd
    """

    title, unit, short = "softmax over the batch", "nats × t²", "body"
    temperature: float = option(1.0, "softens the softmax over the batch", low=0.25, high=20.0)

    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return body(s, t, edge(t), self.temperature)


def edge(t: Tensor) -> Tensor:
    """Return in (0, 1) how near to its boundary the teacher sees each sample: sigmoid((q - m) / sd(m)), m the lead of
    its largest logit and q its 30 % quantile over the batch."""
    top = t.topk(2, 1).values
    m = top[:, 0] - top[:, 1]
    return ((m.quantile(0.3) - m) / (m.std() + 1e-6)).sigmoid()


def body(s: Tensor, t: Tensor, edge: Tensor, temperature: float) -> Tensor:
    """Return the loss of ``batch_softmax``; ``edge`` is (N,), or (N, K) per class."""
    inside = 1 - (edge if edge.ndim == 2 else edge[:, None])
    return temperature**2 * kl((s * inside).T, (t * inside).T, temperature).mean()


@dataclass(frozen=True, repr=False)
class graph(Pair):
    """Transfer what neighbours agree on, and in which classes they differ.

    Formula: mean over edges of KL(p_j || q_i) + KL(softmax(|T_i - T_j| / t) || softmax(|S_i - S_j| / t)), edges from
    each sample to its k nearest in the teacher's features (and to itself in the first part)
    Weights: lam ce + (1 - lam) graph, lam .1 to .5 (ours .3), t 1.5.
    Source: FF-G2M, AAAI 2023, arXiv 2305.10758
    Reading: exact on given edges; edges within a batch of images are our reading
    Trap: two parts that pull apart: smooth among neighbours, sharp between them.
    Checked: seed2_ffg2m
    """

    title, unit, short = "agreement of neighbours", "nats", "graph"
    temperature: float = option(1.5, "softens the differences", low=0.25, high=20.0)
    k: int = option(3, "number of neighbours", low=1, high=16)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        near = neighbours(t.features, min(self.k, len(t.features) - 1))
        here = torch.arange(len(near), device=near.device)[:, None].expand_as(near)
        i, j = here.flatten(), near.flatten()
        low = torch.cat([kl(s.logits[i], t.logits[j]), kl(s.logits, t.logits)]).mean()  # with each sample itself
        apart_s, apart_t = ((z[i] - z[j]).abs() for z in (s.logits, t.logits))
        return low + kl(apart_s, apart_t, self.temperature).mean()


def neighbours(features: Tensor, k: int) -> Tensor:
    """Return (N, k): the rows of the nearest other features of each row."""
    return torch.cdist(features, features).fill_diagonal_(torch.inf).topk(k, 1, largest=False).indices


for _term in (dist, mlkd, skd, batch_softmax, graph):
    _term.name = _term.__name__
    terms.add(_term.name, _term)
method("dist", lambda: ce() + dist())
method("mlkd", lambda: ce() * 0.1 + ce(on="view2") * 0.1 + mlkd() * 0.9)
method("skd", lambda: ce() + skd())
method("graph", lambda: ce() * 0.3 + graph() * 0.7)
