"""The earlier runs in a folder as a table that can be sorted, from which one is opened."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import traitlets

from amkd_viz.core.errors import InputError
from amkd_viz.data import short_name
from amkd_viz.panels.view_widget import ViewWidget
from amkd_viz.runs import Run

__all__ = ["RunTable", "run_rows", "run_words"]


class RunTable(ViewWidget, scripts=["runs.js"], style="runs.css"):
    """A table of runs; a click on a heading sorts it, one on a name opens the run.

    Attributes:
        rows: what :func:`run_rows` returns. shown: path of the run on show. chosen: path of the run to open.
    """

    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    shown = traitlets.Unicode("").tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)
    empty = traitlets.Unicode("").tag(sync=True)


def run_rows(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Return name, date (seconds), data, method, epochs, accuracy (share or None) and state of each run; what is not a
    run is left out."""
    rows = []
    for folder in folders:
        with suppress(InputError, OSError):
            run = Run.open(folder)
            finished, recipe = run.finished, run.recipe
            done = recipe.epochs if finished else run.epochs_done
            rows.append(
                {
                    "path": str(folder),
                    "name": folder.name,
                    "date": (folder / "config.json").stat().st_mtime,
                    "data": short_name(recipe.dataset),
                    "method": recipe.method,
                    "epochs": [done, recipe.epochs],
                    "accuracy": run.summary.get("test_accuracy") if finished else None,
                    "state": "done" if finished else "training" if run.held else "stopped",
                }
            )
    return rows


def run_words(row: dict[str, Any]) -> str:
    """Return a row in words, for a menu."""
    share, (done, epochs) = row["accuracy"], row["epochs"]
    state = row["state"] if share is None else f"{100 * share:.1f} %"
    when = time.strftime("%d %b %H:%M", time.localtime(row["date"]))
    return f"{row['name']} · {row['data']} · {row['method']} · {done}/{epochs} epochs · {state} · {when}"
