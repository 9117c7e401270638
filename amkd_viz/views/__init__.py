"""Figures, the arrays they show, and the numbers that say how far to trust them. No widgets."""

from amkd_viz.views.boundary_map import boundary_map
from amkd_viz.views.boundary_path import boundary_path
from amkd_viz.views.comparison import compare
from amkd_viz.views.curves import curves
from amkd_viz.views.distances import distances
from amkd_viz.views.embedding import embedding
from amkd_viz.views.epochs import epochs, recording
from amkd_viz.views.gallery import gallery
from amkd_viz.views.plane_map import plane_map
from amkd_viz.views.regimes import Regime, regimes
from amkd_viz.views.report import write_report
from amkd_viz.views.theme import class_colour, method_colour, method_colours
from amkd_viz.views.triplets import triplets
from amkd_viz.views.view import View

__all__ = [
    "Regime",
    "View",
    "boundary_map",
    "boundary_path",
    "class_colour",
    "compare",
    "curves",
    "distances",
    "embedding",
    "epochs",
    "gallery",
    "method_colour",
    "method_colours",
    "plane_map",
    "recording",
    "regimes",
    "triplets",
    "write_report",
]
