"""Methods on 50 labelled digits, with the published weights of the teacher's terms and with all of them times 8.

    python -m benchmarks.few_labels --runs FOLDER [--first 40] [--seeds 40] [--jobs 2] [--out RESULTS.json]

Each seed has its own split, subset and teacher, so the intervals also cover the choice of these. A stopped command goes
on in the same folder.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

from amkd_viz.core.files import write_atomic
from amkd_viz.progress import Progress
from amkd_viz.runs import cells, train_cells
from amkd_viz.runs.stats import paired
from amkd_viz.training import DIGITS

METHODS = ("ce", "kd", "bss", "amkd")
TEACHERS = {f"{term}.scale": 8 for term in ("kd", "boundary_kd", "boundary_triplet")}


def facts(accuracy: dict[str, list[float]]) -> dict[str, Any]:
    """Return mean, sd and paired differences, in points with 95 % intervals, of shares by method, one per seed."""
    names = list(accuracy)
    pairs = {
        f"{name} - {other}": paired(accuracy[name], accuracy[other])
        for place, name in enumerate(names)
        for other in names[:place]
    }
    return {
        "test_accuracy": accuracy,
        "mean": {name: statistics.fmean(values) for name, values in accuracy.items()},
        "sd": {name: statistics.stdev(values) for name, values in accuracy.items()},
        "points": {pair: [found.points, *found.interval] for pair, found in pairs.items() if found},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--first", type=int, default=40, help="first seed")
    parser.add_argument("--seeds", type=int, default=40, help="number of seeds")
    parser.add_argument("--jobs", type=int, help="number of processes")
    parser.add_argument("--out", type=Path, help="a JSON file for the results")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.seeds)
    base = DIGITS.replace(step_size=0.3)  # the published one, as when this was measured first
    plain = {f"x1/{name}": recipe for name, recipe in cells(base, method=METHODS, seed=seeds).items()}
    heavy = {f"x8/{name}": recipe for name, recipe in cells(base, TEACHERS, method=METHODS[1:], seed=seeds).items()}
    own = {name: recipe.replace(data_seed=recipe.seed) for name, recipe in (plain | heavy).items()}
    with Progress() as progress:
        runs = train_cells(own, args.runs, jobs=args.jobs, listen=progress)
    accuracy: dict[str, list[float]] = {}
    for name, run in zip(own, runs, strict=True):
        accuracy.setdefault(name.rpartition("-seed")[0], []).append(run.summary["test_accuracy"])
    found = {
        "command": shlex.join(["python", "-m", "benchmarks.few_labels", *sys.argv[1:]]),
        "versions": runs[0].summary["versions"],
        "seeds": list(seeds),
        **facts(accuracy),
    }
    text = json.dumps(found, indent=1)
    print(text)
    if args.out:
        write_atomic(args.out, text + "\n")


if __name__ == "__main__":
    main()
