"""Triplet terms: the three readings of AMKD, and triplet distillation on clean images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.models import Classifier
from amkd_viz.objectives.algebra import Term
from amkd_viz.objectives.metric import EMBEDDINGS, MININGS, embed, squared_distances, triplet_hinge
from amkd_viz.objectives.step import Step

__all__ = ["boundary_triplet", "negatives_of", "triplet"]

READINGS = ("A", "B", "C")
NEGATIVES = ("others", "target")


def negatives_of(y: Tensor, base: Tensor, target: Tensor, which: str = "others") -> Tensor:
    """(M, B) bool: batch samples that may be negatives of a boundary sample between classes ``base`` and ``target``.

    ``others``: of neither class, so that the push does not fight the transfer of the boundary between the two.
    ``target``: of the target class, which does fight it (to show the conflict).
    """
    at_target = y[None] == target[:, None]
    return at_target if which == "target" else (y[None] != base[:, None]) & ~at_target


@dataclass(frozen=True)
class boundary_triplet(Term):
    r"""The metric part of AMKD: [d(a, p) - d(a, n) + m]_+ around each boundary sample, d the squared distance of unit
    embeddings, negatives from the classes outside {base, target}.

    Only the abstract of "Adversarial Metric Knowledge Distillation" (ICAIP 2020) is public; these are readings of it:

    - ``A``: anchor = the teacher on the boundary sample (no gradient), positive = the student on the same sample,
      negatives = the student on the clean batch.
    - ``B``: anchor = the student on the boundary sample, positive = the student on its clean base image.
    - ``C``: B with a margin per triplet taken from the teacher, clip(d_T(a, n) - d_T(a, p), 0, 1).
    """

    name: ClassVar[str] = "boundary_triplet"
    on_boundary: ClassVar[bool] = True

    reading: str = field(default="A", metadata={"choices": READINGS, "help": "which reading of AMKD"})
    margin: float = field(
        default=1.0, metadata={"low": 0.0, "high": 4.0, "help": "by how much d(a, n) must exceed d(a, p)"}
    )
    mining: str = field(default="all", metadata={"choices": MININGS, "help": "which negatives count"})
    embedding: str = field(default="logit", metadata={"choices": EMBEDDINGS, "help": "where distances are taken"})
    negatives: str = field(default="others", metadata={"choices": NEGATIVES, "help": "classes of the negatives"})

    def module(self, teacher: Classifier, student: Classifier) -> nn.Module | None:
        """Reading A compares features of two nets: where their widths differ, a learned linear map of the student's."""
        if self.embedding != "feature" or self.reading != "A":
            return None
        if teacher.feature_width == student.feature_width:
            return None
        return nn.Linear(student.feature_width, teacher.feature_width, bias=False)

    def __call__(self, step: Step) -> Tensor:
        index, samples = step.boundary.index, step.boundary.samples
        project = step.modules[self.name] if self.name in step.modules else nn.Identity()

        clean, edge = step.student_clean, step.student_boundary
        n = embed(self.embedding, clean.logits, project(clean.features).to(clean.features.dtype))
        at_edge = embed(self.embedding, edge.logits, project(edge.features).to(edge.features.dtype))
        if self.reading == "A":
            features = step.teacher_boundary.features if self.embedding == "feature" else samples.logits
            a, p = embed(self.embedding, samples.logits, features).detach(), at_edge
        else:
            a, p = at_edge, n[index]
        d_ap, d_an = 2 - 2 * (a * p).sum(1), squared_distances(a, n)
        valid = negatives_of(step.y, samples.base, samples.target, self.negatives)
        if step.boundary.first is not None:  # a base image that is there again is no anchor again
            valid = valid & step.boundary.first[:, None]
        margin = self._teacher_margin(step) if self.reading == "C" else self.margin
        loss, active = triplet_hinge(d_ap, d_an, valid, margin, self.mining, step.generator)
        step.metrics["triplet.active"] = active
        step.metrics["triplet.d_ap"] = step.boundary.mean(d_ap.detach())
        step.metrics["triplet.d_an"] = (d_an.detach() * valid).sum() / valid.sum().clamp_min(1)
        # what does not count is sent outside [0, 4], where histc does not count either: no boolean indexing, no sync
        shown = d_ap.detach().float().clamp(0, 4)
        shown = shown if step.boundary.first is None else shown.masked_fill(~step.boundary.first, -1)
        step.histograms["triplet.d_ap"] = torch.histc(shown, 32, 0, 4)
        step.histograms["triplet.d_an"] = torch.histc(
            d_an.detach().float().clamp(0, 4).masked_fill(~valid, -1), 32, 0, 4
        )
        return loss

    def _teacher_margin(self, step: Step) -> Tensor:
        index, samples = step.boundary.index, step.boundary.samples
        clean = step.teacher_clean
        features = step.teacher_boundary.features if self.embedding == "feature" else samples.logits
        n, a = embed(self.embedding, *clean[:2]), embed(self.embedding, samples.logits, features)
        return (squared_distances(a, n) - (2 - 2 * (a * n[index]).sum(1))[:, None]).clamp(0, 1).detach()


@dataclass(frozen=True)
class triplet(Term):
    r"""Triplet distillation on clean images (Oki, Abe, Miyao, Kurita, IJCNN 2020, arXiv 2004.08116):
    mean of [||T(x) - S(x)|| - ||T(x) - S(x')|| + margin]_+ on raw logits, x' a random sample of another class."""

    name: ClassVar[str] = "triplet"

    margin: float = field(default=5.0, metadata={"low": 0.0, "high": 50.0, "help": "in units of logits (L2)"})

    def __call__(self, step: Step) -> Tensor:
        a, s = step.teacher_clean.logits, step.student_clean.logits
        distances = ((a[:, None] - s[None]).square().sum(2) + 1e-12).sqrt()
        valid = step.y[:, None] != step.y[None]
        loss, active = triplet_hinge(distances.diagonal(), distances, valid, self.margin, "random", step.generator)
        step.metrics["triplet_kd.active"] = active
        return loss
