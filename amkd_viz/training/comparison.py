"""The same problem by several methods and seeds, and the table that comes of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amkd_viz.errors import InputError
from amkd_viz.objectives import methods as known_methods
from amkd_viz.training.loop import Event, Started, Training
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.recording import distill
from amkd_viz.training.run import Run

__all__ = ["Row", "compare", "format_table", "table"]


@dataclass(frozen=True)
class Row:
    """One method over its seeds: numbers of the last epoch, name -> (mean, sd); sd is None for a single seed.

    ``test_accuracy``, ``test_agreement`` (with the teacher), ``magsim`` and ``angsim`` are shares; seconds are those
    of training.
    """

    dataset: str
    method: str
    seeds: tuple[int, ...]
    numbers: dict[str, tuple[float, float | None]]


COLUMNS = ("test_accuracy", "test_agreement", "magsim", "angsim", "train_seconds")


def compare(
    recipe: Recipe,
    methods: Sequence[str],
    seeds: int,
    out: str | Path,
    *,
    listen: Callable[[Recipe, Event], None] | None = None,
) -> list[Run]:
    """Train ``recipe`` by each method with seeds 0 .. seeds - 1, each into its own folder ``out/METHOD-seedK``.

    Data and teacher are shared. Numbers in ``recipe.changes`` apply to the methods that have the term.

    Raises:
        InputError: an unknown method, no seed, or a folder that holds something already.
    """
    out = Path(out)
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, not {seeds}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds other files and is never overwritten; choose a new folder with --out.")
    last: list[Training] = []
    runs = []
    for method in methods:
        terms = known_methods[method]().names
        changes = {name: value for name, value in recipe.changes.items() if name.split(".")[0] in terms}
        for seed in range(seeds):
            own = recipe.replace(method=method, seed=seed, changes=changes)

            def hear(event: Event, own: Recipe = own) -> None:
                if isinstance(event, Started):
                    last[:] = [event.training]
                if listen is not None:
                    listen(own, event)

            runs.append(distill(own, out / f"{method}-seed{seed}", listen=hear, like=last[0] if last else None))
    return runs


def table(runs: Sequence[Run]) -> list[Row]:
    """Rows by data set and method, in the order of first appearance."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.recipe.dataset, run.recipe.method), []).append(run)
    rows = []
    for (dataset, method), own in groups.items():
        summaries: list[dict[str, Any]] = [run.summary for run in own]
        numbers = {}
        for name in COLUMNS:
            values = [s[name] for s in summaries if s.get(name) is not None]
            if values:
                numbers[name] = (statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
        rows.append(Row(dataset, method, tuple(run.recipe.seed for run in own), numbers))
    return rows


def format_table(rows: Sequence[Row]) -> str:
    """The table as text, one line a method.

    >>> print(format_table([Row("digits", "kd", (0, 1), {"test_accuracy": (0.9312, 0.004), "train_seconds": (2, 1)})]))
    digits, last epoch, mean ± sd over seeds 0, 1
    method            test accuracy %  agreement %      MagSim           AngSim           seconds
    kd                93.12 ± 0.40     -                -                -                2.0 ± 1.0
    """
    lines: list[str] = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        seeds = ", ".join(map(str, own[0].seeds))
        lines += [
            "",
            f"{dataset}, last epoch, " + ("mean ± sd over seeds " if len(own[0].seeds) > 1 else "seed ") + seeds,
        ]
        lines.append("".join(f"{head:17s}" for head in ("method ", *HEADS)).rstrip())
        for row in own:
            cells = [_cell(row.numbers.get(name), *FORMATS[name]) for name in COLUMNS]
            lines.append("".join(f"{cell:17s}" for cell in (row.method + " ", *cells)).rstrip())
    return "\n".join(lines[1:])


HEADS = (" test accuracy %", " agreement %", " MagSim", " AngSim", " seconds")
FORMATS = {
    "test_accuracy": (100, 2),
    "test_agreement": (100, 2),
    "magsim": (1, 3),
    "angsim": (1, 3),
    "train_seconds": (1, 1),
}


def _cell(number: tuple[float, float | None] | None, scale: float, digits: int) -> str:
    if number is None:
        return " -"
    mean, sd = number
    return f" {mean * scale:.{digits}f}" + (f" ± {sd * scale:.{digits}f}" if sd is not None else "")
