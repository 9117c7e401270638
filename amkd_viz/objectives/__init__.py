"""What a student is trained on: terms that scale and add, and the named sums of the literature."""

from amkd_viz.objectives.algebra import Objective, Term
from amkd_viz.objectives.distill import boundary_kd, ce, kd
from amkd_viz.objectives.methods import methods
from amkd_viz.objectives.schedule import Schedule, constant, linear
from amkd_viz.objectives.step import Attack, BoundaryBatch, Step
from amkd_viz.objectives.triplets import boundary_triplet, triplet

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
