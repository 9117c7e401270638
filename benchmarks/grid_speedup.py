"""The digits grid in two processes against one: pairs of grids in turn, each with teachers that exist already.

    python -m benchmarks.grid_speedup

ce, kd, bss and amkd with two seeds each. The time of a grid includes the start of its processes. "others" is the share
of all cores that other programs took meanwhile: on a busy machine the second process has no core of its own, so
``quiet`` says in how many pairs it was below 0.15. The profile says where the time of one cell goes: the start of a
process and loading data and teacher happen once per process, training once per cell. ``ceiling`` is what two cores give
at most: the same training, already prepared, in one process against two at once, which share memory and caches, and on
many virtual machines one core's arithmetic.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from amkd_viz.runs import compare, prepare
from amkd_viz.training import DIGITS, events

from .students import write_result
from .timing import QUIET, _busy, host

METHODS = ("ce", "kd", "bss", "amkd")


def others() -> float:
    """Return the core-seconds of programs that are neither this one nor its processes that have ended."""
    own = os.times()
    return _busy() - own.children_user - own.children_system


def grid(jobs: int, seeds: int, epochs: int) -> float:
    """Return the seconds that a grid takes."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        compare(DIGITS.replace(epochs=epochs, device="cpu"), METHODS, seeds, Path(folder) / "out", jobs=jobs)
        return time.perf_counter() - begun


def profile(epochs: int) -> dict[str, float]:
    """Return seconds of processor time of the parts of one cell."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import amkd_viz.runs.engines"], check=True)
    started, own = time.perf_counter(), time.process_time()
    training = prepare(DIGITS.replace(epochs=epochs, device="cpu"))
    prepared = time.process_time()
    for _ in events(training):
        pass
    found = {"start": started - begun, "prepare": prepared - own, "train": time.process_time() - prepared}
    return {name: round(seconds, 3) for name, seconds in found.items()}


TRAINING = """
import time
from amkd_viz.runs import prepare
from amkd_viz.training import DIGITS, events
training = prepare(DIGITS.replace(method="bss", epochs={epochs}, device="cpu"))
print(flush=True), input()
begun = time.perf_counter()
for _ in events(training):
    pass
print(time.perf_counter() - begun)
"""


def at_once(count: int, epochs: int) -> float:
    """Return the mean seconds of a training while ``count`` processes train, one each."""
    own = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", TRAINING.format(epochs=epochs)]
    workers = [subprocess.Popen(command, text=True, **own) for _ in range(count)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    return statistics.fmean(float(worker.communicate()[0]) for worker in workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=DIGITS.epochs)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/grid_speedup.json"))
    args = parser.parse_args()
    begun, pairs = time.time(), list[dict[str, Any]]()
    prepare(DIGITS.replace(device="cpu"))  # the teacher
    parts = profile(args.epochs)
    for _ in range(args.pairs):
        before, start = others(), time.perf_counter()
        one, two = (grid(jobs, args.seeds, args.epochs) for jobs in (1, 2))
        ceiling = 2 * at_once(1, args.epochs) / at_once(2, args.epochs)
        share = max(0.0, (others() - before) / ((time.perf_counter() - start) * (os.cpu_count() or 1)))
        found = {"one": one, "two": two, "ratio": one / two, "ceiling": ceiling, "others": share}
        pairs.append({name: round(value, 3) for name, value in found.items()})
        print(pairs[-1], flush=True)
    quiet = [pair["ratio"] for pair in pairs if pair["others"] <= QUIET]
    ratios = quiet if len(quiet) == len(pairs) else [pair["ratio"] for pair in pairs]
    facts = {"pairs": pairs, "quiet": len(quiet), "median": round(statistics.median(ratios), 3), "profile": parts}
    facts["ceiling"] = statistics.median(pair["ceiling"] for pair in pairs)
    write_result(args.out, begun, runs=len(METHODS) * args.seeds, epochs=args.epochs, **facts, host=host(1))


if __name__ == "__main__":
    main()
