"""Weights per sample: ``kd() * right(up=1, down=0.2)``. Each is a function of the step, one number per row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.fields import Fields, option
from amkd_viz.core.registry import Registry
from amkd_viz.models import Classifier
from amkd_viz.objectives.algebra import Objective
from amkd_viz.objectives.losses import ce, kd
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Read, Step
from amkd_viz.objectives.zoo.batch import batch_softmax, edge
from amkd_viz.objectives.zoo.logits import others
from amkd_viz.objectives.zoo.pair import onehot

__all__ = ["PerSample", "ada", "confusion", "cosine", "near", "per_sample", "rest", "right", "sure", "wls"]


@dataclass(frozen=True, repr=False)
class PerSample(Fields):
    """A weight per sample, without a gradient; its docstring is a card, as that of a term.

    Attributes:
        of: the net whose predictions it reads. on: the batch of the term that it scales.
    """

    of: str = option("teacher", "net whose predictions are read")
    on: str = option("clean", "batch of the term that is scaled")

    @property
    def reads(self) -> list[Read]:
        return [(self.of, self.on, None)]

    def __call__(self, step: Step) -> Tensor:
        """Return (N,) weights, computed once in a step."""
        if (key := repr(self)) not in step.factors:
            z, y = step.outputs(self.of, self.on).logits.detach(), step.batch(self.on).y
            with torch.autocast(z.device.type, enabled=False):
                step.factors[key] = self.weights(z, y, step)
        return step.factors[key]

    @abstractmethod
    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        """Return (N,) weights from logits (N, K) and labels (N,)."""

    def module(self, nets: Mapping[str, Classifier]) -> nn.Module | None:
        """Return what the weight keeps between steps, or None; it is saved with the run."""
        return None


per_sample: Registry[type[PerSample]] = Registry("weight per sample")


def _over_mean(w: Tensor, step: Step, on: str) -> Tensor:
    return w / step.batch(on).mean(w).clamp_min(1e-12)


class sure(PerSample):
    """Trust a teacher as far as it is sure: the probability of its predicted class.

    Formula: max_k p_k
    """

    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        return z.softmax(1).amax(1)


@dataclass(frozen=True, repr=False)
class right(PerSample):
    """Trust a net more where it is right: sum w l / sum w with w = up where it predicts the label, else down.

    Formula: w / mean(w)
    Source: GKD, Channel distillation (up 1, down 0), 2020; PSD of CLIP-SD, TMM 2026 (abstract)
    """

    up: float = option(1.0, "weight where the net is right", low=0.0, high=10.0)
    down: float = option(0.2, "weight where it is wrong", low=0.0, high=10.0)

    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        return _over_mean(torch.where(z.argmax(1) == y, self.up, self.down).to(z.dtype), step, self.on)


@dataclass(frozen=True, repr=False)
class cosine(PerSample):
    """Trust a teacher where it sees two views of a sample alike.

    Formula: cos(T(x), T(x')) + 1, on raw logits
    Source: CCD, ACCV 2022
    """

    on: str = option("view2", "batch of the term that is scaled, compared with clean")

    @property
    def reads(self) -> list[Read]:
        return [(self.of, "clean", None), (self.of, self.on, None)]

    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        return F.cosine_similarity(step.outputs(self.of).logits.detach(), z, eps=1e-8) + 1


class near(PerSample):
    """Weigh samples by how near to its boundary a teacher sees them.

    Formula: e / mean(e), e = sigmoid((q - m) / sd(m)), m the lead of the largest logit, q its 30 % quantile
    """

    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        return _over_mean(edge(z), step, self.on)


class ada(PerSample):
    """Trust a teacher by its lead at the label.

    Formula: max(0, p_y - mean of the other classes' p)
    """

    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        p = z.softmax(1)
        return (p.gather(1, y[:, None])[:, 0] - others(p, y).mean(1)).clamp_min(0)


class wls(PerSample):
    """Trust a teacher where it knows the label better than the student.

    Formula: 1 - exp(-CE_S / CE_T)
    Source: Weighted soft labels, ICLR 2021, as github.com/Chengming0501/TGeo-KD has it
    """

    @property
    def reads(self) -> list[Read]:
        return [("student", self.on, None), (self.of, self.on, None)]

    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        student = F.cross_entropy(step.outputs("student", self.on).logits.detach(), y, reduction="none")
        return 1 - (-student / F.cross_entropy(z, y, reduction="none").clamp_min(1e-12)).exp()


@dataclass(frozen=True, repr=False)
class rest(Fields):
    """What another weight leaves of 1: ``kd() * ada() + ce() * rest(ada())``."""

    weight: PerSample

    @property
    def reads(self) -> list[Read]:
        return self.weight.reads

    def __call__(self, step: Step) -> Tensor:
        return 1 - self.weight(step)


class Confusions(nn.Module):
    """A running confusion matrix (K, K), rows = labels; rows that were never seen are 0."""

    rows: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(classes, classes))

    @torch.no_grad()
    def update(self, y: Tensor, prediction: Tensor, keep: float) -> Tensor:
        """Move the rows of the labels that are present towards this batch; return the matrix."""
        seen = onehot(y, self.rows).T @ onehot(prediction, self.rows)
        count, known = seen.sum(1, keepdim=True), self.rows.sum(1, keepdim=True) > 0
        fresh = seen / count.clamp_min(1)
        moved = torch.where(known, keep * self.rows + (1 - keep) * fresh, fresh)
        self.rows.copy_(torch.where(count > 0, moved, self.rows))
        return self.rows


def confusion_weights(matrix: Tensor, y: Tensor, prediction: Tensor) -> Tensor:
    """Return (N,) weights of mean 1 from a confusion matrix whose rows sum to 1 (or 0: never seen)."""
    classes = len(matrix)
    c = torch.where(matrix.sum(1, keepdim=True) > 0, matrix, 1 / classes)
    c = c.masked_fill(c == 0, 0.001)
    own = c.diagonal()
    w = torch.where(y == prediction, (1 - own[y]).clamp_min(0).sqrt(), (c[y, prediction] / own[y]).sqrt())
    return (w / w.mean() + 1) / 2


@dataclass(frozen=True, repr=False)
class confusion(PerSample):
    """Weigh samples of the classes that a net mixes up, by its running confusion matrix.

    Formula: (w / mean(w) + 1) / 2, w = sqrt(1 - C_yy) where it is right, sqrt(C_yp / C_yy) where it predicts p; C an
    average over steps that keeps .5 at first and .99 from half of the training on
    Source: Grounded Teacher, IJCV, arXiv 2504.15404
    """

    of: str = option("student", "net whose predictions are counted")

    def module(self, nets: Mapping[str, Classifier]) -> nn.Module:
        return Confusions(nets[self.of].num_classes)

    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        keep = 0.5 + 0.49 * min(2 * step.progress, 1.0) ** 3
        matrix = step.modules[repr(self)]
        assert isinstance(matrix, Confusions)
        return confusion_weights(matrix.update(y, z.argmax(1), keep), y, z.argmax(1))


for _kind in (sure, right, cosine, near, ada, wls, confusion):
    per_sample.add(_kind.__name__, _kind)


def _gkd() -> Objective:
    """Transfer predictions of the samples that the teacher gets right.

    Formula: t^2 sum of KL over the samples where the teacher is right, over their number
    Weights: ce 1, kd .1 at t 1 (CIFAR-100).
    Source: Channel distillation (GKD), 2020, github.com/zhouzaida/channel-distillation
    Reading: exact but for H(p, q) in place of KL: the gradient is the same
    Trap: a batch without a right prediction gives 0, where the released code divides by 0.
    Checked: seed1_channel_guided
    """
    return ce() + 0.1 * kd(temperature=1, t2=True) * right(down=0)


def _bpkd() -> Objective:
    """Transfer predictions near the boundary, and inside a class which samples are typical of it."""
    return ce() + kd(temperature=1) * near() + batch_softmax()


def _ada() -> Objective:
    """Transfer predictions as far as the teacher leads at the label, and labels elsewhere.

    Formula: a KD + (1 - a) CE, a = max(0, p_y - mean of the others)
    Weights: t 1.5 with t^2.
    Source: github.com/Chengming0501/TGeo-KD (ADA)
    Reading: exact weights
    Trap: where the teacher is wrong the weight is 0: nothing of it is copied there.
    Checked: seed2_tgeo
    """
    return kd(temperature=1.5, t2=True) * ada() + ce() * rest(ada())


def _wls() -> Objective:
    """Transfer predictions where the teacher knows the label better than the student does.

    Formula: a KD + (1 - a) CE, a = 1 - exp(-CE_S / CE_T)
    Weights: t 1.5 with t^2.
    Source: github.com/Chengming0501/TGeo-KD (WLS)
    Reading: exact weights
    Trap: a teacher without doubt makes every weight 1: labels then have none.
    Checked: seed2_tgeo
    """
    return kd(temperature=1.5, t2=True) * wls() + ce() * rest(wls())


def _confusion() -> Objective:
    """Transfer predictions, more for the classes that the student mixes up.

    Formula: kd times (w / mean(w) + 1) / 2, w from the running confusion matrix
    Weights: ours ce 1, kd 1 at t 4 with t^2.
    Source: Grounded Teacher, IJCV, arXiv 2504.15404
    Reading: exact weights; on the predictions of an image classifier in place of a detector is our reading
    Trap: the matrix lags behind: early in training it is that of a fresh net.
    Checked: seed2_gt_weight
    """
    return ce() + kd(temperature=4, t2=True) * confusion()


def _psd() -> Objective:
    """Transfer the student's own predictions of the epoch before, more where they were right; no teacher.

    Formula: t^2 sum w KL(p || q) / sum w, w = 1 where the past self is right, else .2
    Weights: ours ce 1, kd 1, t 3.
    Source: CLIP-SD, part PSD, TMM 2026 (abstract only)
    Reading: our reading of an abstract
    Trap: in the first epoch the past self is a fresh net.
    Checked: slow loop
    """
    return ce() + kd(temperature=3, t2=True, teacher="past") * right(of="past")


for _name, _make in {
    "gkd": _gkd, "bpkd": _bpkd, "ada": _ada, "wls": _wls, "confusion": _confusion, "psd": _psd
}.items():  # fmt: skip
    method(_name, _make)
