"""How many times faster the attack is than the published code, each timed in turn in one process: ratios, not seconds.

    python -m benchmarks.attack --root DATA --teacher resnet26_cifar10.safetensors

64 CIFAR-10 test images, ResNet-26, step 0.3, at most 10 steps. "plain" attacks the published code's net with the
library's attack (live samples and input gradients only), "batch norm folded" attacks ``inference_copy`` of that net.
bfloat16 is timed where the processor has instructions for it. Without --root: random images and random weights, where
samples cross at other steps, so only the trained teacher's figures are worth quoting.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from amkd_viz.boundary import bss, sample_targets
from amkd_viz.data import load
from amkd_viz.models import Classifier, build, inference_copy, load_teacher
from amkd_viz.training.device import bf16_hardware

from .ceiling import attack_limit
from .published import published_bss, published_targets
from .students import write_result
from .timing import host, quartiles, ratio, rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", help="safetensors file of the ResNet-26")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attack.json"))
    args = parser.parse_args()
    begun = time.time()

    teacher = load_teacher(args.teacher) if args.teacher else build("resnet26").eval()
    x = load("cifar10", root=args.root).test.floats(slice(0, 64)) if args.root else torch.rand(64, 3, 32, 32)
    logits = teacher(x).detach()
    draws = torch.rand(len(x))
    folded = inference_copy(teacher).to(memory_format=torch.channels_last)
    plain = copy.deepcopy(teacher).to(memory_format=torch.channels_last)
    teacher.requires_grad_(True)  # the published code computes weight gradients too

    def published() -> None:
        published_bss(teacher, teacher.normalise(x), published_targets(logits, draws))

    def ours(model: Classifier, dtype: torch.dtype | None = None) -> Callable[[], object]:
        def attack() -> None:
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                bss(model, x, sample_targets(logits), clamp=2.5)

        return attack

    runs = {
        "published": published,
        "plain, float32": ours(teacher),
        "plain, channels last, float32": ours(plain),
        "batch norm folded, float32": ours(folded),
    }
    if bf16_hardware("cpu"):
        runs["batch norm folded, bfloat16"] = ours(folded, torch.bfloat16)
    took = rounds(runs, args.rounds, args.threads)
    found = {name: ratio(took["published"], took[name]) for name in runs if name != "published"}
    what = "times faster than the published attack; 64 images; median of rounds timed in turn"
    needed = bss(folded, x, published_targets(logits, draws), clamp=2.5)
    write_result(
        args.out,
        begun,
        what=what,
        host=host(args.threads),
        teacher=Path(args.teacher).name if args.teacher else "random weights",
        ratios=found,
        others=quartiles(took["others"]),
        limit=attack_limit(needed, statistics.median(took["published"]), args.threads),
    )
    for name, row in found.items():
        print(f"{row['median']:6.2f} x  ({row['low']} to {row['high']}, n = {row['n']})  {name}")


if __name__ == "__main__":
    main()
