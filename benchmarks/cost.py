"""What an AMKD step costs per image by pair of networks: multiply-adds counted, not timed, and hours at a given rate.

    python -m benchmarks.cost [--tflops 20]

Counts are PyTorch's own, of one real step: forward and backward of the student, the teacher on clean images, and the
attack of 64 boundary samples in a batch of 256, once at its worst (no sample crosses in 10 steps) and once as with a
trained teacher (2 steps). The hours follow from one assumption, ``--tflops``: the rate that a GPU sustains over a whole
training. No GPU has been measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from amkd_viz.boundary import BSS
from amkd_viz.models import build, inference_copy
from amkd_viz.objectives import Batch, Boundary, Step, methods

from .students import write_result

BATCH, ATTACKED, SAMPLE = 256, 64, 8  # a step is counted on SAMPLE images, of which a quarter is attacked
GOALS = {  # images, epochs, pair, classes, side
    "CIFAR-100": (50_000, 240, ("resnet56", "resnet20"), 100, 32),
    "ImageNet-32": (1_281_167, 40, ("wrn40-2", "wrn16-2"), 1000, 32),
    "ImageNet-64": (1_281_167, 40, ("wrn40-2", "wrn16-2"), 1000, 64),
    "ImageNet-1k": (1_281_167, 100, ("torchvision:resnet50", "torchvision:resnet18"), 1000, 224),
}


class Counter(TorchDispatchMode):
    """Adds up floating-point operations; FlopCounterMode does not take the gradient of an attack."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def counted(work: Callable[[], object]) -> int:
    with Counter() as counter:
        work()
    return counter.total


def per_image(pair: tuple[str, str], classes: int, side: int, steps: int, method: str) -> float:
    """Return multiply-adds of a step per clean image."""
    made = [build(name, num_classes=classes, shape=(3, side, side)) for name in pair]
    for net in made:  # all samples are right and none crosses, so each attack takes all its steps
        for p in net.head.parameters():
            p.data.zero_()
            if p.ndim == 1:
                p.data[0] = 1
    nets = {"teacher": inference_copy(made[0].eval()), "student": made[1].train()}
    clean = Batch(torch.rand(SAMPLE, 3, side, side), torch.zeros(SAMPLE, dtype=torch.long), torch.arange(SAMPLE))
    limit = SAMPLE * ATTACKED // BATCH
    step = Step(nets, clean, 0.1, torch.Generator(), {"boundary": Boundary(BSS(1e-3, steps), limit)})
    return counted(lambda: methods[method]()(step).backward()) / 2 / SAMPLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=20.0, help="sustained by a GPU, in 10^12 operations per second")
    parser.add_argument("--dollars", type=float, default=2.0, help="price of a GPU-hour")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cost.json"))
    args = parser.parse_args()
    begun, rows = time.time(), dict[str, dict[str, Any]]()
    for name, (images, epochs, pair, classes, side) in GOALS.items():
        costs = {
            "kd": per_image(pair, classes, side, 1, "kd"),
            "amkd, 2 steps": per_image(pair, classes, side, 2, "amkd"),
            "amkd, 10 steps": per_image(pair, classes, side, 10, "amkd"),
        }
        hours = {key: 2 * cost * images * epochs / (args.tflops * 1e12) / 3600 for key, cost in costs.items()}
        rows[name] = {
            "pair": " -> ".join(pair),
            "images": images,
            "epochs": epochs,
            "side": side,
            "bytes_per_image": 3 * side * side,
            "gigabytes": round(images * 3 * side * side / 1e9, 1),
            "million_multiply_adds_per_image": {key: round(cost / 1e6, 1) for key, cost in costs.items()},
            "gpu_hours": {key: float(f"{value:.3g}") for key, value in hours.items()},
            "dollars": {key: round(value * args.dollars, 1) for key, value in hours.items()},
        }
        print(name, rows[name], flush=True)
    assumed = {"tflops": args.tflops, "dollars_per_gpu_hour": args.dollars}
    write_result(args.out, begun, assumed=assumed, rows=rows)


if __name__ == "__main__":
    main()
