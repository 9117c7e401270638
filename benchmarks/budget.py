"""Where the time of a training step goes, before and after: the published BSS step, and AMKD's of this library.

    python -m benchmarks.budget --root DATA --teacher resnet26_cifar10.safetensors

CIFAR-10, ResNet-26 -> ResNet-8, batch 256, at most 64 attacked. Each part is given as a share of the published step, so
that all bars of ``docs/images/budget.svg`` have one unit; median over rounds in one process.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amkd_viz.models import load_teacher
from amkd_viz.runs import prepare
from amkd_viz.training import Training
from amkd_viz.training.device import kept_memory

from .published import published_bss, published_loss
from .step import trainings
from .students import heo, write_result
from .timing import host

PARTS = (
    "teacher, clean batch",
    "student, clean batch",
    "attack",
    "student, boundary samples",
    "losses",
    "backward",
    "update",
)


def ours(training: Training, batch: tuple[Tensor, Tensor, Tensor], clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of each part of one step, in the order in which ``Training.step`` computes them."""
    x, y, index = batch
    training.student.train()
    training.seeding.seed()
    step = training.new_step(x.contiguous(memory_format=training.layout), y, index)
    at = [clock()]
    with torch.autocast("cpu", training.autocast, enabled=training.autocast is not None):
        step.reads = training.objective.reads(step.progress)
        step.outputs("teacher")
        at.append(clock())
        step.outputs("student")
        at.append(clock())
        step.batch("boundary")
        at.append(clock())
        step.outputs("student", "boundary")
        at.append(clock())
        loss = training.objective(step)
    at.append(clock())
    training.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    at.append(clock())
    training.optimiser.step()
    at.append(clock())
    return {part: b - a for part, a, b in zip(PARTS, at, at[1:], strict=False)}


def measure(root: str, teacher: str, rounds: int, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    made = trainings(heo(root, teacher, device="cpu"), 40)["amkd"]
    half = prepare(made.recipe.replace(precision="bf16"))
    half.student.load_state_dict(made.student.state_dict())
    batch = x, y, _ = next(iter(made.loader.epoch(1)))
    old_teacher = load_teacher(teacher)
    old_student = copy.deepcopy(made.student).to(memory_format=torch.contiguous_format).train()
    optimiser = torch.optim.SGD(old_student.parameters(), 1e-6, 0.9, weight_decay=1e-4)
    draws = torch.rand(len(x))
    chosen = made.step(*batch).batch("boundary")
    assert chosen.samples is not None
    base, target = old_teacher.normalise(x[chosen.rows]), chosen.samples.target

    def published() -> dict[str, float]:
        begun = clock()
        optimiser.zero_grad()
        published_loss(old_teacher, old_student, x, y, draws, 1 / 80).backward()
        optimiser.step()
        between = clock()
        published_bss(old_teacher, base, target)
        attack = clock() - between
        return {"attack": attack, "all else": max(0.0, between - begun - attack)}

    runs = {
        "published, float32": published,
        "amkd, float32": lambda: ours(made, batch, clock),
        "amkd, bfloat16": lambda: ours(half, batch, clock),
    }
    kept: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    with kept_memory():  # as in the loop; the published step profits too
        for number in range(rounds + 1):
            for name, run in runs.items():
                row = run()
                if number:
                    kept[name].append(row)
    whole = statistics.median(sum(row.values()) for row in kept["published, float32"])
    shares = {
        name: {part: round(statistics.median(row[part] for row in rows) / whole, 4) for part in rows[0]}
        for name, rows in kept.items()
    }
    return {"share of the published step": shares, "attacked": len(base), "n": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/budget.json"))
    args = parser.parse_args()
    begun = time.time()
    found = measure(args.root, args.teacher, args.rounds, args.threads)
    write_result(args.out, begun, what=__doc__, host=host(args.threads), **found)
    for name, parts in found["share of the published step"].items():
        print(f"{name}: {sum(parts.values()):.2f} of the published step;", parts)


if __name__ == "__main__":
    main()
