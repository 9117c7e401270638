"""Evaluate nets: logits, accuracy, agreement. The mode of a net is restored after each call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from amkd_viz.core.pauses import pause_point
from amkd_viz.core.ranks import ALONE, Ranks
from amkd_viz.data import Split
from amkd_viz.models import Classifier, Outputs, freeze

__all__ = ["accuracy", "class_accuracies", "inputs_at_once", "logits_on", "outputs_on", "scores"]


def inputs_at_once(shape: Sequence[int], device: torch.device) -> int:
    """Return how many inputs of ``shape`` (C, H, W) or (D,) to evaluate in one pass: 16 to 1,024.

    On a CPU the activations of 128 CIFAR images fit the cache (1.5 times as fast for a ResNet); as many values of
    larger images also bound the memory that a pass takes.
    """
    images = 128 if device.type == "cpu" else 1024
    return max(16, min(1024, images * 3 * 32 * 32 // math.prod(shape)))


def logits_on(model: nn.Module, split: Split, autocast: torch.dtype | None = None, ranks: Ranks = ALONE) -> Tensor:
    """Return float32 logits (N, K) of a whole split, in eval mode; the net's own flags are restored.

    Args:
        ranks: divide the split among them.
    """
    with freeze(model), torch.no_grad(), torch.autocast(split.x.device.type, autocast, enabled=autocast is not None):
        own = torch.cat([model(x).float() for x in _inputs(split, ranks.own(len(split)))])
    return ranks.gather(own, len(split))


def outputs_on(model: Classifier, split: Split, autocast: torch.dtype | None = None) -> Outputs:
    """Return float32 logits (N, K) and features (N, D) of a whole split, in eval mode."""
    with freeze(model), torch.no_grad(), torch.autocast(split.x.device.type, autocast, enabled=autocast is not None):
        parts = [model.outputs(x) for x in _inputs(split, slice(None))]
    return Outputs(torch.cat([p.logits.float() for p in parts]), torch.cat([p.features.float() for p in parts]), {})


def _inputs(split: Split, rows: slice) -> Iterator[Tensor]:
    """Yield the inputs of some rows, as many at a time as one pass takes, with a pause point before each; of no rows
    an empty batch, which has the shape of the others."""
    own, count = range(len(split))[rows], inputs_at_once(split.x.shape[1:], split.x.device)
    for start in range(own.start, max(own.stop, own.start + 1), count):
        pause_point()
        yield split.floats(slice(start, min(start + count, own.stop)))


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Return the share of correct arg-max predictions, in [0, 1]."""
    return float((logits.argmax(1) == y).float().mean())


def class_accuracies(logits: Tensor, y: Tensor) -> list[float]:
    """Return the accuracy on the samples of each class, in [0, 1]; NaN for a class without samples.

    Their mean is the balanced accuracy.
    """
    right = (logits.argmax(1) == y).double()
    sums = torch.zeros(logits.shape[1], dtype=torch.float64, device=y.device).index_add_(0, y, right)
    own: list[float] = (sums / y.bincount(minlength=logits.shape[1])).tolist()
    return own


def scores(student: Tensor, teacher: Tensor, y: Tensor) -> dict[str, float]:
    """Return accuracy, arg-max agreement and KL(teacher || student) in nats, from logits (N, K) and labels (N,)."""
    p, q = teacher.log_softmax(1), student.log_softmax(1)
    return {
        "accuracy": accuracy(student, y),
        "agreement": accuracy(student, teacher.argmax(1)),
        "kl": float((p.exp() * (p - q)).sum(1).mean()),
    }
