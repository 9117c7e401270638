"""Listing a thousand run folders of 100 epochs each: the first look, and one when nothing has changed.

python -m benchmarks.fleet
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from amkd_viz.runs import Run
from amkd_viz.runs.fleet import Fleet
from amkd_viz.training import Recipe
from amkd_viz.views.fleet import fleet_lines

from .students import write_result
from .timing import host

LINE = {"step": 11, "images_per_s": 900.0, "terms": {"ce": 1.0, "kd": 2.0}, "val_accuracy": 0.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/fleet.json"))
    args = parser.parse_args()
    begun = time.time()
    with tempfile.TemporaryDirectory() as folder:
        first = Run.create(Path(folder) / "run0000", Recipe(epochs=args.epochs))
        epochs = range(1, args.epochs + 1)
        log = "".join(json.dumps({"kind": "epoch", "epoch": epoch, **LINE}) + "\n" for epoch in epochs)
        for number in range(args.runs):
            path = Path(folder) / f"run{number:04d}"
            path.mkdir(exist_ok=True)
            (path / "config.json").write_bytes((first.path / "config.json").read_bytes())
            (path / "metrics.jsonl").write_text(log)
        fleet, took = Fleet(folder), {}
        for name in ("first look", "unchanged"):
            wall, own = time.perf_counter(), time.process_time()
            assert len(fleet_lines(fleet.look())) == args.runs
            took[name] = {"seconds": round(time.perf_counter() - wall, 3), "cpu": round(time.process_time() - own, 3)}
    print(took)
    write_result(args.out, begun, runs=args.runs, epochs=args.epochs, **took, host=host(1))


if __name__ == "__main__":
    main()
