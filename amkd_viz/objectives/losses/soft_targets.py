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

    Formula: H(p, q), times t^2 where t2 is set; p and q are the softmaxes of teacher and student at temperature t.
    Weights: ce .1, kd .9 at t 4 with t^2 (the method hinton); 4 -> 1 at t 3 without (kd).
    Source: Hinton, Vinyals, Dean, 2015, arXiv 1503.02531
    Reading: exact
    Trap: the value is KL + H(p) in nats, so it does not reach 0; its gradient is that of KL. A weight copied from
    another recipe counts t^2 times as much or as little where that recipe has, or lacks, the factor.
    Checked: zoo_kd
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
    """Knowledge distillation on the boundary samples (arXiv 1805.05532, equation 8): ``kd(on="boundary")`` by name.

    Formula: H(p, q) on samples that an attack has moved just across the teacher's boundary.
    Weights: 2 -> 0 at three quarters of training, temperature 3.
    Source: Heo, Lee, Yun, Choi, AAAI 2019, arXiv 1805.05532
    Reading: exact
    Trap: an attack in each step: about twice the time of kd.
    Checked: the published attack on CIFAR-10
    """

    name: ClassVar[str] = "boundary_kd"
    title: ClassVar[str] = "KD on boundary samples"
    short: ClassVar[str] = "BSS"

    on: str = wire("boundary", "batch on which the nets are compared")


terms.add("kd", kd)
terms.add("boundary_kd", boundary_kd)
