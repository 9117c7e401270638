"""Losses on softened predictions: knowledge distillation, on clean or on boundary samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from amkd_viz.core.fields import option
from amkd_viz.objectives.algebra import Term, terms, wire
from amkd_viz.objectives.step import Read, Step

__all__ = ["boundary_kd", "kd", "soft_cross_entropy"]


def soft_cross_entropy(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    r"""Return :math:`H(p, q) = -\sum_k p_k \log q_k` of each row, both softmaxes at ``temperature``.

    Args:
        teacher_logits, student_logits: (N, K).

    Returns:
        (N,), nats.
    """
    p = (teacher_logits / temperature).softmax(1)
    return -(p * (student_logits / temperature).log_softmax(1)).sum(1)


@dataclass(frozen=True, repr=False)
class kd(Term):
    """Knowledge distillation (Hinton et al., 2015, arXiv 1503.02531): H(softmax(T / t), softmax(S / t)).

    Published recipes differ in the factor t^2, which ``t2`` adds.
    """

    name: ClassVar[str] = "kd"
    title: ClassVar[str] = "KD on clean samples"
    unit: ClassVar[str] = "nats"
    short: ClassVar[str] = "KD"

    temperature: float = option(3.0, "softens the softmax of both nets", low=0.5, high=20.0)
    t2: bool = option(False, "multiply by the squared temperature (Hinton et al., 2015)", label="× t²")
    on: str = wire("clean", "batch on which the nets are compared")
    teacher: str = wire("teacher", "net that gives the soft targets")

    def reads(self) -> list[Read]:
        return [("student", self.on, None), (self.teacher, self.on, None)]

    def __call__(self, step: Step) -> Tensor:
        targets = step.outputs(self.teacher, self.on).logits.detach()
        loss = soft_cross_entropy(targets, step.outputs("student", self.on).logits, self.temperature)
        return self.temperature**2 * loss if self.t2 else loss


@dataclass(frozen=True, repr=False)
class boundary_kd(kd):
    """Knowledge distillation on the boundary samples (arXiv 1805.05532, equation 8): ``kd(on="boundary")`` by name."""

    name: ClassVar[str] = "boundary_kd"
    title: ClassVar[str] = "KD on boundary samples"
    short: ClassVar[str] = "BSS"

    on: str = wire("boundary", "batch on which the nets are compared")


terms.add("kd", kd)
terms.add("boundary_kd", boundary_kd)
