"""Runs on disk: distill, resume, fork, watch, race and compare them."""

from amkd_viz.runs.clearing import clear_runs
from amkd_viz.runs.examples import example
from amkd_viz.runs.grid import cells, compare, train_cells
from amkd_viz.runs.job import Job
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.race import Race
from amkd_viz.runs.recording import distill, fork, fresh_folder, replay, resume
from amkd_viz.runs.run import Run, teacher_for
from amkd_viz.runs.table import Row, format_table, reading, table

__all__ = [
    "Job",
    "Race",
    "Row",
    "Run",
    "cells",
    "clear_runs",
    "compare",
    "distill",
    "example",
    "fork",
    "format_table",
    "fresh_folder",
    "prepare",
    "reading",
    "replay",
    "resume",
    "table",
    "teacher_for",
    "train_cells",
]
