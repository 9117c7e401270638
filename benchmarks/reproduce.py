"""Heo's two rows and ours: ResNet-26 -> ResNet-8 and ResNet-14 on CIFAR-10, 80 epochs, ce, kd, bss, amkd, 5 seeds.

    python -m benchmarks.reproduce --root DATA --teacher resnet26_cifar10.safetensors --minutes 9

Stops by itself when ``--minutes`` are over and goes on where it was when it is called again: every run is a folder with
checkpoints under ``--runs``. torch and numpy suffice. The settings are those of ``students.heo``.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import plain  # noqa: F401  # before the library, which imports safetensors
from .students import heo, summarise, write_result

if TYPE_CHECKING:
    from amkd_viz.training import Recipe

now = time.time
STUDENTS, METHODS = ("resnet8", "resnet14"), ("ce", "kd", "bss", "amkd")
PUBLISHED = {  # test accuracy in %, as quoted by Mirzadeh et al., AAAI 2020
    "resnet8": {"ce": 86.02, "kd": 86.66, "bss": 87.32},
    "resnet14": {"ce": 89.11, "kd": 89.75, "bss": 90.34},
}


class OutOfTime(BaseException):
    """Ends a training at its next pause point."""


def go_on(job: tuple[str, dict[str, Any], float]) -> None:
    """Start a run or continue it, until it is finished or ``now()`` has reached the deadline.

    It stops between two batches, attack steps or evaluation batches, with a checkpoint of the batch it has reached.
    """
    from amkd_viz.core.pauses import pausable
    from amkd_viz.runs import Run, distill, resume
    from amkd_viz.training import Recipe, Started

    folder, values, deadline = job
    begun, trainings = time.perf_counter(), []

    def gate() -> None:
        if now() >= deadline:
            raise OutOfTime

    def listen(event: object) -> None:
        if isinstance(event, Started) and event.training.teacher is not None:
            trainings.append(event.training)

    try:
        gate()
        with pausable(gate):
            if (Path(folder) / "config.json").exists():
                resume(Run.open(folder), listen=listen)
            else:
                distill(Recipe.from_json(values), folder, listen=listen, snapshots=False)
                # of a run in one piece: data and evaluation included
                Path(folder, "whole_seconds.txt").write_text(f"{time.perf_counter() - begun:.2f}")
    except OutOfTime:
        if trainings:
            run = Run.open(folder)
            with run.writing():
                run.save_checkpoint(trainings[-1].state())


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the numbers of a finished run, or None; its folder knows, whatever the time was when it ended."""
    from amkd_viz.runs import Run

    if not (folder / "config.json").exists() or not (run := Run.open(folder)).finished:
        return None
    clock = folder / "whole_seconds.txt"
    whole = float(clock.read_text()) if clock.exists() else None
    return {**run.summary, "seed": run.recipe.seed, "whole_seconds": whole}


def jobs(
    recipe: Recipe, students: Sequence[str], methods: Sequence[str], seeds: int, runs: Path, deadline: float
) -> dict[str, tuple[str, dict[str, Any], float]]:
    """Return jobs for ``go_on`` by label, one seed of everything before the next."""
    found = {}
    for seed, student, method in itertools.product(range(seeds), students, methods):
        own = recipe.replace(student=student, method=method, seed=seed, evaluate_every=recipe.epochs)
        label = f"{student} {method} {seed}"
        found[label] = (str(runs / label.replace(" ", "-")), own.to_json(), deadline)
    return found


def train(todo: Mapping[str, tuple[str, dict[str, Any], float]], workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Go on with all runs, ``workers`` at once; yield label and numbers of each that is finished."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for (label, job), _ in zip(todo.items(), pool.imap(go_on, todo.values()), strict=True):
            if (summary := finished(Path(job[0]))) is not None:
                print(f"{label:22s} {summary['test_accuracy']:.2%}", flush=True)
                yield label, summary


def tabulate(done: Mapping[str, dict[str, Any]], workers: int) -> dict[str, Any]:
    """Return means over the seeds of finished runs, by student and method, beside the published numbers."""
    table: dict[str, Any] = {}
    for name in dict.fromkeys(label.rpartition(" ")[0] for label in done):
        found = summarise([row for label, row in done.items() if label.rpartition(" ")[0] == name])
        rate = round(3600 * workers / found.get("whole_seconds", found["train_seconds"])["mean"], 2)
        student, _, method = name.partition(" ")
        published = PUBLISHED.get(student, {}).get(method)
        table[name] = {**found, "seeds_per_hour": rate, "published_percent": published}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after N minutes; call again to continue")
    parser.add_argument("--students", default=",".join(STUDENTS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--num-train", type=int, help="for a trial: number of training images")
    parser.add_argument("--workers", type=int, default=1, help="runs at once, on one device: seeds per hour count them")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/reproduce.json"))
    args = parser.parse_args()
    begun = now()
    args.runs.mkdir(parents=True, exist_ok=True)
    recipe = heo(args.root, args.teacher, epochs=args.epochs, precision=args.precision, num_train=args.num_train)
    deadline = begun + 60 * args.minutes
    todo = jobs(recipe, args.students.split(","), args.methods.split(","), args.seeds, args.runs, deadline)
    done = dict(train(todo, args.workers))
    table = tabulate(done, args.workers)
    write_result(args.out, begun, what=__doc__, epochs=args.epochs, workers=args.workers, results=table)
    print(
        f"{len(done)} of {len(todo)} runs are finished." + ("" if len(done) == len(todo) else " Call again to go on.")
    )


if __name__ == "__main__":
    main()
