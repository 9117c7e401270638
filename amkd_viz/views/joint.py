"""Several nets' embeddings of the same samples in one layout, and how far that picture may be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.errors import InputError
from amkd_viz.models import Classifier, freeze
from amkd_viz.objectives.metric import embed
from amkd_viz.views.fidelity import Aligned, contradicted, triplets_kept, trustworthiness
from amkd_viz.views.labels import number, percent

__all__ = ["NEIGHBOURS", "Fidelity", "fidelity", "spaces"]

NEIGHBOURS = 15


def spaces(nets: Mapping[str, nn.Module], x: Tensor, kind: str = "logit") -> dict[str, NDArray[np.float32]]:
    """Unit embeddings (N, D) of x (N, ...) by each net, D its own; ``kind`` as in ``objectives.metric.embed``."""
    found = {}
    for name, net in nets.items():
        if not isinstance(net, Classifier):
            raise InputError(f"{name} is a {type(net).__name__} without embed(); wrap(module, ...) it first.")
        with freeze(net), torch.no_grad():
            parts = [embed(kind, *net.embed(part)[:2]).float().cpu() for part in x.split(500)]
        found[name] = torch.cat(parts).numpy()
    return found


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

    def words(self) -> str:
        """The three numbers as a person reads them."""
        return (
            f"trustworthiness {number(self.trustworthiness)}, residual {number(self.residual)}, "
            f"triplets kept {percent(self.kept, 0)}"
        )


def fidelity(high: NDArray[Any], laid: Aligned, triplets: NDArray[np.int64], worst: int = 3) -> Fidelity:
    """Measure a layout (N, 2) against its space (N, D); ``worst``: so many contradicted triplets are named."""
    kept = triplets_kept(high, laid.points, triplets)
    return Fidelity(
        trustworthiness(high, laid.points, NEIGHBOURS),
        laid.residual,
        float(kept.mean()) if len(kept) else float("nan"),
        contradicted(high, laid.points, triplets, worst),
    )
