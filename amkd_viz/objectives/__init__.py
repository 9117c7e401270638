"""What a student is trained on: terms that scale and add, and the named sums of the literature."""

from amkd_viz.objectives.algebra import Objective, Term, terms, wire
from amkd_viz.objectives.losses import boundary_kd, boundary_triplet, ce, kd, triplet
from amkd_viz.objectives.methods import READING_OF_AMKD, known_terms, methods
from amkd_viz.objectives.sources import Boundary, SecondView, Validation
from amkd_viz.objectives.step import Batch, Step, shapes_of
from amkd_viz.objectives.weights import Schedule, constant, linear

__all__ = [
    "READING_OF_AMKD",
    "Batch",
    "Boundary",
    "Objective",
    "Schedule",
    "SecondView",
    "Step",
    "Term",
    "Validation",
    "boundary_kd",
    "boundary_triplet",
    "ce",
    "constant",
    "kd",
    "known_terms",
    "linear",
    "methods",
    "shapes_of",
    "terms",
    "triplet",
    "wire",
]
