"""Readings of AMKD beside the variants of ``boundary_triplet``: each is ours, of a public abstract.

Three more are fields of a recipe, for any of these: ``boundary_refined`` (samples on the boundary, by bisection),
``boundary_kept`` (only the nearest samples) and ``boundary_bases`` "margin" (images that the teacher is least sure of).
"""

from __future__ import annotations

from collections.abc import Callable

from amkd_viz.objectives.algebra import Objective
from amkd_viz.objectives.losses import boundary_kd, boundary_triplet, ce, kd
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.weights import linear
from amkd_viz.objectives.zoo.boundary import raw_triplet
from amkd_viz.objectives.zoo.logits import WARM, dkd, ls_kd
from amkd_viz.objectives.zoo.relations import crd

__all__ = ["READINGS"]

FALLING = linear(1, 0, until=0.75)


def _kd() -> Objective:
    return ce() + kd(temperature=3) * linear(4, 1)


def _edge() -> Objective:
    return boundary_kd(temperature=3) * linear(2, 0, until=0.75)


def _amkd_alone() -> Objective:
    """AMKD without KD on boundary samples: the triplets alone carry them.

    Weights: ours: those of amkd.
    """
    return _kd() + boundary_triplet() * FALLING


def _amkd_two_sides() -> Objective:
    """AMKD with two anchors for each sample: on either side of the boundary.

    Weights: ours: those of amkd, half of the triplets' on each side.
    """
    return _kd() + _edge() + (boundary_triplet() + boundary_triplet(on="inside")) * 0.5 * FALLING


def _amkd_pairs() -> Objective:
    """AMKD with the boundary samples of other pairs of classes among the negatives.

    Weights: ours: those of amkd.
    """
    return _kd() + _edge() + boundary_triplet(negatives="pairs") * FALLING


def _amkd_student_negatives() -> Objective:
    """AMKD with the student's own boundary samples among the negatives, which are hard.

    Weights: ours: those of amkd.
    """
    return _kd() + _edge() + boundary_triplet(negatives="student") * FALLING


def _amkd_scheduled() -> Objective:
    """AMKD, variant D: the margin goes from 1 to the teacher's own distance.

    Weights: ours: those of amkd.
    """
    return _kd() + _edge() + boundary_triplet(variant="D") * FALLING


def _amkd_feature() -> Objective:
    """AMKD on the features of the last stage, with a learned projector where widths differ.

    Weights: ours: those of amkd.
    """
    return _kd() + _edge() + boundary_triplet(embedding="feature") * FALLING


def _amkd_raw() -> Objective:
    return _kd() + raw_triplet() * linear(2, 0, until=0.75)


def _amkd_dkd() -> Objective:
    """AMKD with decoupled KD on clean samples.

    Weights: ours: those of dkd and of amkd.
    """
    return ce() + dkd() * linear(0, 1, until=WARM) + _edge() + boundary_triplet() * FALLING


def _amkd_ls_kd() -> Objective:
    """AMKD with KD on standardised logits of clean samples.

    Weights: ours: those of ls-kd and of amkd.
    """
    return ce() * 0.1 + ls_kd() * 9 + _edge() + boundary_triplet() * FALLING


def _amkd_crd() -> Objective:
    """AMKD with contrastive representation distillation on clean samples, beside KD.

    Weights: ours: those of crd and of amkd.
    """
    return _kd() + crd() * 0.8 + _edge() + boundary_triplet() * FALLING


READINGS: dict[str, Callable[[], Objective]] = {
    "amkd-alone": _amkd_alone,
    "amkd-two-sides": _amkd_two_sides,
    "amkd-pairs": _amkd_pairs,
    "amkd-student-negatives": _amkd_student_negatives,
    "amkd-scheduled": _amkd_scheduled,
    "amkd-feature": _amkd_feature,
    "amkd-raw": _amkd_raw,
    "amkd-dkd": _amkd_dkd,
    "amkd-ls-kd": _amkd_ls_kd,
    "amkd-crd": _amkd_crd,
}
for _name, _make in READINGS.items():
    method(_name, _make)
