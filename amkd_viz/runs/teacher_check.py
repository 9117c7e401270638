"""Measure a teacher from a file before a student is trained on it, and find out why one is near chance."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset, Split
from amkd_viz.models import Classifier, Normalise
from amkd_viz.models.resnet import SHORTCUTS, BasicBlock, ResNetBody
from amkd_viz.training import accuracy, logits_on

__all__ = ["check_accuracy", "in_order"]

MOST = 500  # validation samples
FEWEST = 20  # fewer say nothing
NORMS = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "mean 0.5 and std 0.5": ((0.5,) * 3, (0.5,) * 3),
    "none": ((0.0,) * 3, (1.0,) * 3),
    "inputs of 0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
}


def check_accuracy(net: Classifier, dataset: Dataset, name: str, trust: bool = False) -> str:
    """Return a sentence on the accuracy of a teacher on validation samples, at most 500; "" for fewer than 20.

    Args:
        trust: go on with a teacher that is near chance.

    Raises:
        InputError: the accuracy is near chance: within three standard errors of the largest class's share. The message
            gives the usual causes, the likeliest first, and what the accuracy is without each.
    """
    chosen = torch.randperm(len(dataset.val), generator=generator("cpu", "teacher check"))[:MOST]
    val = dataset.val.take(chosen.to(dataset.val.y.device))
    n = len(val)
    if n < FEWEST:
        return ""
    share = accuracy(logits_on(net, val), val.y)
    chance = float(val.y.bincount(minlength=dataset.num_classes).max()) / n
    text = f"{name} classifies {share:.1%} of {n} validation samples correctly"
    if trust or share > chance + 3 * math.sqrt(chance * (1 - chance) / n):
        return f"{text}."
    causes = "; ".join(
        f"with {what} it would be {better:.1%}" for better, what in _causes(net, val, dataset) if better > share
    )
    raise InputError(
        f"{text}, near chance ({chance:.1%}). The usual causes, tried on these samples: "
        f"{causes or 'none of them helps'}. "
        "Import or train it again, or set trust_teacher to go on with it."
    )


def in_order(net: Classifier, classes: Sequence[str] | None) -> Classifier:
    """Return a net whose outputs are in the order of ``classes``: a copy, if its file names them in another order."""
    own = getattr(net, "classes", ())
    if not classes or not own or tuple(own) == tuple(classes) or sorted(own) != sorted(classes):
        return net
    made = copy.deepcopy(net)
    order = torch.tensor([own.index(label) for label in classes])
    made.head = _Reordered(made.head, order).eval()
    made.classes = tuple(classes)
    return made


class _Reordered(nn.Module):
    """A head whose outputs are in another order."""

    order: Tensor

    def __init__(self, head: nn.Module, order: Tensor) -> None:
        super().__init__()
        self.inner = head
        self.register_buffer("order", order)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.inner(features)[:, self.order]
        return out


def _causes(net: Classifier, val: Split, dataset: Dataset) -> list[tuple[float, str]]:
    """Return (accuracy, what was changed) of variants of a net, from the best."""
    found = [(_best_order(logits_on(net, val), val.y), "its outputs in another order of the classes")]
    if dataset.kind == "images" and net.shape[0] == 3:
        for name, (mean, std) in NORMS.items():
            other = copy.deepcopy(net)
            other.normalise = Normalise(mean, std).to(net.normalise.mean.device)
            found.append((accuracy(logits_on(other, val), val.y), f"the normalisation {name!r}"))
    side = net.shape[-1]
    for size in sorted({dataset.shape[-1], side // 2, 2 * side} - {side}) if dataset.kind == "images" else ():
        other = copy.deepcopy(net)
        other.shape = (net.shape[0], size, size)  # it resizes its inputs to this
        with suppress(RuntimeError, AssertionError):  # some nets take one size alone
            found.append((accuracy(logits_on(other, val), val.y), f"images of {size} x {size} pixels"))
    if isinstance(net.body, ResNetBody) and net.body.shortcut != "conv":
        for shortcut in SHORTCUTS[:2]:
            other = copy.deepcopy(net)
            for block in other.body.modules():
                if isinstance(block, BasicBlock):
                    extra = sum(block.padded)
                    before = extra // 2 if shortcut == "pad-both" else 0
                    block.padded = before, extra - before
            found.append((accuracy(logits_on(other, val), val.y), f"the shortcut {shortcut!r}"))
    return sorted(found, reverse=True)


def _best_order(logits: Tensor, y: Tensor) -> float:
    """Return the accuracy with outputs given to classes, from the pair that agrees most often."""
    k = logits.shape[1]
    counts = torch.zeros(k, k, dtype=torch.long).index_put_(
        (y.cpu(), logits.argmax(1).cpu()), torch.tensor(1), accumulate=True
    )
    right = 0
    for _ in range(k):
        best = int(counts.argmax())
        right += int(counts.flatten()[best])
        counts[best // k], counts[:, best % k] = -1, -1
    return right / max(len(y), 1)
