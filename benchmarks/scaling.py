"""How the cost of an AMKD step grows with batch, attack steps, classes and image side.

    python -m benchmarks.scaling

ResNet-26 -> ResNet-8 with fresh weights, batch 256, 64 attacked, 10 attack steps, 10 classes, 32 x 32: one of these
changed at a time, as a ratio to that. Nothing crosses a boundary here, so each attack takes all its steps: the worst
case (with a trained teacher most samples cross at the first or second step).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from amkd_viz.boundary import BSS
from amkd_viz.models import Classifier, build, inference_copy
from amkd_viz.objectives import Batch, Boundary, Step, methods

from .students import write_result
from .timing import host, quartiles, ratio, rounds

USUAL = {"batch": 256, "steps": 10, "classes": 10, "side": 32}
AROUND = {"batch": (64, 128, 512), "steps": (1, 2, 5, 20), "classes": (100, 200), "side": (8, 64)}


def net(name: str, classes: int, side: int) -> Classifier:
    """One that gives everything to class 0, so that all samples are right and none crosses."""
    made = build(name, num_classes=classes, shape=(3, side, side))
    made.head.bias.data[0] += 100
    return made


def one_step(batch: int, steps: int, classes: int, side: int) -> Callable[[], object]:
    """Forward and backward of a step, ready to run."""
    teacher = inference_copy(net("resnet26", classes, side)).to(memory_format=torch.channels_last)
    student = net("resnet8", classes, side).to(memory_format=torch.channels_last).train()
    x = torch.rand(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    clean = Batch(x, torch.zeros(batch, dtype=torch.long), torch.arange(batch))
    nets, sources = {"teacher": teacher, "student": student}, {"boundary": Boundary(BSS(1e-3, steps))}
    objective = methods["amkd"]()

    def run() -> None:
        objective(Step(nets, clean, 0.1, torch.Generator(), sources)).backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scaling.json"))
    args = parser.parse_args()
    begun = time.time()
    found, others = {}, []
    for name, values in AROUND.items():
        runs = {"usual": one_step(**USUAL)}
        runs |= {str(value): one_step(**{**USUAL, name: value}) for value in values}
        took = rounds(runs, args.rounds, args.threads)
        found[name] = {str(USUAL[name]): 1.0} | {str(v): ratio(took[str(v)], took["usual"]) for v in values}
        others += took["others"]
        print(name, {v: found[name][str(v)]["median"] for v in values}, flush=True)  # type: ignore[index]
    write_result(
        args.out, begun, what=__doc__, host=host(args.threads), usual=USUAL, results=found, others=quartiles(others)
    )


if __name__ == "__main__":
    main()
