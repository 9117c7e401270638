"""``make bench``: every measurement of speed and memory that fits in minutes, with data where they are.

    python -m benchmarks [--root DATA --teacher resnet26_cifar10.safetensors] [--out benchmarks/results]

Without data: start-up, scaling, and the attack on random images and weights, none of it kept unless ``--out`` is given.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ALWAYS = ("startup", "scaling")
WITH_DATA = ("attack", "step", "budget", "loading", "memory", "map_scaling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", help="safetensors file of the ResNet-26")
    parser.add_argument("--out", type=Path, help="folder of the results; default: benchmarks/results with data")
    args = parser.parse_args()
    whole = bool(args.root and args.teacher)
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or (Path("benchmarks/results") if whole else Path(scratch))
        for name in [*ALWAYS, *WITH_DATA] if whole else [*ALWAYS, "attack"]:
            data = ["--root", args.root, "--teacher", args.teacher] if whole and name in WITH_DATA else []
            print(f"--- {name}", flush=True)
            words = data[:2] if name == "loading" else data
            subprocess.run(
                [sys.executable, "-m", f"benchmarks.{name}", *words, "--out", out / f"{name}.json"], check=True
            )
    names = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py") if "def main" in p.read_text())
    print(f"Each alone, and others: python -m benchmarks.NAME --help, NAME one of {', '.join(names)}.")


if __name__ == "__main__":
    main()
