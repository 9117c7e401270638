"""How long a Job takes to obey ``stop`` while a CIFAR ResNet-8 learns from a ResNet-26 by AMKD.

Each of the stops falls at a random moment of a step, attack included, and ends with a checkpoint. ``seconds`` is from
the call of stop() until the thread has ended, less the time of writing that checkpoint; ``total`` has it in.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch

from amkd_viz.runs import Job, Run, prepare
from amkd_viz.training import Event, Recipe, Stepped

from .students import write_result


def quantiles(values: list[float]) -> dict[str, float]:
    """The 95th percentile, interpolated between the two nearest values, beside what surrounds it."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = {"p95": cuts[94], "median": statistics.median(values), "high": max(values)}
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--stops", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/stop_latency.json"))
    args = parser.parse_args()
    begun = time.time()
    torch.set_num_threads(args.threads)
    source = sys.modules[prepare.__module__]
    source.load = cache(source.load)  # type: ignore[attr-defined]  # the stop is measured, not how data are read again for each start
    save, writes = Run.save_checkpoint, [0.0]

    def timed(run: Run, state: dict[str, Any]) -> None:
        since = time.perf_counter()
        save(run, state)
        writes[0] = time.perf_counter() - since

    Run.save_checkpoint = timed  # type: ignore[method-assign]
    chance = random.Random(0)
    seconds, totals, steps = [], [], []
    recipe = Recipe(
        dataset="cifar10",
        root=args.root,
        teacher=args.teacher,
        student="resnet8",
        method="amkd",
        batch_size=args.batch_size,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as folder:
        what: Recipe | Run = recipe
        for number in range(args.stops):
            stepped, times = threading.Event(), []

            def listen(event: Event, stepped: threading.Event = stepped, times: list[float] = times) -> None:
                if isinstance(event, Stepped):
                    times.append(time.perf_counter())
                    stepped.set()

            job = Job(what, Path(folder, "run"), listen=listen)
            job.start()
            while not stepped.wait(0.1):
                if job.state == "failed":
                    raise SystemExit(job.error)
            time.sleep(chance.uniform(0, 2))
            writes[0] = 0.0
            since = time.perf_counter()
            job.stop()
            if job.wait() != "idle" or job.run is None:
                raise SystemExit(f"The job ended as {job.state}: {job.error}")
            total = time.perf_counter() - since
            totals.append(total)
            seconds.append(total - writes[0])
            steps += [b - a for a, b in itertools.pairwise(times)]
            what = job.run
            print(f"{number + 1:3d}/{args.stops}  {seconds[-1]:.3f} s, with checkpoint {total:.3f} s", flush=True)
    facts = {
        "what": "seconds from stop() to the end of the thread, without and with the checkpoint, in training",
        "recipe": {name: v for name, v in recipe.to_json().items() if name not in ("root", "teacher")},
        "teacher": "resnet26",
        "threads": args.threads,
        "stops": args.stops,
        "load_average": os.getloadavg()[0],  # above ``threads``: others were at work, and the seconds are too many
        "seconds": quantiles(seconds),
        "total": quantiles(totals),
        "step_seconds_median": round(statistics.median(steps), 3) if steps else None,
        "values": [round(value, 4) for value in seconds],
    }
    write_result(args.out, begun, **facts)
    print(f"p95 {facts['seconds']['p95']} s, with the checkpoint {facts['total']['p95']} s")


if __name__ == "__main__":
    main()
