"""What a student is trained on: terms that scale and add, and the named sums of the literature."""

from amkd_viz.objectives.algebra import Objective, Term, terms, wire
from amkd_viz.objectives.losses import boundary_kd, boundary_triplet, ce, kd, triplet
from amkd_viz.objectives.methods import READING_OF_AMKD, known_terms, methods
from amkd_viz.objectives.sources import Boundary, Inside, SecondView, Validation
from amkd_viz.objectives.step import Batch, Step, shapes_of
from amkd_viz.objectives.weights import Schedule, constant, linear
from amkd_viz.objectives.zoo.per_sample import (
    PerSample,
    ada,
    confusion,
    cosine,
    near,
    per_sample,
    rest,
    right,
    sure,
    wls,
)

__all__ = [
    "Batch",
    "Boundary",
    "Objective",
    "PerSample",
    "READING_OF_AMKD",
    "Schedule",
    "Inside",
    "SecondView",
    "Step",
    "Term",
    "Validation",
    "ada",
    "boundary_kd",
    "boundary_triplet",
    "ce",
    "confusion",
    "constant",
    "cosine",
    "kd",
    "known_terms",
    "linear",
    "methods",
    "near",
    "per_sample",
    "rest",
    "right",
    "shapes_of",
    "sure",
    "terms",
    "triplet",
    "wire",
    "wls",
]
