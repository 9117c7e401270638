"""Leave out the runs that cannot be read or do not fit their data, each with a sentence, and keep the others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.runs.measures import measured
from amkd_viz.runs.prepare import OF_DATA, OF_TEACHER, check_pair
from amkd_viz.runs.run import Run

__all__ = ["opened", "sound"]


def opened(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Return the runs in the folders, and a sentence for each folder that cannot be opened."""
    runs, left_out = [], []
    for folder in folders:
        try:
            runs.append(Run.open(folder))
        except InputError as error:
            left_out.append(f"Left out: {folder}: {error}")
    return runs, left_out


def sound(runs: Iterable[Run], dataset: Dataset | None = None) -> tuple[list[Run], list[str]]:
    """Return the runs whose summary can be read, and a sentence for each of the others.

    Args:
        dataset: if given, student and teacher of a run must be readable too and fit it.
    """
    kept, left_out, fitting = [], [], set[tuple[object, ...]]()
    for run in runs:
        try:
            _ = run.summary, measured(run)
            if dataset is not None:
                check_pair(run.student(), dataset, f"Student of {run.path}")
                source = tuple(getattr(run.recipe, name) for name in OF_DATA + OF_TEACHER)
                if source not in fitting:  # many runs share a teacher
                    check_pair(run.teacher(), dataset, f"Teacher of {run.path}")
                    fitting.add(source)
            kept.append(run)
        except InputError as error:
            left_out.append(f"Left out: {run.path}: {error}")
    return kept, left_out
