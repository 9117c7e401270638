"""Evaluate nets: logits, accuracy, agreement. The mode of a net is restored after each call."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amkd_viz.core.pauses import pause_point
from amkd_viz.data import Split
from amkd_viz.models import freeze

__all__ = ["accuracy", "logits_on", "scores"]


def logits_on(model: nn.Module, split: Split, batch_size: int = 500, autocast: torch.dtype | None = None) -> Tensor:
    """Return float32 logits (N, K) of a whole split, in eval mode; the net's own flags are restored."""
    with freeze(model), torch.no_grad(), torch.autocast(split.x.device.type, autocast, enabled=autocast is not None):
        parts = []
        for start in range(0, len(split), batch_size):
            pause_point()
            parts.append(model(split.floats(slice(start, start + batch_size))).float())
    return torch.cat(parts)


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Return the share of correct arg-max predictions, in [0, 1]."""
    return float((logits.argmax(1) == y).float().mean())


def scores(student: Tensor, teacher: Tensor, y: Tensor) -> dict[str, float]:
    """Return accuracy, arg-max agreement and KL(teacher || student) in nats, from logits (N, K) and labels (N,)."""
    p, q = teacher.log_softmax(1), student.log_softmax(1)
    return {
        "accuracy": accuracy(student, y),
        "agreement": accuracy(student, teacher.argmax(1)),
        "kl": float((p.exp() * (p - q)).sum(1).mean()),
    }
