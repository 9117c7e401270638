"""Triplet terms: the variants of AMKD, and triplet distillation on clean images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.core.fields import option
from amkd_viz.models import Classifier
from amkd_viz.objectives.algebra import Shapes, Term, terms, wire
from amkd_viz.objectives.metric import EMBEDDINGS, MININGS, embed, squared_distances, triplet_hinge
from amkd_viz.objectives.step import Batch, Read, Step

__all__ = ["boundary_triplet", "negatives_of", "triplet"]

VARIANTS = ("A", "B", "C", "D")
NEGATIVES = ("others", "target", "pairs", "student")


def negatives_of(y: Tensor, base: Tensor, target: Tensor, which: str = "others") -> Tensor:
    """Return (M, B) bool: which clean samples may be negatives of a boundary sample between ``base`` and ``target``.

    ``others``: of neither class, so that the push does not fight the transfer of the boundary between the two.
    ``target``: of the target class, which does fight it (to show the conflict).
    """
    at_target = y[None] == target[:, None]
    return at_target if which == "target" else (y[None] != base[:, None]) & ~at_target


def apart(batch: Batch, other: Batch) -> Tensor:
    """Return (M, N) bool: which boundary samples of ``other`` lie between two classes that ``batch``'s do not."""
    pairs = [(own.samples.base, own.samples.target) for own in (batch, other) if own.samples is not None]
    (base, target), (other_base, other_target) = pairs
    valid = torch.ones(len(base), len(other_base), dtype=torch.bool, device=base.device)
    for mine in (base, target):
        for theirs in (other_base, other_target):
            valid = valid & (mine[:, None] != theirs[None])
    return valid if other.first is None else valid & other.first[None]


@dataclass(frozen=True, repr=False)
class boundary_triplet(Term):
    r"""The metric part of AMKD: [d(a, p) - d(a, n) + m]_+ around each boundary sample, where d is the squared distance
    of unit embeddings and negatives come from the classes outside {base, target}.

    Only the abstract of "Adversarial Metric Knowledge Distillation" (ICAIP 2020) is public; these variants are our
    readings of it:

    - ``A``: anchor = the teacher on the boundary sample (no gradient), positive = the student on the same sample,
      negatives = the student on the clean batch.
    - ``B``: anchor = the student on the boundary sample, positive = the student on its clean base image.
    - ``C``: B with a margin per triplet taken from the teacher, clip(d_T(a, n) - d_T(a, p), 0, 1).
    - ``D``: A with a margin that goes from m to the teacher's own distance d_T(a, n) over training.

    ``negatives`` "pairs" adds the boundary samples of pairs of other classes to the clean negatives, "student" those
    that are found by attacking the student itself: they are nearest to the boundary where the student has it.

    Formula: mean of [d(a, p) - d(a, n) + m]_+, d the squared distance of unit embeddings
    Weights: none published; ours 1 -> 0 at three quarters of training, from a grid on validation samples.
    Source: Adversarial Metric Knowledge Distillation, ICAIP 2020 (abstract only)
    Reading: our reading of a public abstract
    Trap: negatives of the target class would push against the boundary that the student should copy.
    Checked: slow loop
    """

    name: ClassVar[str] = "boundary_triplet"
    title: ClassVar[str] = "triplets at the boundary"
    unit: ClassVar[str] = "d²"
    short: ClassVar[str] = "triplets"

    variant: str = option("A", "variant of AMKD", choices=VARIANTS)
    margin: float = option(1.0, "by how much d(a, n) must exceed d(a, p)", low=0.0, high=4.0)
    mining: str = option("all", "which negatives count", choices=MININGS)
    embedding: str = option("logit", "where distances are taken", choices=EMBEDDINGS)
    negatives: str = option("others", "where negatives come from", choices=NEGATIVES)
    on: str = wire("boundary", "batch of the anchors")

    @property
    def _more(self) -> list[str]:
        """The batches beside the clean one that negatives come from."""
        return {"pairs": ["boundary"], "student": ["student_boundary"]}.get(self.negatives, [])

    def reads(self) -> list[Read]:
        of_teacher = [self.on] if self.variant != "B" else []
        of_teacher += ["clean", *self._more] if self.variant in "CD" else []
        return [
            ("student", "clean", None),
            *([("teacher", "clean", None)] if "clean" in of_teacher else []),
            ("student", self.on, None),
            *(("student", on, None) for on in self._more),
            *(("teacher", on, None) for on in of_teacher if on != "clean"),
        ]

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module | None:
        """Return a learned linear map of the student's features where the anchor, the teacher's, has another width."""
        if self.embedding != "feature" or self.variant not in "AD":
            return None
        (wide,), (narrow,) = shapes["teacher", None], shapes["student", None]
        return None if wide == narrow else nn.Linear(narrow, wide, bias=False)

    def __call__(self, step: Step) -> Tensor:
        batch, of_teacher = step.batch(self.on), self.variant in "AD"
        assert batch.samples is not None
        clean, at_edge = self._of_student(step, "clean"), self._of_student(step, self.on)
        n = torch.cat([clean, *(self._of_student(step, on) for on in self._more)])
        a, p = (self._of_teacher(step, self.on), at_edge) if of_teacher else (at_edge, clean[batch.rows])
        d_ap, d_an = 2 - 2 * (a * p).sum(1), squared_distances(a, n)
        valid = negatives_of(step.clean.y, batch.samples.base, batch.samples.target, self.negatives)
        valid = torch.cat([valid, *(apart(batch, step.batch(on)) for on in self._more)], 1)
        if batch.first is not None:  # a repeated base sample is not an anchor again
            valid = valid & batch.first[:, None]
        margin = self._teacher_margin(step) if self.variant in "CD" else self.margin
        loss, active = triplet_hinge(d_ap, d_an, valid, margin, self.mining, step.generator)
        if self.on == "boundary":
            step.metrics["triplet.active"] = active
            step.metrics["triplet.d_ap"] = batch.mean(d_ap.detach())
            step.metrics["triplet.d_an"] = (d_an.detach() * valid).sum() / valid.sum().clamp_min(1)
        return loss

    def _of_student(self, step: Step, on: str) -> Tensor:
        outputs = step.outputs("student", on)
        project = step.modules[self.label] if self.label in step.modules else nn.Identity()
        return embed(self.embedding, outputs.logits, project(outputs.features).to(outputs.features.dtype))

    def _of_teacher(self, step: Step, on: str) -> Tensor:
        outputs = step.outputs("teacher", on)
        features = outputs.features if self.embedding == "feature" else outputs.logits
        return embed(self.embedding, outputs.logits, features).detach()

    def _teacher_margin(self, step: Step) -> Tensor:
        clean, a = self._of_teacher(step, "clean"), self._of_teacher(step, self.on)
        own = squared_distances(a, torch.cat([clean, *(self._of_teacher(step, on) for on in self._more)]))
        if self.variant == "D":
            return self.margin + step.progress * (own - self.margin)
        return (own - (2 - 2 * (a * clean[step.batch(self.on).rows]).sum(1))[:, None]).clamp(0, 1)


@dataclass(frozen=True, repr=False)
class triplet(Term):
    r"""Triplet distillation on clean images (Oki, Abe, Miyao, Kurita, IJCNN 2020, arXiv 2004.08116):
    mean of [||T(x) - S(x)|| - ||T(x) - S(x')|| + margin]_+ on raw logits, x' a random sample of another class.

    Formula: mean of [||T(x) - S(x)|| - ||T(x) - S(x')|| + 5]_+
    Source: Oki, Abe, Miyao, Kurita, IJCNN 2020, arXiv 2004.08116
    Reading: our reading: the negative is drawn from the batch, not from the data set
    Trap: at the start every triplet is active: 5 is large for logits of a fresh net.
    Checked: slow loop
    """

    name: ClassVar[str] = "triplet"
    title: ClassVar[str] = "triplets on clean samples"
    unit: ClassVar[str] = "L2 of logits"
    short: ClassVar[str] = "clean triplets"

    margin: float = option(5.0, "margin, in units of logits (L2)", low=0.0, high=50.0)

    def __call__(self, step: Step) -> Tensor:
        a, s = step.outputs("teacher").logits, step.outputs("student").logits
        valid = step.clean.y[:, None] != step.clean.y[None]
        order = torch.rand(valid.shape, generator=step.generator, device=a.device).masked_fill(~valid, torch.inf)
        other = s[order.argmin(1)] if len(s) else s  # the only negative: no distance to another one is needed
        near, far = (((a - b).square().sum(1) + 1e-12).sqrt() for b in (s, other))
        loss, active = triplet_hinge(near, far[:, None], valid.any(1, keepdim=True), self.margin)
        step.metrics["triplet_kd.active"] = active
        return loss


terms.add("boundary_triplet", boundary_triplet)
terms.add("triplet", triplet)
