"""Heo's two rows and ours: ResNet-26 -> ResNet-8 and ResNet-14 on CIFAR-10, 80 epochs, ce, kd, bss, amkd, 5 seeds.

    python -m benchmarks.reproduce --root DATA --teacher resnet26_cifar10.safetensors --minutes 9

Stops by itself when ``--minutes`` are over and goes on where it was when it is called again: every run is a folder with
checkpoints under ``--runs``. torch and numpy suffice. Settings of arXiv 1805.05532: batch 256, at most 64 attacked, SGD
with 0.1, and a tenth of it from epochs 40 and 60 on, all training images but the validation split.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

from . import plain  # noqa: F401  # before the library, which imports safetensors
from .students import summarise, write_result

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


def jobs(args: argparse.Namespace, deadline: float) -> dict[str, tuple[str, dict[str, Any], float]]:
    """By label, one seed of everything before the next."""
    from amkd_viz.training import Recipe

    found = {}
    for seed in range(args.seeds):
        for student in args.students.split(","):
            for method in args.methods.split(","):
                recipe = Recipe(
                    dataset="cifar10",
                    root=args.root,
                    teacher=args.teacher,
                    student=student,
                    method=method,
                    epochs=args.epochs,
                    batch_size=256,
                    schedule="step",
                    seed=seed,
                    precision=args.precision,
                    num_train=args.num_train,
                    evaluate_every=args.epochs,
                    magsim_samples=0,
                )
                label = f"{student} {method} {seed}"
                found[label] = (str(args.runs / label.replace(" ", "-")), recipe.to_json(), deadline)
    return found


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

    todo = jobs(args, begun + 60 * args.minutes)
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        done = {}
        for (label, job), _ in zip(todo.items(), pool.imap(go_on, todo.values()), strict=True):
            if (summary := finished(Path(job[0]))) is not None:
                done[label] = summary
                print(f"{label:22s} {summary['test_accuracy']:.2%}", flush=True)
    table: dict[str, Any] = {}
    for student in args.students.split(","):
        for method in args.methods.split(","):
            rows = [row for label, row in done.items() if label.startswith(f"{student} {method} ")]
            if rows:
                published = PUBLISHED.get(student, {}).get(method)
                told = summarise(rows)
                rate = round(3600 * args.workers / told.get("whole_seconds", told["train_seconds"])["mean"], 2)
                table[f"{student} {method}"] = {**told, "seeds_per_hour": rate, "published_percent": published}
    write_result(args.out, begun, what=__doc__, epochs=args.epochs, workers=args.workers, results=table)
    print(
        f"{len(done)} of {len(todo)} runs are finished." + ("" if len(done) == len(todo) else " Call again to go on.")
    )


if __name__ == "__main__":
    main()
