"""The published BSS attack and step as their authors' code computes them (arXiv 1805.05532), to measure against.

Weight gradients of the teacher at every step, every sample computed until all have crossed, targets drawn in a double
loop over samples and classes with one host read each. Kept slow on purpose; ``tests/test_benchmarks.py`` holds its
results equal to ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from amkd_viz.models import Classifier

__all__ = ["published_bss", "published_loss", "published_targets"]


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


def published_loss(
    teacher: Classifier, student: Classifier, x: Tensor, y: Tensor, draws: Tensor, progress: float, limit: int = 64
) -> Tensor:
    """CE + r KD(x) + ra KD(x~) at ``progress`` = e / E; the student is in train mode, x (B, C, H, W) in [0, 1].

    Args:
        draws: (B,) in [0, 1), for the target classes.
    """
    with torch.no_grad():
        z_teacher = teacher(x)
    z_student = student(x)
    loss = F.cross_entropy(z_student, y) + (3 * (1 - progress) + 1) * _soft(z_teacher, z_student)
    weight = max(2 * (1 - 4 / 3 * progress), 0)
    right = ((z_teacher.argmax(1) == y) & (z_student.argmax(1) == y)).nonzero()[:, 0]
    if weight == 0 or len(right) == 0:
        return loss
    if len(right) > limit:
        apart = (z_teacher[right].softmax(1) - z_student.detach()[right].softmax(1)).square()
        apart.scatter_(1, y[right, None], 0)
        right = right[apart.sum(1).topk(limit).indices]
    target = published_targets(z_teacher[right], draws[: len(right)]).to(x.device)
    attacked = published_bss(teacher, teacher.normalise(x[right]), target)
    with torch.no_grad():
        z_teacher = teacher.normalised(attacked)
    seen_by_student = student.normalise(teacher.normalise.inverse(attacked))
    return loss + weight * _soft(z_teacher, student.normalised(seen_by_student))


def _soft(z_teacher: Tensor, z_student: Tensor, temperature: float = 3.0) -> Tensor:
    p = (z_teacher / temperature).softmax(1)
    return -(p * (z_student / temperature).log_softmax(1)).sum(1).mean()
