"""How much faster the attack is than the published code, each timed in turn in one process: ratios, not seconds.

    python -m benchmarks.attack --root DATA --teacher resnet26_cifar10.safetensors

64 CIFAR-10 test images, ResNet-26, step 0.3, at most 10 steps. Without --root: random images and random weights, where
samples cross at other steps, so only the trained teacher's figures are worth quoting.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from amkd_viz.boundary import bss, sample_targets
from amkd_viz.data import load
from amkd_viz.models import build, inference_copy, load_teacher

from .published import published_bss, published_targets
from .students import write_result


def ratios(
    slow: Callable[[], object], fast: dict[str, Callable[[], object]], rounds: int
) -> dict[str, dict[str, float]]:
    """Median, lowest and highest of time(slow) / time(fast) over ``rounds``, all timed once per round."""
    found: dict[str, list[float]] = {name: [] for name in fast}
    for number in range(rounds + 1):
        base = seconds(slow)
        for name, run in fast.items():
            took = seconds(run)
            if number:  # the first round warms up
                found[name].append(base / took)
    return {
        name: {"median": round(statistics.median(v), 2), "low": round(min(v), 2), "high": round(max(v), 2), "n": len(v)}
        for name, v in found.items()
    }


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", help="safetensors file of the ResNet-26")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attack.json"))
    args = parser.parse_args()
    begun = time.time()
    torch.set_num_threads(args.threads)

    teacher = load_teacher(args.teacher) if args.teacher else build("resnet26").eval()
    x = load("cifar10", root=args.root).test.floats(slice(0, 64)) if args.root else torch.rand(64, 3, 32, 32)
    logits = teacher(x).detach()
    draws = torch.rand(len(x))
    frozen = inference_copy(teacher).to(memory_format=torch.channels_last)
    teacher.requires_grad_(True)  # the published code computes weight gradients too

    def published() -> None:
        published_bss(teacher, teacher.normalise(x), published_targets(logits, draws))

    def ours(model: torch.nn.Module = frozen, dtype: torch.dtype | None = None) -> None:
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            bss(model, x, sample_targets(logits), clamp=2.5)

    found = ratios(
        published,
        {
            "same net, live samples and input gradients only": lambda: ours(teacher),
            "also folded batch norms and channels_last (float32)": ours,
            "also bfloat16": lambda: ours(dtype=torch.bfloat16),
        },
        args.rounds,
    )
    what = "times faster than the published attack; 64 images; median of rounds timed in turn"
    write_result(
        args.out, begun, what=what, teacher=args.teacher or "random weights", threads=args.threads, ratios=found
    )
    for name, row in found.items():
        print(f"{row['median']:6.2f} x  ({row['low']} to {row['high']}, n = {row['n']})  {name}")


if __name__ == "__main__":
    main()
