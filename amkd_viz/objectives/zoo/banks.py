"""Contrast with more than the batch: a bank of embeddings of every sample, and binary codes with clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.fields import option
from amkd_viz.models import Classifier, Outputs
from amkd_viz.objectives.algebra import Shapes, terms, wire
from amkd_viz.objectives.losses import ce
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Read, Step
from amkd_viz.objectives.zoo.pair import Pair, onehot
from amkd_viz.objectives.zoo.relations import Embeddings

__all__ = ["brcd", "crd_bank"]


class Banks(Embeddings):
    """Learned embeddings of both nets, and the last unit embedding of every training sample by each of them.

    Attributes:
        student_bank, teacher_bank: (n, width). z: (2,) constants of both scores, -1 before the first batch.
    """

    student_bank: Tensor
    teacher_bank: Tensor
    z: Tensor

    def __init__(self, narrow: int, wide: int, width: int, count: int) -> None:
        super().__init__(narrow, wide, width)
        for name in ("student_bank", "teacher_bank"):
            self.register_buffer(name, (2 * torch.rand(count, width) - 1) / (width / 3) ** 0.5)
        self.register_buffer("z", torch.full((2,), -1.0))

    def contrast(self, e: Tensor, u: Tensor, index: Tensor, drawn: Tensor, temperature: float, keep: float) -> Tensor:
        """Return the loss (N,) of unit embeddings e and u (N, width), then move the rows of the banks.

        Args:
            index: (N,) rows of the samples. drawn: (N, k) rows of negatives.
        """
        n, k = len(self.student_bank), drawn.shape[1]
        rows, chance = torch.cat([index[:, None], drawn], 1), k / n
        total = torch.zeros((), dtype=e.dtype, device=e.device)
        for place, (own, bank) in enumerate(((e, self.teacher_bank), (u, self.student_bank))):
            score = ((bank[rows].to(own.dtype) * own[:, None]).sum(2) / temperature).exp()
            fresh = score.detach().mean() * n
            self.z[place] = torch.where(self.z[place] < 0, fresh.to(self.z.dtype), self.z[place])
            h = score / self.z[place].clone().to(own.dtype)
            total = total - (h[:, 0] / (h[:, 0] + chance + 1e-7)).log()
            total = total - (chance / (h[:, 1:] + chance + 1e-7)).log().sum(1)
        with torch.no_grad():
            for own, bank in ((e, self.student_bank), (u, self.teacher_bank)):
                moved = keep * bank[index] + (1 - keep) * own.detach().to(bank.dtype)
                bank[index] = F.normalize(moved, dim=1)
        return total


@dataclass(frozen=True, repr=False)
class crd_bank(Pair):
    """Transfer which sample it is, against embeddings of other samples that a bank keeps.

    Formula: -log h_0 / (h_0 + c) - sum over k negatives of log c / (h_j + c), h = e^(e . b / t) / Z, c = k / n, for
    student and teacher's bank and the reverse; banks keep .5, Z is taken from the first batch
    Weights: ce 1, crd_bank .8, t .07, width 128; k 16384 in the original.
    Source: Contrastive representation distillation, ICLR 2020, arXiv 1910.10699, as RepDistiller b84f547
    Reading: exact, with at most 1,024 negatives in place of 16384
    Trap: banks are n x width floats for each net; a resumed run needs them and Z, which are saved.
    Checked: zoo_crd
    """

    title, unit, short = "contrast with a bank", "nats", "CRD bank"
    negatives: int = option(256, "number of negatives from the bank", low=1, high=1024)
    width: int = option(128, "width of the learned embeddings", low=1, high=1024)
    temperature: float = option(0.07, "divides the cosines", low=0.01, high=1.0)
    keep: float = option(0.5, "share of itself that a row of the bank keeps", low=0.0, high=1.0)

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module:
        narrow, wide = (shapes[net, None][0] for net in ("student", self.teacher))
        return Banks(narrow, wide, self.width, shapes["batch", None][1])

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        made, index = step.modules[self.label], step.clean.index
        assert isinstance(made, Banks)
        count = len(made.student_bank)
        drawn = torch.randint(
            count, (len(index), min(self.negatives, count)), generator=step.generator, device=index.device
        )
        e, u = F.normalize(made.student(s.features), dim=1), F.normalize(made.teacher(t.features), dim=1)
        return made.contrast(e, u, index, drawn, self.temperature, self.keep)


class Codes(nn.Module):
    """A head from the student's features to bits, and a fixed random rotation of the teacher's features."""

    rotation: Tensor

    def __init__(self, narrow: int, wide: int, bits: int) -> None:
        super().__init__()
        self.head = nn.Linear(narrow, bits)
        self.register_buffer("rotation", torch.randn(wide, bits))

    def student(self, f: Tensor) -> Tensor:
        """Return probabilities (N, bits) that a bit is 1."""
        made: Tensor = self.head(f).sigmoid()
        return made

    def teacher(self, g: Tensor) -> Tensor:
        """Return codes in {-1, 1} (N, bits) of centred features."""
        return torch.where((g - g.mean(0)) @ self.rotation.to(g.dtype) > 0, 1.0, -1.0).to(g.dtype)


@dataclass(frozen=True, repr=False)
class brcd(Pair):
    """Transfer binary codes: the student's bits stay near the teacher's of the sample and of its twin.

    Formula: -log [e^pos / (e^pos + sum of e^cos over samples of other classes)], pos = a cos(z, c) + (1 - a) cos(mz,
    mc'), all over t, m the bits on which a class agrees; and NT-Xent(z, z') + .001 KL of the bits' probabilities
    Weights: ours ce 1, brcd .5, a .8, t .3, 32 bits; alone in the original.
    Source: BRCD, WWW 2024, arXiv 2403.06071, github.com/hly1998/BRCD
    Reading: exact losses on given codes; classes in place of clusters, and codes of a classifier's features, are ours
    Trap: the mask that was released is 0 everywhere: as shipped, the masked part has no effect.
    Checked: seed1_brcd
    """

    title, unit, short = "binary codes", "nats", "BRCD"
    twin: str = wire("view2", "batch of the second view")
    bits: int = option(32, "length of the codes", low=4, high=256)
    trust: float = option(0.8, "weight of the sample's own code against its twin's", low=0.0, high=1.0)
    temperature: float = option(0.3, "divides the cosines", low=0.01, high=1.0)

    def reads(self) -> list[Read]:
        return [*super().reads(), *((net, self.twin, None) for net in ("student", self.teacher))]

    def learned(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> nn.Module:
        return Codes(*self.widths(shapes), self.bits)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        made, y = step.modules[self.label], step.clean.y
        assert isinstance(made, Codes)
        c, twin = made.teacher(t.features), made.teacher(step.outputs(self.teacher, self.twin).features.detach())
        of = onehot(y, c)
        mask = ((of.T @ c / of.sum(0)[:, None].clamp_min(1)).abs() > 0.5).to(c.dtype)[y]
        trust = torch.full((2 * len(y),), self.trust, dtype=c.dtype, device=c.device)
        p, q = made.student(s.features), made.student(step.outputs("student", self.twin).features)
        alone = nt_xent(signs(p), signs(q), self.temperature) + 0.001 * bits_kl(p, q)
        return alone + masked_contrast(signs(p), c, twin, (y, y), trust, mask, self.temperature)


def signs(p: Tensor) -> Tensor:
    """Return codes in {-1, 1} (N, Q) of probabilities; the gradient goes through as if there were no sign."""
    return torch.where(p > 0.5, 1.0, -1.0) + (p - p.detach())


def nt_xent(z: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Return the contrast of two views' codes (N, Q), each against all others of both views, a scalar."""
    rows = F.normalize(torch.cat([z, other]), dim=1)
    similar = (rows @ rows.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similar, torch.arange(len(rows), device=z.device).roll(len(z)))


def bits_kl(p: Tensor, q: Tensor) -> Tensor:
    """Return half the KL of independent bits both ways, each target without a gradient, a scalar."""

    def one(p: Tensor, q: Tensor) -> Tensor:
        return sum(x * ((x + 1e-8).log() - (y + 1e-8).log()) for x, y in ((p, q), (1 - p, 1 - q)))  # type: ignore

    return (one(p, q.detach()) + one(q, p.detach())).sum(1).mean() / 2


def masked_contrast(
    z: Tensor,
    c: Tensor,
    other: Tensor,
    clusters: tuple[Tensor, Tensor],
    trust: Tensor,
    mask: Tensor,
    temperature: float,
) -> Tensor:
    """Return the loss of ``brcd`` over 2 N rows, a scalar.

    Args:
        z: (N, Q) the student's codes. c, other: (N, Q) the teacher's codes of the sample and of its twin.
        clusters: (N,) of the samples and of their twins; rows of one cluster do not repel each other. trust: (2 N,).
        mask: (N, Q) bits that count.
    """
    n = len(z)
    rows = F.normalize(torch.cat([mask * z, mask * other]), dim=1)
    similar = rows @ rows.T / temperature
    own = F.cosine_similarity(z, c, dim=1) / temperature
    pair = torch.cat([similar.diagonal(n), similar.diagonal(-n)])
    positive = trust * torch.cat([own, own]) + (1 - trust) * pair
    at = torch.arange(2 * n, device=z.device)
    here = torch.cat([clusters[0], clusters[0]])  # as released, also for the rows of twins
    alike = here[:, None] == torch.cat(clusters)[None]
    partner = (at[:, None] - at[None]).abs() % n == 0
    negative = (similar - 1000 * alike.to(similar.dtype)).masked_fill(partner, -1e30)
    return (torch.logaddexp(positive, negative.logsumexp(1)) - positive).mean()


for _term in (crd_bank, brcd):
    _term.name = _term.__name__
    terms.add(_term.name, _term)
method("crd-bank", lambda: ce() + crd_bank() * 0.8)
method("brcd", lambda: ce() + brcd() * 0.5)
