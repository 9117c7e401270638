"""Many runs as lines of text: a table for a terminal and for a list in a panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from amkd_viz.runs.fleet import Seen, sparkline
from amkd_viz.views.labels import duration

__all__ = ["fleet_lines", "fleet_sums"]


def fleet_lines(runs: Sequence[Seen]) -> list[str]:
    """Return the names of the columns, and one line per run: name, state, epochs, validation accuracy and its curve,
    scaled to its own range, and the time left."""
    rows = [("run", "state", "epochs", "val acc", "curve", "left")]
    for run in runs:
        accuracy = f"{100 * run.accuracy[-1]:.1f} %" if run.accuracy else ""
        left = duration(run.left) if run.left == run.left and run.state != "finished" else ""
        rows.append((run.name, run.state, f"{run.epoch}/{run.epochs}", accuracy, sparkline(run.accuracy), left))
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<<>><>"
    return ["  ".join(f"{w:{side}{n}}" for w, side, n in zip(row, sides, wide, strict=True)).rstrip() for row in rows]


def fleet_sums(runs: Sequence[Seen]) -> str:
    """Return how many runs are in which state.

    >>> from pathlib import Path
    >>> fleet_sums([Seen(Path("a"), "a", "finished"), Seen(Path("b"), "b", "training")])
    '2 runs: 1 finished, 1 training'
    """
    states = Counter(run.state for run in runs)
    return f"{len(runs)} runs: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}"
