"""How long `import amkd_viz` and `amkd-viz --help` take, each in a fresh interpreter.

    python -m benchmarks.startup

Processor seconds of the process, so that other programs hardly count, and wall seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from .students import write_result
from .timing import host, quartiles

COMMANDS = {
    "python": ["-c", "pass"],
    "import amkd_viz": ["-c", "import amkd_viz"],
    "amkd-viz --help": ["-m", "amkd_viz", "--help"],
}


def measure(words: list[str]) -> tuple[float, float]:
    """Processor and wall seconds of one interpreter."""
    before, begun = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/startup.json"))
    args = parser.parse_args()
    begun = time.time()
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for number in range(args.rounds + 1):
        for name, words in COMMANDS.items():
            one = measure(words)
            if number:  # the first fills the file cache
                took[name].append(one)
    found = {
        name: {"processor seconds": quartiles([p for p, _ in rows]), "wall seconds": quartiles([w for _, w in rows])}
        for name, rows in took.items()
    }
    write_result(args.out, begun, what=__doc__, host=host(1), results=found)
    for name, row in found.items():
        print(f"{row['processor seconds']['median']:.3f} s (wall {row['wall seconds']['median']:.3f} s)  {name}")


if __name__ == "__main__":
    main()
