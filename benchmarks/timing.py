"""Two things timed in turn in one process: ratios, never lone absolutes.

With one thread the clock is the processor time of this process, which other programs on the machine hardly change. With
more it is the wall clock; what waits for its second thread is then hurt most by other programs, so a round in which
they took more than ``QUIET`` of the cores is done again, and the result says what they took.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["host", "quartiles", "ratio", "rounds", "seconds"]

QUIET = 0.15  # share of all cores that other programs may take in a round
PATIENCE = 4  # at most this many times the number of rounds

Run = Callable[[], object]


def seconds(run: Run, clock: Callable[[], float] = time.perf_counter) -> float:
    begun = clock()
    run()
    return clock() - begun


def rounds(runs: Mapping[str, Run], count: int = 9, threads: int = 1) -> dict[str, list[float]]:
    """Seconds of each run in ``count`` rounds after one to warm up; "others" is what other programs took.

    Where too few rounds are quiet, the quietest are kept.
    """
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    kept: list[dict[str, float]] = []
    for number in range(PATIENCE * count + 1):
        before, begun = _busy(), time.perf_counter()
        row = {name: seconds(run, clock) for name, run in runs.items()}
        row["others"] = max(0.0, (_busy() - before) / ((time.perf_counter() - begun) * (os.cpu_count() or 1)))
        if number:
            kept.append(row)
        if sum(threads == 1 or row["others"] <= QUIET for row in kept) == count:
            break
    kept = sorted(kept, key=lambda row: row["others"])[:count]
    return {name: [row[name] for row in kept] for name in [*runs, "others"]}


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """Return the ratio slow / fast of two times measured in the same rounds."""
    return quartiles([a / b for a, b in zip(slow, fast, strict=True)])


def quartiles(values: list[float]) -> dict[str, float]:
    """Median, lowest, highest and n."""
    found = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {**{name: float(f"{value:.3g}") for name, value in found.items()}, "n": len(values)}


def host(threads: int) -> dict[str, Any]:
    """The processor, by its own name, and how it was used and timed."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    flags = next((line for line in told.splitlines() if line.startswith("flags")), "").split()
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "cpu": names[0] if names else "unknown",
        "cores": os.cpu_count(),
        "instructions": [flag for flag in wanted if flag in flags],
        "threads": threads,
        "clock": "processor time" if threads == 1 else "wall",
    }


def _busy() -> float:
    """Return the core-seconds of other programs since the machine started; 0 if the system does not count them."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system = map(int, stat.read_text().split()[1:4])
    own = os.times()
    return (user + nice + system) / os.sysconf("SC_CLK_TCK") - own.user - own.system
