"""Choose which samples are attacked, and towards which class (arXiv 1805.05532, sections 3.2 and 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError, unknown

__all__ = ["BASES", "sample_targets", "select_always", "select_bases"]

BASES = ("difference", "margin")


def select_bases(
    teacher_logits: Tensor, student_logits: Tensor, y: Tensor, limit: int = 64, by: str = "difference"
) -> Tensor:
    r"""Return the base samples: of those that both nets classify correctly, the ``limit`` that come first.

    Args:
        teacher_logits, student_logits: (B, K).
        y: (B,) labels.
        by: "difference", as published: :math:`\sum_{j \ne y} (p^T_j - p^S_j)^2` at temperature 1, largest first;
            "margin": the teacher's two largest probabilities apart, smallest first.

    Returns:
        (M,) indices into the batch, 0 <= M <= ``limit``.
    """
    best, right = _ranked(teacher_logits, student_logits, y, limit, by)
    return best[right]  # host sync on a GPU: the number of samples that both nets get right


def select_always(
    teacher_logits: Tensor, student_logits: Tensor, y: Tensor, limit: int = 64, by: str = "difference"
) -> tuple[Tensor, Tensor]:
    """Choose as ``select_bases`` does, in fixed shapes, so that the host does not wait for a GPU.

    Returns:
        ``best``, (L,) indices with L = min(limit, B), and ``count``, a scalar: the first ``count`` indices
        are those of ``select_bases``, the rest only fills the shape.
    """
    best, right = _ranked(teacher_logits, student_logits, y, limit, by)
    return best, right.sum()


def _ranked(teacher_logits: Tensor, student_logits: Tensor, y: Tensor, limit: int, by: str) -> tuple[Tensor, Tensor]:
    right = (teacher_logits.argmax(1) == y) & (student_logits.argmax(1) == y)
    p_teacher, p_student = teacher_logits.float().softmax(1), student_logits.float().softmax(1)
    if by == "margin":
        first, second = p_teacher.topk(2).values.T
        score = second - first
    elif by == "difference":
        wrong_classes = torch.ones_like(p_teacher).scatter_(1, y[:, None], 0)
        score = ((p_teacher - p_student).square() * wrong_classes).sum(1)
    else:
        raise unknown("order of base samples", by, BASES)
    best = score.masked_fill(~right, -2).topk(min(limit, len(y))).indices
    return best, right[best]


def sample_targets(logits: Tensor, generator: torch.Generator | None = None, waits: Tensor | None = None) -> Tensor:
    """Draw each sample's target class from the net's softmax without its top class.

    Class k is drawn with probability p_k / (1 - max p); where that is 0 / 0 in float32, or nearly so, the second-ranked
    class is taken. One draw for the whole batch; row i's does not depend on the rows after it.

    Args:
        logits: (M, K), K >= 2.
        waits: (N, K), N >= M: draws from the exponential distribution in place of the generator's.

    Returns:
        (M,) classes, none of them the arg-max.

    Raises:
        InputError: fewer than two classes.
    """
    if logits.shape[1] < 2:
        raise InputError("A net of one class has no other class to attack; sample_targets needs at least 2.")
    if len(logits) == 0:
        return logits.new_zeros(0, dtype=torch.long)
    top = logits.argmax(1, keepdim=True)
    second = logits.scatter(1, top, -torch.inf).argmax(1)  # of the logits: in p the ranks may be lost already
    p = logits.float().softmax(1).scatter(1, top, 0)
    empty = p.sum(1, keepdim=True) < 1e-30  # below, the draw's own arithmetic underflows and could return the top class
    p = torch.where(empty, torch.zeros_like(p).scatter_(1, second[:, None], 1), p)
    # torch.multinomial's own draw, without the check of p for which the host would wait
    waits = torch.empty_like(p).exponential_(generator=generator) if waits is None else waits[: len(p)]
    return (p / waits.clamp_min(torch.finfo(p.dtype).tiny)).argmax(1)
