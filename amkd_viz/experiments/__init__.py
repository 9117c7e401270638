"""Experiments: each a function that trains runs, or looks at trained ones, and gives them with one view.

Keyword arguments that an experiment does not name itself, ``jobs`` and ``listen``, go to ``runs.train_cells``.
"""

from amkd_viz.experiments.classes import class_correlations, class_incremental, class_parts
from amkd_viz.experiments.hybrids import hybrids
from amkd_viz.experiments.result import Experiment
from amkd_viz.experiments.retrieval import retrieval
from amkd_viz.experiments.ridge import ridge_generations
from amkd_viz.experiments.shrink import shrink
from amkd_viz.experiments.students import which_student
from amkd_viz.experiments.teachers import assistants, capacity_gap, generations, steady_teacher
from amkd_viz.experiments.views_ranked import augmentations, privileged_view

__all__ = [
    "Experiment",
    "assistants",
    "augmentations",
    "capacity_gap",
    "class_correlations",
    "class_incremental",
    "class_parts",
    "generations",
    "hybrids",
    "privileged_view",
    "retrieval",
    "ridge_generations",
    "shrink",
    "steady_teacher",
    "which_student",
]
