"""Several nets' embeddings of the same samples in one layout, and how far that picture may be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier, freeze
from amkd_viz.models.classifier import unwrapped
from amkd_viz.objectives.metric import embed
from amkd_viz.views.anchors import MARGIN, Anchored, anchored, nearest_negatives
from amkd_viz.views.chosen import Chosen
from amkd_viz.views.decisions import decisions
from amkd_viz.views.fidelity import Aligned, contradicted, triplets_kept, trustworthiness

__all__ = ["NEIGHBOURS", "Fidelity", "Outputs", "facts", "fidelity", "outputs", "spaces", "triplets_of"]

NEIGHBOURS = 15


class Outputs(NamedTuple):
    """Of one net at N inputs: logits (N, K) and penultimate features (N, D), float32 on the CPU."""

    logits: Tensor
    features: Tensor

    def space(self, kind: str = "logit") -> NDArray[np.float32]:
        """(N, D) unit embeddings; ``kind`` as in ``objectives.metric.embed``."""
        return np.asarray(embed(kind, self.logits, self.features).numpy())


def outputs(net: nn.Module, x: Tensor, name: str = "net") -> Outputs:
    """Evaluate a classifier at x (N, ...) in parts; its flags are restored.

    Raises:
        InputError: it has no embed().
    """
    net = unwrapped(net)
    if not isinstance(net, Classifier):
        raise InputError(f"{name} is a {type(net).__name__} without embed(); wrap(module, ...) it first.")
    with freeze(net), torch.no_grad():
        parts = [net.outputs(part) for part in x.split(500)]
    return Outputs(
        torch.cat([part.logits.float().cpu() for part in parts]),
        torch.cat([part.features.float().cpu() for part in parts]),
    )


def spaces(nets: Mapping[str, nn.Module], x: Tensor, kind: str = "logit") -> dict[str, NDArray[np.float32]]:
    """Unit embeddings (N, D) of x (N, ...) by each net, D its own; ``kind`` as in ``objectives.metric.embed``."""
    return {name: outputs(net, x, name).space(kind) for name, net in nets.items()}


def facts(teacher: Outputs, student: Outputs, chosen: Chosen, kind: str) -> NDArray[np.float64]:
    """(N, 7) what a table says of each sample: the teacher's class and its probability, the student's, d(a, p) and the
    least d(a, n) with this sample as the anchor, and the class that a boundary sample was sent to. NaN for nothing."""
    told: list[NDArray[Any]] = []
    for net in (teacher, student):
        found = decisions(net.logits)
        told += [found.winner.astype(np.float64), found.confidence]
    told += nearest_negatives(teacher.space(kind), student.space(kind), chosen)
    told.append(np.where(chosen.boundary, chosen.target, np.nan))
    return np.stack(told, 1)


def triplets_of(
    teacher: NDArray[Any],
    student: NDArray[Any],
    low_teacher: NDArray[Any],
    low_student: NDArray[Any],
    chosen: Chosen,
    which: int,
    margin: float = MARGIN,
) -> Anchored:
    """The triplets of sample ``which`` in truth and in a joint layout: (N, D) spaces and (N, 2) places of both nets.

    Raises:
        InputError: the nets' spaces differ in width, or no sample is a negative.
    """
    if teacher.shape[1] != student.shape[1]:
        raise InputError(
            f"Teacher and student have {teacher.shape[1]} and {student.shape[1]} features, so distances across them "
            "mean nothing; choose the logit or prob embedding."
        )
    high = np.concatenate([teacher[[which]], student[[which]], student])
    low = np.concatenate([low_teacher[[which]], low_student[[which]], low_student])
    return anchored(high, low, chosen.negatives(which), margin)


@dataclass(frozen=True, eq=False)
class Fidelity:
    """Of one net's points in a layout.

    Attributes:
        trustworthiness: k = 15, in [0, 1].
        residual: Procrustes, to the first net's points, in [0, 1].
        kept: share of the triplets whose order of distances is the same in the picture as in truth; NaN without any.
        misleading: (M, 3) the triplets that the picture contradicts most clearly.
    """

    trustworthiness: float
    residual: float
    kept: float
    misleading: NDArray[np.integer[Any]]


def fidelity(high: NDArray[Any], laid: Aligned, triplets: NDArray[np.int64], worst: int = 3) -> Fidelity:
    """Measure a layout (N, 2) against its space (N, D); ``worst``: so many contradicted triplets are named."""
    kept = triplets_kept(high, laid.points, triplets)
    return Fidelity(
        trustworthiness(high, laid.points, NEIGHBOURS),
        laid.residual,
        float(kept.mean()) if len(kept) else float("nan"),
        contradicted(high, laid.points, triplets, worst),
    )
