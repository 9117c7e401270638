"""Samples on the decision boundary: attacks, selection, refinement, and the similarity of two boundaries."""

from amkd_viz.boundary.attacks import BSS, FGSM, DeepFool, Noise, bss, deepfool, fgsm, noise
from amkd_viz.boundary.calibration import calibrate
from amkd_viz.boundary.refinement import refine
from amkd_viz.boundary.sampler import Sampler, samplers
from amkd_viz.boundary.samples import BoundarySamples, Passes, Status
from amkd_viz.boundary.selection import sample_targets, select_always, select_bases
from amkd_viz.boundary.similarity import BoundarySimilarity, boundary_similarity

__all__ = [
    "BSS",
    "FGSM",
    "DeepFool",
    "Noise",
    "Sampler",
    "samplers",
    "BoundarySamples",
    "BoundarySimilarity",
    "Passes",
    "Status",
    "boundary_similarity",
    "bss",
    "calibrate",
    "deepfool",
    "fgsm",
    "noise",
    "refine",
    "sample_targets",
    "select_always",
    "select_bases",
]
