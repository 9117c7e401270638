"""Recipes, the loop, runs on disk, and comparisons."""

from amkd_viz.training.comparison import Row, compare, format_table, reading, table
from amkd_viz.training.evaluation import accuracy, logits_on, scores
from amkd_viz.training.loop import EpochEnded, Event, Finished, Started, Stepped, Training, events
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.recording import distill, fresh_folder
from amkd_viz.training.run import Run
from amkd_viz.training.teachers import teacher_for

__all__ = [
    "EpochEnded",
    "Event",
    "Finished",
    "Recipe",
    "Row",
    "Run",
    "Started",
    "Stepped",
    "Training",
    "accuracy",
    "compare",
    "distill",
    "events",
    "format_table",
    "fresh_folder",
    "logits_on",
    "reading",
    "scores",
    "table",
    "teacher_for",
]
