"""Runs on disk: distill, resume, fork, watch, race and compare them."""

from amkd_viz.runs.examples import example
from amkd_viz.runs.grid import compare
from amkd_viz.runs.job import Job
from amkd_viz.runs.race import Race
from amkd_viz.runs.recording import distill, fork, fresh_folder, replay, resume
from amkd_viz.runs.run import Run
from amkd_viz.runs.table import Row, format_table, reading, table

__all__ = [
    "Job",
    "Race",
    "Row",
    "Run",
    "compare",
    "distill",
    "example",
    "fork",
    "format_table",
    "fresh_folder",
    "reading",
    "replay",
    "resume",
    "table",
]
