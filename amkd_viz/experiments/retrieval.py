"""Retrieval: queries of the student, a gallery of the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from amkd_viz.core.rng import generator
from amkd_viz.experiments.result import Experiment, lines
from amkd_viz.runs import Run
from amkd_viz.training.evaluation import outputs_on
from amkd_viz.views.view import View

__all__ = ["mean_average_precision", "recall_at", "retrieval"]

BITS = 32


def mean_average_precision(order: Tensor, queries: Tensor, gallery: Tensor, k: int) -> float:
    """Return mAP@k: the mean over queries of the mean of (hits so far / rank) over the hits among the first k.

    A query without a hit counts as 0, as in the released code of BRCD (arXiv 2403.06071).

    Args:
        order: (Q, G) gallery rows, nearest first. queries: (Q,) labels. gallery: (G,) labels.
    """
    hits = (gallery[order[:, :k]] == queries[:, None]).double()
    rank = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64)
    each = (hits.cumsum(1) / rank * hits).sum(1) / hits.sum(1).clamp_min(1)
    return float(each.mean())


def recall_at(order: Tensor, queries: Tensor, gallery: Tensor, k: int) -> float:
    """Return the share of queries with a sample of their class among the first k."""
    return float((gallery[order[:, :k]] == queries[:, None]).any(1).double().mean())


def codes(features: Tensor, mean: Tensor, bits: int = BITS) -> Tensor:
    """Return signs (N, bits) of centred features (N, D) after a fixed random rotation."""
    draws = torch.randn(features.shape[1], bits, generator=generator("cpu", "codes"), dtype=features.dtype)
    return (features - mean) @ draws > 0


def ranked(a: Tensor, b: Tensor) -> Tensor:
    """Return (Q, G) rows of ``b``, nearest first: by cosine, or by Hamming distance for bits; ties in order of rows."""
    if a.dtype == torch.bool:
        near = -(a[:, None] ^ b[None]).sum(2)
    else:
        near = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    return near.argsort(dim=1, descending=True, stable=True)


def retrieval(run: Run, ks: Sequence[int] = (1, 5, 10, 50)) -> Experiment:
    """Search the training samples by test samples: gallery and queries from the teacher, the student, or one of each.

    The student's features are brought into the teacher's space by least squares on the training samples, as its
    projector would learn to (LEAF, arXiv 2509.12539). Codes are 32 signs of rotated features.

    Returns:
        arrays ``NAME.map`` and ``NAME.recall`` (ks,), NAME one of teacher, student, student to teacher, and with codes.

    Raises:
        InputError: the run is not finished or has no teacher.
    """
    data = run.dataset()
    found = {
        (name, part): outputs_on(net, getattr(data, part)).features.double()
        for name, net in (("teacher", run.teacher()), ("student", run.student()))
        for part in ("train", "test")
    }
    bias = {
        part: torch.cat([f, torch.ones(len(f), 1, dtype=f.dtype)], 1)
        for (n, part), f in found.items()
        if n == "student"
    }
    to_teacher = torch.linalg.lstsq(bias["train"], found["teacher", "train"]).solution
    mapped, mean = bias["test"] @ to_teacher, found["teacher", "train"].mean(0)
    pairs = {
        "teacher": (found["teacher", "test"], found["teacher", "train"]),
        "student": (found["student", "test"], found["student", "train"]),
        "student to teacher": (mapped, found["teacher", "train"]),
    }
    pairs["codes, student to teacher"] = (codes(mapped, mean), codes(found["teacher", "train"], mean))
    ks = [k for k in ks if k <= len(data.train)]
    arrays = {}
    for name, (query, gallery) in pairs.items():
        order = ranked(query, gallery)
        for key, number in (("map", mean_average_precision), ("recall", recall_at)):
            arrays[f"{name}.{key}"] = np.array([number(order, data.test.y, data.train.y, k) for k in ks])
    series = {name: (np.array(ks), 100 * arrays[f"{name}.map"]) for name in pairs}
    figure = lines(series, "k", "mAP@k, %", log=True)
    figure.update_xaxes(tickvals=list(ks))
    caption = (
        f"Test samples search {len(data.train)} training samples. mAP@{ks[-1]} with the teacher's gallery: "
        f"{100 * arrays['teacher.map'][-1]:.1f} % for its own queries, "
        f"{100 * arrays['student to teacher.map'][-1]:.1f} % for the student's."
    )
    return Experiment(View(figure, arrays, {}, caption, "Retrieval"), {"run": run})
