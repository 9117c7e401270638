"""A whole training step against the published one, and AMKD's against BSS's and plain KD's.

    python -m benchmarks.step --root DATA --teacher resnet26_cifar10.safetensors

CIFAR-10, ResNet-26 -> ResNet-8, batch 256, at most 64 attacked, first epoch of 80. The student has first learned for
some steps, so that there are 64 samples which both nets get right.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import torch

from amkd_viz.models import load_teacher
from amkd_viz.runs import prepare
from amkd_viz.training import Recipe, Training
from amkd_viz.training.device import bf16_hardware, kept_memory

from .published import published_loss
from .students import heo, write_result
from .timing import host, quartiles, ratio, rounds

METHODS = ("kd", "bss", "amkd")


def trainings(recipe: Recipe, warm_up: int) -> dict[str, Training]:
    """Trainings by method that stand at the same student, whose weights will hardly move any more."""
    made: dict[str, Training] = {}
    for method in METHODS:
        slow = recipe.replace(method=method, schedule="constant", learning_rate=1e-6)
        made[method] = prepare(slow, like=next(iter(made.values()), None))
    first = made["kd"]
    first.change({"learning_rate": 0.1})
    for batch, _ in zip(first.loader.epoch(0), range(warm_up), strict=False):
        first.step(*batch)
    first.change({"learning_rate": 1e-6})
    for training in made.values():
        training.student.load_state_dict(first.student.state_dict())
    return made


def measure(root: str, teacher: str, warm_up: int, count: int, threads: int) -> dict[str, Any]:
    made = trainings(heo(root, teacher, device="cpu"), warm_up)
    half, precisions = {}, ["fp32", *(["bf16"] if bf16_hardware("cpu") else [])]
    for method, training in made.items() if "bf16" in precisions else ():
        half[method] = prepare(training.recipe.replace(precision="bf16"))
        half[method].student.load_state_dict(training.student.state_dict())
    batch = x, y, _ = next(iter(made["kd"].loader.epoch(1)))
    old_teacher = load_teacher(teacher)
    old_student = copy.deepcopy(made["kd"].student).to(memory_format=torch.contiguous_format).train()
    old_optimiser = torch.optim.SGD(old_student.parameters(), 1e-6, 0.9, weight_decay=1e-4)
    draws = torch.rand(len(x))

    def published() -> None:
        old_optimiser.zero_grad()
        published_loss(old_teacher, old_student, x, y, draws, 1 / 80).backward()
        old_optimiser.step()

    ours = {f"{m} fp32": lambda t=t: t.step(*batch) for m, t in made.items()}  # type: ignore[misc]
    ours |= {f"{m} bf16": lambda t=t: t.step(*batch) for m, t in half.items()}  # type: ignore[misc]
    batches = made["kd"].loader.epoch(2)
    with kept_memory():  # as in the loop; the published step profits too
        took = rounds({"published bss": published, **ours, "loading": lambda: next(batches)}, count, threads)
    attacked = len(made["bss"].step(*batch).batch("boundary").x)
    return {
        "attacked": attacked,
        "published bss step over ours": {name: ratio(took["published bss"], took[name]) for name in ours},
        "amkd step over bss step": {p: ratio(took[f"amkd {p}"], took[f"bss {p}"]) for p in precisions},
        "loading and augmenting, share of an amkd step": {
            p: ratio(took["loading"], took[f"amkd {p}"]) for p in precisions
        },
        "others": quartiles(took["others"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--warm-up", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/step.json"))
    args = parser.parse_args()
    begun = time.time()
    torch.set_num_threads(args.threads)
    found = measure(args.root, args.teacher, args.warm_up, args.rounds, args.threads)
    write_result(args.out, begun, what=__doc__, host=host(args.threads), **found)
    for kind, rows in found.items():
        for name, row in rows.items() if kind not in ("attacked", "others") else ():
            print(f"{row['median']:6.3g}  ({row['low']} to {row['high']}, n = {row['n']})  {kind}: {name}")


if __name__ == "__main__":
    main()
