"""Views that mix two samples of the batch, and losses on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.objectives.algebra import Objective, Term, terms, wire
from amkd_viz.objectives.losses import ce, kd
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.sources import View, views
from amkd_viz.objectives.step import Batch, Read, Step
from amkd_viz.objectives.zoo.pair import kl
from amkd_viz.objectives.zoo.per_sample import Confusions, confusion

__all__ = ["mixed_ce", "pasted"]


def rectangle(x: Tensor, area: Tensor, generator: torch.Generator) -> Tensor:
    """Return (N, 1, H, W) 1 inside a rectangle of the images' proportions that covers ``area`` (N,), else 0.

    It lies inside the image; its sides are rounded to pixels.
    """
    n, sides = len(x), []
    for side, length in zip(("y", "x"), x.shape[2:], strict=True):
        size = (area.sqrt() * length).round()
        start = (torch.rand(n, generator=generator, device=x.device) * (length - size + 1)).floor()
        at = torch.arange(length, device=x.device)
        inside = (at >= start[:, None]) & (at < (start + size)[:, None])
        sides.append(inside[:, :, None] if side == "y" else inside[:, None])
    return (sides[0] & sides[1])[:, None].to(x.dtype)


class Mix(View):
    """Samples mixed with others of the batch, in a random order."""

    def __call__(self, step: Step) -> Batch:
        x = step.clean.x
        other = torch.rand(len(x), generator=step.generator, device=x.device).argsort()
        mask = self.mask(x, torch.rand(len(x), generator=step.generator, device=x.device), step)
        made = mask * x + (1 - mask) * x[other]
        return self.batch(step, made, other=other, share=mask.flatten(1).mean(1))

    def mask(self, x: Tensor, share: Tensor, step: Step) -> Tensor:
        """Return how much of each place is the sample's own, in [0, 1]."""
        return share.reshape(-1, *[1] * (x.ndim - 1))


class CutMix(Mix):
    """A rectangle of another sample, of a uniform share of the area."""

    images = True

    def mask(self, x: Tensor, share: Tensor, step: Step) -> Tensor:
        return 1 - rectangle(x, 1 - share, step.generator)


class Picked(CutMix):
    """Half of two mixtures of each sample, as cutmix makes them: those of which the teacher is least sure."""

    def __call__(self, step: Step) -> Batch:
        made = [CutMix.__call__(self, step) for _ in range(2)]
        x, other, share = (torch.cat([getattr(one, name) for one in made]) for name in ("x", "other", "share"))
        with torch.no_grad():
            log_p = step.nets["teacher"](x).float().log_softmax(1)
        least = (log_p.exp() * log_p).sum(1).argsort(stable=True)[: len(x) // 2]
        rows, clean = least % len(step.clean.y), step.clean
        return Batch(x[least], clean.y[rows], clean.index[rows], rows, other=other[least], share=share[least])


class Paste(Mix):
    """A rectangle of two thirds of each side; in odd rows the sample itself is inside, in even rows outside."""

    images = True

    def mask(self, x: Tensor, share: Tensor, step: Step) -> Tensor:
        inside = rectangle(x, torch.full_like(share, 4 / 9), step.generator)
        odd = torch.arange(len(x), device=x.device)[:, None, None, None] % 2 == 1
        return torch.where(odd, inside, 1 - inside)


class Confused(Mix):
    """Half of the samples mixed with others whose class the student confuses with theirs.

    For a class above the mean of the matrix's diagonal the partner's class is drawn from its column, else from its row;
    the sample of the weaker class has at least half.
    """

    def __call__(self, step: Step) -> Batch:
        x, y, draws = step.clean.x, step.clean.y, {"generator": step.generator, "device": step.clean.x.device}
        matrix = next(part for part in step.modules.values() if isinstance(part, Confusions)).rows
        own = matrix.diagonal()
        strong = own > own.mean()
        likely = torch.where(strong[:, None], matrix.T.masked_fill(torch.eye(len(own), device=x.device) > 0, 0), matrix)
        noise: Any = draws
        # a partner class by Gumbel's trick, then a random sample of it
        gumbel = -torch.empty(len(y), len(own), device=x.device).exponential_(generator=step.generator).log()
        partner = (likely.clamp_min(1e-9).log()[y] + gumbel).argmax(1)
        fits = y[None] == partner[:, None]
        other = torch.rand(len(y), len(y), **noise).masked_fill(~fits, -1).argmax(1)
        share = (math.pi / 2 * torch.rand(len(y), **noise)).sin().square()  # Beta(.5, .5)
        weaker = own[y] < own[partner]
        share = torch.where(weaker, share.maximum(1 - share), share.minimum(1 - share))
        mixed = fits.any(1) & (partner != y) & (torch.rand(len(y), **noise) < 0.5)
        share = torch.where(mixed, share, 1.0)
        mask = self.mask(x, share, step)
        return self.batch(step, mask * x + (1 - mask) * x[other], other=other, share=share)


for _name, _kind in {
    "mixup": Mix, "cutmix": CutMix, "cutmix-pick": Picked, "paste": Paste, "confused": Confused
}.items():  # fmt: skip
    views.add(_name, _kind)


def _mixture(step: Step, on: str) -> tuple[Batch, Tensor, Tensor]:
    """Return a batch, and the rows and shares of what is mixed into it.

    Raises:
        InputError: nothing is mixed there.
    """
    batch = step.batch(on)
    if batch.other is None or batch.share is None:
        raise InputError(f"The batch must mix two samples, as mixup, cutmix, paste and confused do, got {on!r}.")
    return batch, batch.other, batch.share


@dataclass(frozen=True, repr=False)
class mixed_ce(Term):
    """Learn the labels of two mixed samples, each by its share.

    Formula: share H(y, q) + (1 - share) H(y', q)
    Weights: 1.
    Source: mixup, ICLR 2018, arXiv 1710.09412; CutMix, ICCV 2019, arXiv 1905.04899
    Reading: exact
    Trap: beside a teacher that never saw mixtures its labels and these may disagree.
    Checked: slow loop
    """

    title, unit, short = "labels of mixtures", "nats", "mixed labels"
    group = "task"
    on: str = wire("mixup", "batch of mixtures")

    def reads(self) -> list[Read]:
        return [("student", self.on, None)]

    def __call__(self, step: Step) -> Tensor:
        batch, other, share = _mixture(step, self.on)
        logits = step.outputs("student", self.on).logits
        own, theirs = (F.cross_entropy(logits, y, reduction="none") for y in (batch.y, step.clean.y[other]))
        return share * own + (1 - share) * theirs


@dataclass(frozen=True, repr=False)
class pasted(Term):
    """Transfer what a teacher says of an image, where only a part of it is pasted into another one.

    Formula: H(y, q) + share t^2 KL(p || q), q of the mixture, y the label of the one image, p of the whole other image
    Weights: share .5, whatever the areas.
    Source: Bidirectional copy-paste (BCP), CVPR 2023, arXiv 2305.00673
    Reading: our reading for classes in place of pixels: every image is labelled once and once judged by the teacher
    Trap: the teacher judges the whole image, the student sees a part.
    Checked: slow loop
    """

    title, unit, short = "copy and paste", "nats", "BCP"
    teacher: str = wire("ema", "net that judges the pasted image: ema, or a frozen teacher")
    on: str = wire("paste", "batch of mixtures")
    temperature: float = option(1.0, "softens both predictions", low=0.25, high=20.0)
    share: float = option(0.5, "weight of the image that the teacher judges", low=0.0, high=10.0)

    def reads(self) -> list[Read]:
        return [("student", self.on, None), (self.teacher, "clean", None)]

    def __call__(self, step: Step) -> Tensor:
        batch, other, _ = _mixture(step, self.on)
        s, t = step.outputs("student", self.on).logits, step.outputs(self.teacher).logits.detach()[other]
        soft = self.temperature**2 * kl(s, t, self.temperature)
        return F.cross_entropy(s, batch.y, reduction="none") + self.share * soft


for _term in (mixed_ce, pasted):
    _term.name = _term.__name__
    terms.add(_term.name, _term)


def _mixup() -> Objective:
    """Transfer predictions on samples and on their mixtures; labels only of samples.

    Formula: CE(x) + t^2 KL(x) + t^2 KL(mixture)
    Weights: ours 1 each, t 4.
    Source: mixup, ICLR 2018; with a teacher: What makes a good data augmentation in KD, NeurIPS 2022, arXiv 2012.02909
    Reading: exact mixture with a uniform share; weights are ours
    Trap: the teacher is asked about images between classes, where it need not be right.
    Checked: slow loop
    """
    return ce() + kd(temperature=4, t2=True) + kd(temperature=4, t2=True, on="mixup")


def _cutmix() -> Objective:
    """Transfer predictions on samples and on samples with a rectangle of another; labels by their areas.

    Formula: CE(x) + CE of mixed labels + t^2 KL(mixture)
    Weights: ours 1 each, t 4.
    Source: CutMix, ICCV 2019, arXiv 1905.04899; with a teacher: NeurIPS 2022, arXiv 2012.02909
    Reading: exact mixture; weights are ours
    Trap: a rectangle may hide what the label is about.
    Checked: slow loop
    """
    return ce() + mixed_ce(on="cutmix") + kd(temperature=4, t2=True, on="cutmix")


def _cutmix_pick() -> Objective:
    """Transfer predictions on samples and on those mixtures of which the teacher is least sure.

    Formula: CE(x) + t^2 KL(x) + t^2 KL(mixture), of two mixtures a sample the half of largest entropy
    Weights: ours 1 each, t 4.
    Source: CutMixPick, What makes a good data augmentation in KD, NeurIPS 2022, arXiv 2012.02909
    Reading: exact choice; weights are ours
    Trap: one more pass of the teacher, on twice the batch.
    Checked: slow loop
    """
    return ce() + kd(temperature=4, t2=True) + kd(temperature=4, t2=True, on="cutmix-pick")


def _confusion_mix() -> Objective:
    """Transfer predictions on samples mixed with those of classes that the student confuses.

    Formula: as mixup, the partner's class drawn from the running confusion matrix, share Beta(.5, .5)
    Weights: ours ce 1 times confusion, mixed_ce 1, kd 1 (t 4, t^2) on mixtures.
    Source: Grounded Teacher, IJCV, arXiv 2504.15404
    Reading: our reading: its rule of partners, for images in place of boxes
    Trap: a partner class that the batch lacks leaves the sample as it is.
    Checked: slow loop
    """
    return ce() * confusion() + mixed_ce(on="confused") + kd(temperature=4, t2=True, on="confused")


def _bcp() -> Objective:
    """Transfer what a moving average of the student says of an image that is partly pasted; no teacher."""
    return ce() + pasted()


def _bcp_teacher() -> Objective:
    """Transfer what a frozen teacher says of an image that is partly pasted into another."""
    return ce() + pasted(teacher="teacher", temperature=4)


method("mixup", _mixup)
method("cutmix", _cutmix)
method("cutmix-pick", _cutmix_pick)
method("confusion-mix", _confusion_mix)
method("bcp", _bcp)
method("bcp-teacher", _bcp_teacher)
