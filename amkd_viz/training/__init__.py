"""Recipes, the loop, runs on disk, and comparisons."""

from amkd_viz.training.comparison import Row, compare, format_table, reading, table
from amkd_viz.training.evaluation import accuracy, logits_on, scores
from amkd_viz.training.events import Changed, EpochEnded, Event, Finished, Started, Stepped
from amkd_viz.training.examples import DIGITS, SPIRALS, example, suggested
from amkd_viz.training.job import Job
from amkd_viz.training.loop import events
from amkd_viz.training.race import Race
from amkd_viz.training.race_plan import RacePlan
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.recording import distill, fork, fresh_folder, replay, resume
from amkd_viz.training.run import Run
from amkd_viz.training.setup import Training
from amkd_viz.training.teachers import teacher_for

__all__ = [
    "DIGITS",
    "SPIRALS",
    "Changed",
    "EpochEnded",
    "Event",
    "Finished",
    "Job",
    "Race",
    "RacePlan",
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
    "example",
    "fork",
    "format_table",
    "fresh_folder",
    "logits_on",
    "reading",
    "replay",
    "resume",
    "scores",
    "suggested",
    "table",
    "teacher_for",
]
