"""What a student is trained on: terms that scale and add, and the named sums of the literature."""

from .algebra import Objective, Term
from .distill import boundary_kd, ce, kd
from .methods import methods
from .schedule import Schedule, constant, linear
from .step import Attack, BoundaryBatch, Step
from .triplets import boundary_triplet, triplet

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
