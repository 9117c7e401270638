"""Triplet terms: the three variants of AMKD, and triplet distillation on clean images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.core.fields import option
from amkd_viz.models import Classifier
from amkd_viz.objectives.algebra import Shapes, Term, terms
from amkd_viz.objectives.metric import EMBEDDINGS, MININGS, embed, squared_distances, triplet_hinge
from amkd_viz.objectives.step import Read, Step

__all__ = ["boundary_triplet", "negatives_of", "triplet"]

VARIANTS = ("A", "B", "C")
NEGATIVES = ("others", "target")


def negatives_of(y: Tensor, base: Tensor, target: Tensor, which: str = "others") -> Tensor:
    """Return (M, B) bool: which clean samples may be negatives of a boundary sample between ``base`` and ``target``.

    ``others``: of neither class, so that the push does not fight the transfer of the boundary between the two.
    ``target``: of the target class, which does fight it (to show the conflict).
    """
    at_target = y[None] == target[:, None]
    return at_target if which == "target" else (y[None] != base[:, None]) & ~at_target


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
    """

    name: ClassVar[str] = "boundary_triplet"
    title: ClassVar[str] = "triplets at the boundary"
    unit: ClassVar[str] = "d²"
    short: ClassVar[str] = "triplets"
    on = "boundary"

    variant: str = option("A", "variant of AMKD", choices=VARIANTS)
    margin: float = option(1.0, "by how much d(a, n) must exceed d(a, p)", low=0.0, high=4.0)
    mining: str = option("all", "which negatives count", choices=MININGS)
    embedding: str = option("logit", "where distances are taken", choices=EMBEDDINGS)
    negatives: str = option("others", "classes of the negatives", choices=NEGATIVES)

    def reads(self) -> list[Read]:
        teacher: list[Read] = [("teacher", "boundary", None)] if self.variant != "B" else []
        return [
            ("student", "clean", None),
            *([("teacher", "clean", None)] if self.variant == "C" else []),
            ("student", "boundary", None),
            *teacher,
        ]

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module | None:
        """Return a learned linear map of the student's features where variant A compares features of other widths."""
        if self.embedding != "feature" or self.variant != "A":
            return None
        (wide,), (narrow,) = shapes["teacher", None], shapes["student", None]
        return None if wide == narrow else nn.Linear(narrow, wide, bias=False)

    def __call__(self, step: Step) -> Tensor:
        batch = step.batch("boundary")
        assert batch.samples is not None
        project = step.modules[self.name] if self.name in step.modules else nn.Identity()

        clean, edge = step.outputs("student"), step.outputs("student", "boundary")
        n = embed(self.embedding, clean.logits, project(clean.features).to(clean.features.dtype))
        at_edge = embed(self.embedding, edge.logits, project(edge.features).to(edge.features.dtype))
        a, p = (
            (self._of_teacher(step, "boundary").detach(), at_edge) if self.variant == "A" else (at_edge, n[batch.rows])
        )
        d_ap, d_an = 2 - 2 * (a * p).sum(1), squared_distances(a, n)
        valid = negatives_of(step.clean.y, batch.samples.base, batch.samples.target, self.negatives)
        if batch.first is not None:  # a repeated base sample is not an anchor again
            valid = valid & batch.first[:, None]
        margin = self._teacher_margin(step) if self.variant == "C" else self.margin
        loss, active = triplet_hinge(d_ap, d_an, valid, margin, self.mining, step.generator)
        step.metrics["triplet.active"] = active
        step.metrics["triplet.d_ap"] = batch.mean(d_ap.detach())
        step.metrics["triplet.d_an"] = (d_an.detach() * valid).sum() / valid.sum().clamp_min(1)
        return loss

    def _of_teacher(self, step: Step, on: str) -> Tensor:
        outputs = step.outputs("teacher", on)
        return embed(
            self.embedding, outputs.logits, outputs.features if self.embedding == "feature" else outputs.logits
        )

    def _teacher_margin(self, step: Step) -> Tensor:
        n, a = self._of_teacher(step, "clean"), self._of_teacher(step, "boundary")
        return (
            (squared_distances(a, n) - (2 - 2 * (a * n[step.batch("boundary").rows]).sum(1))[:, None])
            .clamp(0, 1)
            .detach()
        )


@dataclass(frozen=True, repr=False)
class triplet(Term):
    r"""Triplet distillation on clean images (Oki, Abe, Miyao, Kurita, IJCNN 2020, arXiv 2004.08116):
    mean of [||T(x) - S(x)|| - ||T(x) - S(x')|| + margin]_+ on raw logits, x' a random sample of another class."""

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
