"""Peak memory of a training step of each method, each in a process of its own, against plain KD.

    python -m benchmarks.memory --root DATA --teacher resnet26_cifar10.safetensors

CIFAR-10, ResNet-26 -> ResNet-8, batch 256, at most 64 attacked, on a CPU: the resident set, all of it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

from .students import heo, write_result
from .timing import host

METHODS = ("kd", "amkd")


def peak(job: tuple[str, str, str, str, int]) -> dict[str, Any]:
    """MB before the first step and at the peak, and how many samples the last step attacked."""
    import torch

    from amkd_viz.runs import prepare
    from amkd_viz.training.device import kept_memory

    method, precision, root, teacher, steps = job
    torch.set_num_threads(1)
    own = {"method": method, "precision": precision, "device": "cpu", "schedule": "constant"}
    training = prepare(heo(root, teacher, **own))
    before, attacked = peak_mb(), 0
    with kept_memory():  # as in the loop
        for batch, _ in zip(training.loader.epoch(0), range(steps), strict=False):
            step = training.step(*batch)
            boundary = step.made("boundary")
            attacked = 0 if boundary is None else len(boundary.x)
    return {"before": before, "peak": peak_mb(), "attacked": attacked}


def peak_mb() -> float:
    """Return the largest resident set so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/memory.json"))
    args = parser.parse_args()
    from amkd_viz.training.device import bf16_hardware

    begun = time.time()
    found: dict[str, dict[str, Any]] = {}
    for precision in ("fp32", *(["bf16"] if bf16_hardware("cpu") else [])):
        for method in METHODS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                one = pool.apply(peak, ((method, precision, args.root, args.teacher, args.steps),))
            found[f"{method} {precision}"] = one
            one["over kd"] = round(one["peak"] / found[f"kd {precision}"]["peak"], 3)
            print(method, precision, one, flush=True)
    write_result(args.out, begun, what=__doc__, host=host(1), unit="MB", results=found)


if __name__ == "__main__":
    main()
