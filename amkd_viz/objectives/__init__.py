"""What a student is trained on: terms that scale and add, and the named sums of the literature."""

from amkd_viz.objectives.algebra import Objective, Term
from amkd_viz.objectives.methods import methods
from amkd_viz.objectives.step import Attack, BoundaryBatch, Step
from amkd_viz.objectives.terms.soft_targets import boundary_kd, ce, kd
from amkd_viz.objectives.terms.triplets import boundary_triplet, triplet
from amkd_viz.objectives.weights import Schedule, constant, linear

__all__ = [
    "Attack",
    "BoundaryBatch",
    "Objective",
    "Schedule",
    "Step",
    "Term",
    "boundary_kd",
    "boundary_triplet",
    "ce",
    "constant",
    "kd",
    "linear",
    "methods",
    "triplet",
]
