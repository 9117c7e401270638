"""Two things timed in turn in one process: ratios, never lone absolutes.

Other programs on the same cores do not slow everything alike: what waits for its second thread is hurt most. So a
round in which they took more than ``QUIET`` of the cores is done again, and the result says what they took.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["host", "quartiles", "ratio", "rounds", "seconds"]

QUIET = 0.15  # share of all cores that other programs may take in a round
PATIENCE = 4  # at most so many times the rounds that are wanted

Run = Callable[[], object]


def seconds(run: Run) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def rounds(runs: Mapping[str, Run], count: int = 9) -> dict[str, list[float]]:
    """Seconds of each run in ``count`` rounds after one to warm up; "others" is what other programs took.

    Where too few rounds are quiet, the quietest are kept.
    """
    kept: list[dict[str, float]] = []
    for number in range(PATIENCE * count + 1):
        before = _busy()
        row = {name: seconds(run) for name, run in runs.items()}
        row["others"] = max(0.0, (_busy() - before) / (sum(row.values()) * (os.cpu_count() or 1)))
        if number:
            kept.append(row)
        if sum(row["others"] <= QUIET for row in kept) == count:
            break
    kept = sorted(kept, key=lambda row: row["others"])[:count]
    return {name: [row[name] for row in kept] for name in [*runs, "others"]}


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """Of the times of two things in the same rounds: slow / fast."""
    return quartiles([a / b for a, b in zip(slow, fast, strict=True)])


def quartiles(values: list[float]) -> dict[str, float]:
    """Median, lowest, highest and n."""
    found = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {**{name: float(f"{value:.3g}") for name, value in found.items()}, "n": len(values)}


def host() -> dict[str, Any]:
    """The processor, by its own name, and how much of it this process may use."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    flags = next((line for line in told.splitlines() if line.startswith("flags")), "").split()
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "cpu": names[0] if names else "unknown",
        "cores": os.cpu_count(),
        "instructions": [flag for flag in wanted if flag in flags],
    }


def _busy() -> float:
    """Core-seconds that other programs have taken since the machine started; 0 where nobody counts them."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system = map(int, stat.read_text().split()[1:4])
    own = os.times()
    return (user + nice + system) / os.sysconf("SC_CLK_TCK") - own.user - own.system
