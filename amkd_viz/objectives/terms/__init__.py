"""Loss terms, one family a file."""

from amkd_viz.objectives.terms.soft_targets import boundary_kd, ce, kd
from amkd_viz.objectives.terms.triplets import boundary_triplet, triplet

__all__ = ["boundary_kd", "boundary_triplet", "ce", "kd", "triplet"]
