"""Loss terms, one family a file."""

from amkd_viz.objectives.losses.labels import ce
from amkd_viz.objectives.losses.soft_targets import boundary_kd, kd
from amkd_viz.objectives.losses.triplets import boundary_triplet, triplet

__all__ = ["boundary_kd", "boundary_triplet", "ce", "kd", "triplet"]
