"""KD on regions of an image: the head reads parts of the last map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import option
from amkd_viz.models import Classifier, Layer, Outputs
from amkd_viz.objectives.algebra import Shapes, terms
from amkd_viz.objectives.losses import ce
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Step
from amkd_viz.objectives.weights import linear
from amkd_viz.objectives.zoo.logits import WARM, dkd
from amkd_viz.objectives.zoo.pair import Pair, kl

__all__ = ["sdd"]

SIDES = (1, 2, 4)  # regions per side: 1 + 4 + 16


@dataclass(frozen=True, repr=False)
class sdd(Pair):
    """Transfer predictions on regions of an image, more where a region and the whole disagree.

    Formula: mean over samples and regions of w t^2 KL, w = 2 where the teacher is right on one of region and whole, and
    wrong on the other, else 1; regions the means of 1, 4 and 16 parts of the last map, through the head
    Weights: ce 1, sdd 1 rising in 20 of 240 epochs, t 4.
    Source: Scale decoupled distillation (SDD), CVPR 2024, arXiv 2403.13512
    Reading: exact on given regions; a map of fewer than 4 x 4 places has fewer of them
    Trap: needs nets whose features are the mean of their last map, and a linear head.
    Checked: zoo_sdd
    """

    title, unit, short = "KD on regions", "nats × t²", "SDD"
    maps = True
    temperature: float = option(4.0, "softens both predictions", low=0.25, high=20.0)
    decoupled: bool = option(False, "dkd in place of KD (alpha 1, beta as set)")
    beta: float = option(2.0, "weight of the other classes in dkd", low=0.0, high=10.0)

    def layers(self) -> Sequence[Layer]:
        return (-1,)

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module | None:
        for net in ("student", self.teacher):
            shape, (width,) = shapes[net, -1], shapes[net, None]
            if not isinstance(nets[net].head, nn.Linear) or shape[0] != width:
                raise InputError(
                    f"sdd needs a linear head on the means of the last map, but the {net} has {width} features and a "
                    f"map of {shape[0]} channels."
                )
        return super().module(shapes, nets)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        side = min(s.layers[-1].shape[2], s.layers[-1].shape[3], t.layers[-1].shape[2], t.layers[-1].shape[3])
        parts = [regions(x.layers[-1], [n for n in SIDES if n <= side]) for x in (s, t)]
        heads = [step.nets[net].head for net in ("student", self.teacher)]
        z_s, z_t = (head(part) for head, part in zip(heads, parts, strict=True))
        own = dkd(temperature=self.temperature, beta=self.beta) if self.decoupled else None
        return on_regions(z_s, z_t.detach(), step.clean.y, self.temperature, own)


def regions(m: Tensor, sides: Sequence[int]) -> Tensor:
    """Return (N, P, C): means of a map (N, C, H, W) over the parts of grids with these sides."""
    return torch.cat([F.adaptive_avg_pool2d(m, side).flatten(2).transpose(1, 2) for side in sides], 1)


def on_regions(s: Tensor, t: Tensor, y: Tensor, temperature: float, own: dkd | None = None) -> Tensor:
    """Return the loss of ``sdd`` (N,) from logits (N, P, K), the first region the whole image."""
    n, places, classes = s.shape
    flat_s, flat_t, labels = s.reshape(-1, classes), t.reshape(-1, classes), y.repeat_interleave(places)
    rows = own.rows(flat_s, flat_t, labels) if own else temperature**2 * kl(flat_s, flat_t, temperature)
    right = t.argmax(2) == y[:, None]
    weight = torch.where(right != right[:, :1], 2.0, 1.0).to(rows.dtype)
    return (weight * rows.reshape(n, places)).mean(1)


sdd.name = "sdd"
terms.add("sdd", sdd)
method("sdd", lambda: ce() + sdd() * linear(0, 1, until=WARM))
