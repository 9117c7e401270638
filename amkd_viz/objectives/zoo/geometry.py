"""A weight per sample that learns: how far to trust the teacher, by where student, teacher and label are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.models import Classifier, Outputs
from amkd_viz.objectives.algebra import Shapes, terms
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Read, Step
from amkd_viz.objectives.zoo.pair import Pair, kl, onehot

__all__ = ["tgeo"]


class Controller(nn.Module):
    """9 K numbers of a sample -> 32 -> 16 -> a share in (0, 1)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(9 * classes, 32), nn.Linear(32, 16), nn.Linear(16, 1)

    def forward(self, state: Tensor) -> Tensor:
        """Return (N,) shares."""
        made: Tensor = self.fc3(F.leaky_relu(self.fc2(F.leaky_relu(self.fc1(state))))).sigmoid()[:, 0]
        return made


def geometry(q: Tensor, p: Tensor, h: Tensor, mean: Tensor) -> Tensor:
    """Return (N, 9 K): student q, teacher p, label h, the teacher's mean of its class, and squared differences."""
    pairs = ((mean, q), (h, q), (p, q), (p, h), (mean, h))
    return torch.cat([q, p, h, mean, *((a - b).square() for a, b in pairs)], 1)


@dataclass(frozen=True, repr=False)
class tgeo(Pair):
    """Transfer predictions as far as a small net trusts them, by where student, teacher and label are.

    Formula: a t^2 KL + (1 - a) H(y, q), a = net(q, p, y, mean p of the class, squared differences); the net learns from
    H(y, .) of validation samples after one step of the head, W' = W - rate gradient of the weighted loss
    Weights: 1, alone, t 1.5.
    Source: TGeo-KD, ICLR 2024, arXiv 2312.15112
    Reading: exact weights and loss on given states; the learning is our reading: in the released code the net gets no
    gradient
    Trap: needs a linear head; its validation samples are those that training is judged by.
    Checked: seed2_tgeo
    """

    title, unit, short, group = "trust that learns", "nats × t²", "TGeo", "logit"
    temperature: float = option(1.5, "softens both predictions", low=0.25, high=20.0)
    rate: float = option(1.0, "length of the head's virtual step", low=0.001, high=100.0)

    def reads(self) -> list[Read]:
        return [*super().reads(), ("student", "validation", None)]

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module:
        if not isinstance(nets["student"].head, nn.Linear):
            raise InputError("tgeo needs a student with one linear head, but its head is another one.")
        return Controller(nets["student"].num_classes)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        assert step.known is not None
        known, labels = step.known(self.teacher)
        h, of = onehot(step.clean.y, s.logits), onehot(labels, known.logits)
        means = (of.T @ known.logits.softmax(1) / of.sum(0)[:, None].clamp_min(1)).to(h.dtype)
        q, p = s.logits.detach().softmax(1), t.logits.softmax(1)
        share = step.modules[self.label](geometry(q, p, h, h @ means))
        trusted = share.detach()
        soft = self.temperature**2 * kl(s.logits, t.logits, self.temperature)
        value = trusted * soft + (1 - trusted) * F.cross_entropy(s.logits, step.clean.y, reduction="none")
        outer = self._after_a_step(s, t, share, h, step)
        return value + outer - outer.detach()

    def _after_a_step(self, s: Outputs, t: Outputs, share: Tensor, h: Tensor, step: Step) -> Tensor:
        """Return the loss of validation samples after a virtual step of the head; only the shares have a gradient."""
        at, head = self.temperature, step.nets["student"].head
        assert isinstance(head, nn.Linear)
        z, f = s.logits.detach(), s.features.detach()
        soft = at * ((z / at).softmax(1) - (t.logits / at).softmax(1))
        gradient = share[:, None] * soft + (1 - share[:, None]) * (z.softmax(1) - h)
        weight = head.weight.detach() - self.rate * gradient.T @ f / len(f)
        bias = head.bias.detach() - self.rate * gradient.mean(0)
        held_out = step.outputs("student", "validation").features.detach()
        return F.cross_entropy(held_out.to(weight.dtype) @ weight.T + bias, step.batch("validation").y)


tgeo.name = "tgeo"
terms.add("tgeo", tgeo)
method("tgeo", lambda: tgeo() * 1)
