"""How much memory is free, asked before a number from a user or a file decides how much is taken."""

from __future__ import annotations

import os
from pathlib import Path

from amkd_viz.core.errors import InputError

__all__ = ["check_memory", "free_memory"]


def free_memory() -> int:
    """Return the bytes that this process can still take: of the machine, and of its control group on Linux."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):  # not Linux
        try:
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (AttributeError, OSError, ValueError):  # Windows
            found.append(2**34)
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        found.append(max(0, limit - used))
    except (OSError, ValueError):  # no control group, or no limit
        pass
    return min(found)


def check_memory(needed: float, what: str, advice: str) -> None:
    """Check that ``needed`` bytes are free.

    Raises:
        InputError: they are not; names ``what`` needs them, and gives the ``advice``.
    """
    free = free_memory()
    if needed > free:
        raise InputError(f"{what} needs {needed / 1e9:,.3g} GB, {free / 1e9:,.3g} GB are free; {advice}.")
