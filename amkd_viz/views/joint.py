"""Several nets' embeddings of the same samples in one layout, and its projection quality."""

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
from amkd_viz.training.evaluation import inputs_at_once
from amkd_viz.views.anchors import MARGIN, Anchored, anchored, nearest_negatives
from amkd_viz.views.chosen import Chosen
from amkd_viz.views.decisions import decisions
from amkd_viz.views.quality import Aligned, contradicted, triplets_kept, trustworthiness

__all__ = ["NEIGHBOURS", "Quality", "Outputs", "facts", "projection_quality", "outputs", "spaces", "triplets_of"]

NEIGHBOURS = 15


class Outputs(NamedTuple):
    """Outputs of one net at N inputs: logits (N, K) and penultimate features (N, D), float32 on the CPU."""

    logits: Tensor
    features: Tensor

    def space(self, kind: str = "logit") -> NDArray[np.float32]:
        """Return (N, D) unit embeddings; ``kind`` as in ``objectives.metric.embed``."""
        return np.asarray(embed(kind, self.logits, self.features).numpy())


def outputs(net: nn.Module, x: Tensor, name: str = "net") -> Outputs:
    """Evaluate a classifier at x (N, ...) in batches; its flags are restored.

    Raises:
        InputError: the net is not a Classifier.
    """
    net = unwrapped(net)
    if not isinstance(net, Classifier):
        raise InputError(f"{name} is a {type(net).__name__} without embed(); wrap(module, ...) it first.")
    with freeze(net), torch.no_grad():
        parts = [net.outputs(part) for part in x.split(inputs_at_once(x.shape[1:], x.device))]
    return Outputs(
        torch.cat([part.logits.float().cpu() for part in parts]),
        torch.cat([part.features.float().cpu() for part in parts]),
    )


def spaces(nets: Mapping[str, nn.Module], x: Tensor, kind: str = "logit") -> dict[str, NDArray[np.float32]]:
    """Return unit embeddings (N, D) of x (N, ...) per net; ``kind`` as in ``objectives.metric.embed``."""
    return {name: outputs(net, x, name).space(kind) for name, net in nets.items()}


def facts(teacher: Outputs, student: Outputs, chosen: Chosen, kind: str) -> NDArray[np.float64]:
    """Return the columns (N, 7) of a table of samples: class and probability by teacher and by student, d(a, p), the
    least d(a, n) with the sample as anchor, and the target class of a boundary sample; NaN for an empty cell."""
    columns: list[NDArray[Any]] = []
    for net in (teacher, student):
        found = decisions(net.logits)
        columns += [found.winner.astype(np.float64), found.confidence]
    columns += nearest_negatives(teacher.space(kind), student.space(kind), chosen)
    columns.append(np.where(chosen.boundary, chosen.target, np.nan))
    return np.stack(columns, 1)


def triplets_of(
    teacher: NDArray[Any],
    student: NDArray[Any],
    low_teacher: NDArray[Any],
    low_student: NDArray[Any],
    chosen: Chosen,
    which: int,
    margin: float = MARGIN,
) -> Anchored:
    """Return the triplets of sample ``which``, given (N, D) embeddings and (N, 2) places in the layout of both nets.

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
class Quality:
    """Projection quality of one net's points in a layout.

    Attributes:
        trustworthiness: k = 15, in [0, 1].
        residual: Procrustes disparity to the first net's points, in [0, 1].
        kept: share of triplets whose order of distances the layout keeps; NaN without triplets.
        misleading: (M, 3) the triplets that the layout contradicts most clearly.
    """

    trustworthiness: float
    residual: float
    kept: float
    misleading: NDArray[np.integer[Any]]


def projection_quality(high: NDArray[Any], laid: Aligned, triplets: NDArray[np.int64], worst: int = 3) -> Quality:
    """Measure a layout (N, 2) against its space (N, D); ``worst`` is the maximum number of misleading triplets."""
    kept = triplets_kept(high, laid.points, triplets)
    return Quality(
        trustworthiness(high, laid.points, NEIGHBOURS),
        laid.residual,
        float(kept.mean()) if len(kept) else float("nan"),
        contradicted(high, laid.points, triplets, worst),
    )
