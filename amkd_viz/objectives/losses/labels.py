"""Losses on labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from amkd_viz.objectives.algebra import Term, terms, wire
from amkd_viz.objectives.step import Read, Step

__all__ = ["ce"]


@dataclass(frozen=True, repr=False)
class ce(Term):
    """Cross-entropy of the student with the labels.

    Formula: H(y, softmax(S)).
    Source: no teacher
    Reading: exact
    Trap: one label per sample says nothing about how alike the other classes are.
    Checked: slow loop
    """

    name: ClassVar[str] = "ce"
    title: ClassVar[str] = "cross-entropy with labels"
    unit: ClassVar[str] = "nats"
    short: ClassVar[str] = "labels"
    group: ClassVar[str] = "task"

    on: str = wire("clean", "batch whose labels are learned")

    def reads(self) -> list[Read]:
        return [("student", self.on, None)]

    def __call__(self, step: Step) -> Tensor:
        return F.cross_entropy(step.outputs("student", self.on).logits, step.batch(self.on).y, reduction="none")


terms.add("ce", ce)
