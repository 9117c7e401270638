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

from amkd_viz.core.files import write_atomic
from amkd_viz.progress import Progress
from amkd_viz.runs import cells, train_cells
from amkd_viz.runs.stats import paired
from amkd_viz.training import DIGITS

METHODS = ("ce", "kd", "bss", "amkd")
TEACHERS = {f"{term}.scale": 8 for term in ("kd", "boundary_kd", "boundary_triplet")}


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
        "test_accuracy": accuracy,
        "mean": {name: statistics.fmean(values) for name, values in accuracy.items()},
        "points": {},
    }
    for name, values in accuracy.items():
        for other in list(accuracy)[: list(accuracy).index(name)]:
            if difference := paired(values, accuracy[other]):
                found["points"][f"{name} - {other}"] = [difference.points, *difference.interval]
    text = json.dumps(found, indent=1)
    print(text)
    if args.out:
        write_atomic(args.out, text + "\n")


if __name__ == "__main__":
    main()
