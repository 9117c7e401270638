"""Interactive panels for JupyterLab, on top of the views."""

from amkd_viz.panels.boundary_lab import BoundaryLab
from amkd_viz.panels.distill_lab import DistillLab
from amkd_viz.panels.embedding_lab import EmbeddingLab
from amkd_viz.panels.fleet_view import FleetView
from amkd_viz.panels.method_race import MethodRace
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.sample_lab import SampleLab

__all__ = ["BoundaryLab", "DistillLab", "EmbeddingLab", "FleetView", "MethodRace", "Panel", "SampleLab"]
