"""Samples on the decision boundary: attacks, selection, refinement, and how alike two boundaries are."""

from amkd_viz.boundary.refinement import refine
from amkd_viz.boundary.samplers.bss import Look, bss
from amkd_viz.boundary.samplers.others import deepfool, fgsm, noise
from amkd_viz.boundary.samples import BoundarySamples, Passes, Status
from amkd_viz.boundary.selection import sample_targets, select_always, select_bases
from amkd_viz.boundary.similarity import BoundarySimilarity, boundary_similarity

__all__ = [
    "BoundarySamples",
    "BoundarySimilarity",
    "Look",
    "Passes",
    "Status",
    "boundary_similarity",
    "bss",
    "deepfool",
    "fgsm",
    "noise",
    "refine",
    "sample_targets",
    "select_always",
    "select_bases",
]
