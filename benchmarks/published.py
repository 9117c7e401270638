"""The published BSS attack as its authors' code computes it (arXiv 1805.05532), to measure against.

Weight gradients of the teacher at every step, every sample computed until all have crossed, targets drawn in a double
loop over samples and classes with one host read each. Kept slow on purpose; ``tests/test_benchmarks.py`` holds its
results equal to ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amkd_viz.models import Classifier

__all__ = ["published_bss", "published_targets"]


def published_targets(logits: Tensor, draws: Tensor) -> Tensor:
    """Target classes (M,) by walking each row's cumulative probabilities; ``draws`` (M,) in [0, 1)."""
    p = logits.softmax(1)
    target = torch.zeros(len(p), dtype=torch.long)
    for i in range(len(p)):
        top = int(p[i].argmax())
        rest, reached = 1 - float(p[i, top]), 0.0
        for k in range(p.shape[1]):
            if k == top:
                continue
            reached += float(p[i, k]) / max(rest, 1e-12)
            target[i] = k
            if reached > float(draws[i]):
                break
    return target


def published_bss(
    model: Classifier, x: Tensor, target: Tensor, step_size: float = 0.3, steps: int = 10, clamp: float = 2.5
) -> Tensor:
    """The attacked images (M, C, H, W) in the normalised space, where x (normalised too) starts."""
    model.eval()
    x = x.clone()
    base = None
    for _ in range(steps):
        leaf = x.clone().requires_grad_()
        z = model.normalised(leaf)
        if base is None:
            base = z.argmax(1)
        alive = z.argmax(1) == base
        if not alive.any():
            break
        at_base, at_target = z.gather(1, base[:, None])[:, 0], z.gather(1, target[:, None])[:, 0]
        model.zero_grad()
        (at_target - at_base).sum().backward()
        g = leaf.grad
        assert g is not None
        length = step_size * alive * ((at_base - at_target).detach() + 1e-4) / g.flatten(1).norm(dim=1)
        x = torch.where(alive.view(-1, 1, 1, 1), (x + length.view(-1, 1, 1, 1) * g).clamp(-clamp, clamp), x)
    return x
