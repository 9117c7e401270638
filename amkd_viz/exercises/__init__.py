"""Exercises of the notebooks, and what checks their answers."""

from amkd_viz.exercises.checking import Verdict, check, exercises
from amkd_viz.exercises.pictures import example_folder

__all__ = ["Verdict", "check", "example_folder", "exercises"]
