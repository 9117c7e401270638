"""Loss terms, one family a file."""

from amkd_viz.objectives.terms.kd import boundary_kd, ce, kd
from amkd_viz.objectives.terms.triplet import boundary_triplet, triplet

__all__ = ["boundary_kd", "boundary_triplet", "ce", "kd", "triplet"]
