"""Exercises of the notebooks: ``check("02.a", answer)``. Notebooks import this folder from beside them."""

from exercises.checking import Verdict, check, exercises
from exercises.pictures import example_folder

__all__ = ["Verdict", "check", "example_folder", "exercises"]
