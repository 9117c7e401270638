"""Many runs as lines of text: a table for a terminal and for a list in a panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from amkd_viz.runs.fleet import POINTS, Seen, sparkline
from amkd_viz.views.labels import duration

__all__ = ["fleet_lines", "fleet_sums"]


def fleet_lines(runs: Sequence[Seen]) -> list[str]:
    """Return one line per run, in columns: name, state, epochs, accuracy, its curve, time left."""
    wide = max((len(run.name) for run in runs), default=0)
    return [
        f"{run.name:<{wide}}  {run.state:<8}  {run.epoch:>5}/{run.epochs:<5}  "
        f"{f'{100 * run.accuracy[-1]:5.1f} %' if run.accuracy else '':7}  {sparkline(run.accuracy):<{POINTS}}  "
        f"{duration(run.left) if run.left == run.left and run.state != 'finished' else ''}".rstrip()
        for run in runs
    ]


def fleet_sums(runs: Sequence[Seen]) -> str:
    """Return how many runs are in which state.

    >>> from pathlib import Path
    >>> fleet_sums([Seen(Path("a"), "a", "finished"), Seen(Path("b"), "b", "training")])
    '2 runs: 1 finished, 1 training'
    """
    states = Counter(run.state for run in runs)
    return f"{len(runs)} runs: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}"
