"""Samples on the decision boundary: attacks, selection, refinement, and how alike two boundaries are."""

from .bss import bss
from .refinement import refine
from .samplers import deepfool, fgsm, noise
from .samples import BoundarySamples, Passes, Status
from .selection import sample_targets, select_bases
from .similarity import BoundarySimilarity, boundary_similarity

__all__ = [
    "BoundarySamples",
    "BoundarySimilarity",
    "Passes",
    "Status",
    "boundary_similarity",
    "bss",
    "deepfool",
    "fgsm",
    "noise",
    "refine",
    "sample_targets",
    "select_bases",
]
