"""How many more students of spirals train in the same time as one batch of nets: one after the other against a stack.

    python -m benchmarks.stacked [--nets 16] [--out benchmarks/results/stacked.json]

The demo's recipe, one thread, processor time, in turn in one process.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import deque
from pathlib import Path
from typing import Any

from amkd_viz.core.files import write_atomic
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.run import versions
from amkd_viz.training import SPIRALS, Training, events
from amkd_viz.training.stacked import train_stacked
from benchmarks.timing import host, ratio, rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a JSON file for the results")
    args = parser.parse_args()
    base = SPIRALS.replace(evaluate_every=SPIRALS.epochs, magsim_samples=0, device="cpu")
    like = prepare(base)
    found: dict[str, Any] = {}

    def fresh(method: str, count: int) -> list[Training]:
        return [prepare(base.replace(method=method, seed=seed), like) for seed in range(count)]

    for method in ("kd", "bss", "amkd"):
        times = rounds(
            {
                "alone": lambda method=method: deque(events(fresh(method, 1)[0]), maxlen=0),  # type: ignore[misc]
                "stacked": lambda method=method: train_stacked(fresh(method, args.nets)),  # type: ignore[misc]
            },
            args.rounds,
        )
        each = [seconds / args.nets for seconds in times["stacked"]]
        found[method] = {
            "runs_per_minute_alone": round(60 / min(times["alone"]), 1),
            "runs_per_minute_stacked": round(60 / min(each), 1),
            "ratio": ratio(times["alone"], each),
        }
    text = json.dumps(
        {
            "what": __doc__,
            "command": shlex.join(["python", "-m", "benchmarks.stacked", *sys.argv[1:]]),
            "host": host(1),
            "versions": versions("cpu"),
            "seeds": [0, args.nets - 1],
            "nets": args.nets,
            "methods": found,
        },
        indent=1,
    )
    print(text)
    if args.out:
        write_atomic(args.out, text + "\n")


if __name__ == "__main__":
    main()
