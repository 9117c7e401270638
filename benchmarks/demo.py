"""The numbers of a demo, which the README quotes: accuracy by method and weights, and differences paired by seed.

make demo && python -m benchmarks.demo --runs demo-out

Another processor rounds otherwise, so its students differ. One that has AVX-512 shows how much, in the same way:

export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
make demo && python -m benchmarks.demo --runs demo-out --out benchmarks/results/demo_avx2.json
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch

from amkd_viz.core.files import write_atomic
from amkd_viz.demo import FACTOR, METHODS
from amkd_viz.objectives import READING_OF_AMKD
from amkd_viz.runs import Run

from .few_labels import facts
from .timing import host

LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")  # of the instructions that are used
HEAVY = f"digits-weights-x{FACTOR}"


def accuracies(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Return data -> method -> test accuracies, a share per seed; with heavier weights as ``kd x8``."""
    found: dict[str, dict[str, list[float]]] = {}
    for part, data, added in (("digits", "digits", ""), (HEAVY, "digits", f" x{FACTOR}"), ("spirals", "spirals", "")):
        for method in METHODS:
            runs = [Run.open(path) for path in sorted((folder / part).glob(f"{method}-seed*"))]
            if runs:
                runs.sort(key=lambda run: run.recipe.seed)
                own = [run.summary["test_accuracy"] for run in runs]
                found.setdefault(data, {})[method + added] = own
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="the folder that the demo has written")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/demo.json"))
    args = parser.parse_args()
    results = {data: facts(own) for data, own in accuracies(args.runs).items()}
    about = {
        "what": f"Test accuracy, a share, by method and seed. {READING_OF_AMKD}",
        "command": " ".join(
            [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
            + ["make demo && python -m benchmarks.demo --runs demo-out"]
        ),
        "used": torch.backends.cpu.get_cpu_capability(),
        "versions": Run.open(next(args.runs.glob("digits/*"))).summary["versions"],
        "host": host(1),
    }
    write_atomic(args.out, json.dumps({**about, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
