"""Losses that keep what earlier tasks taught: ``Recipe(order="replay:5")`` shows classes in tasks, with a buffer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from amkd_viz.core.fields import option
from amkd_viz.models import Outputs
from amkd_viz.objectives.algebra import Objective, terms, wire
from amkd_viz.objectives.losses import ce, kd
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.step import Step
from amkd_viz.objectives.zoo.pair import Pair
from amkd_viz.objectives.zoo.per_sample import PerSample, per_sample

__all__ = ["nspt", "replayed"]


def from_buffer(step: Step, y: Tensor) -> Tensor:
    """Return (N,) bool: samples whose class belongs to an earlier task."""
    return torch.zeros_like(y, dtype=torch.bool) if step.earlier is None else step.earlier[y]


@dataclass(frozen=True, repr=False)
class replayed(PerSample):
    """Copy an old self only on what is replayed: it has not seen the classes of the task.

    Formula: [y in an earlier task] / its mean
    """

    of: str = option("old", "net whose knowledge is kept")

    def weights(self, z: Tensor, y: Tensor, step: Step) -> Tensor:
        again = from_buffer(step, y).to(z.dtype)
        return again / again.mean().clamp_min(1e-12)


per_sample.add("replayed", replayed)


@dataclass(frozen=True, repr=False)
class nspt(Pair):
    """Transfer where an old self puts replayed samples, away from everything that the student sees now.

    Formula: mean over replayed i, and over replayed p of its class, of -log [e^(h_i . o_p / t) / (e^(h_i . o_p / t) +
    sum_{j != i} e^(h_i . h_j / t))], h and o unit features of the student and of its self after the last task
    Weights: ours ce 1, kd 1 on replayed samples (t 2, t^2), nspt .1, t .1; a buffer of 1 %.
    Source: COCONUT, ACL Findings 2024, arXiv 2310.02699 (reviews)
    Reading: our reading: the numerator is added to the sum, without which the loss can be negative
    Trap: twice the buffer without this loss is better still, its paper says.
    Checked: slow loop
    """

    title, unit, short = "contrast with an old self", "nats", "NSPT"
    teacher: str = wire("old", "net of the last task's end")
    temperature: float = option(0.1, "divides the cosines", low=0.01, high=1.0)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        y, again = step.clean.y, from_buffer(step, step.clean.y)
        return contrast(s.features, t.features, y, again, self.temperature)


def contrast(f: Tensor, g: Tensor, y: Tensor, again: Tensor, temperature: float) -> Tensor:
    """Return the loss of ``nspt``, a scalar; 0 where nothing is replayed."""
    h, o = F.normalize(f, dim=1), F.normalize(g, dim=1)
    near, among = h @ o.T / temperature, h @ h.T / temperature
    here = torch.eye(len(h), device=h.device, dtype=torch.bool)
    far = among.masked_fill(here, -1e30).logsumexp(1, keepdim=True)
    each = torch.logaddexp(near, far) - near
    pairs = ((y[:, None] == y[None]) & again[:, None] & again[None]).to(f.dtype)
    per_anchor = (pairs * each).sum(1) / pairs.sum(1).clamp_min(1)
    return per_anchor.sum() / again.sum().clamp_min(1)


nspt.name = "nspt"
terms.add("nspt", nspt)


def _replay_kd() -> Objective:
    """Transfer predictions of the self of the last task on replayed samples.

    Formula: CE + t^2 KL on replayed samples, their mean
    Weights: ours 1 each, t 2.
    Source: Learning without forgetting, ECCV 2016, arXiv 1606.09282, on replayed samples
    Reading: our reading: the baseline that COCONUT adds to
    Trap: has an effect with order="replay:5" alone.
    Checked: slow loop
    """
    return ce() + kd(temperature=2, t2=True, teacher="old") * replayed()


def _coconut() -> Objective:
    return _replay_kd() + nspt() * 0.1


method("replay-kd", _replay_kd)
method("coconut", _coconut)
