"""Cross-entropy, knowledge distillation, and distillation on boundary samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from amkd_viz.objectives.algebra import Term
from amkd_viz.objectives.step import Step

__all__ = ["boundary_kd", "ce", "kd", "soft_cross_entropy"]


def soft_cross_entropy(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    r"""Batch mean of :math:`H(p, q) = -\sum_k p_k \log q_k` with both softmaxes at ``temperature``.

    Args:
        teacher_logits, student_logits: (N, K). N = 0 gives a 0 that is still part of the student's graph.
    """
    if len(student_logits) == 0:
        return student_logits.sum()
    return _rows(teacher_logits, student_logits, temperature).mean()


def _rows(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    p = (teacher_logits / temperature).softmax(1)
    return -(p * (student_logits / temperature).log_softmax(1)).sum(1)


TEMPERATURE = {"low": 0.5, "high": 20.0, "help": "softens both nets' softmax"}


@dataclass(frozen=True)
class ce(Term):
    """Cross-entropy of the student with the labels."""

    name: ClassVar[str] = "ce"

    def __call__(self, step: Step) -> Tensor:
        return F.cross_entropy(step.student_clean.logits, step.y)


@dataclass(frozen=True)
class _Softened(Term):
    """H(softmax(T / t), softmax(S / t)), times t^2 if ``t2``: published recipes differ in that factor."""

    temperature: float = field(default=3.0, metadata=TEMPERATURE)
    t2: bool = field(default=False, metadata={"help": "multiply by the squared temperature (Hinton et al., 2015)"})

    @property
    def factor(self) -> float:
        return self.temperature**2 if self.t2 else 1.0

    def loss(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        return self.factor * soft_cross_entropy(teacher_logits, student_logits, self.temperature)


@dataclass(frozen=True)
class kd(_Softened):
    """Knowledge distillation on the clean batch (Hinton et al., 2015, arXiv 1503.02531)."""

    name: ClassVar[str] = "kd"

    def __call__(self, step: Step) -> Tensor:
        return self.loss(step.teacher_clean.logits, step.student_clean.logits)


@dataclass(frozen=True)
class boundary_kd(_Softened):
    """The same loss on the boundary samples (arXiv 1805.05532, equation 8)."""

    name: ClassVar[str] = "boundary_kd"
    on_boundary: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        teacher, student = step.boundary.samples.logits, step.student_boundary.logits
        if step.boundary.first is None:
            return self.loss(teacher, student)
        return self.factor * step.boundary.mean(_rows(teacher, student, self.temperature))
