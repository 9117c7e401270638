"""All that a GPU is to tell, in order of worth, on a machine with torch and numpy alone; ``--dry`` tries it on a CPU.

    python -m benchmarks.gpu --root DATA --teacher resnet26_cifar10.safetensors --minutes 9

- checks: what must hold (``benchmarks.gpu_checks``)
- step: against the published step, as a graph and kernel by kernel; what bounds the attack (``benchmarks.gpu_step``)
- run: seconds of one AMKD run of 80 epochs, alone
- memory: at the peak of a step
- compile: by torch.compile against our graph
- table: ce, kd, bss and amkd, as many seeds as the minutes give, several at once

Each writes OUT/NAME.json as it goes on. Called again, the command does what is missing there. DATA holds
cifar-10-batches-py, or the files of ``benchmarks.packed``, whose first alone gives 20,000 training images.

The AMKD loss is our reading of a public abstract.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from amkd_viz.models import save_classifier
from amkd_viz.runs import prepare
from amkd_viz.runs.run import teacher_for
from amkd_viz.training import Recipe

from . import gpu_checks, gpu_step, reproduce
from .generated import patterns
from .gpu_checks import PRECISIONS, wait
from .launch import launched
from .memory import peak_mb
from .packed import PARTS, pack, unpack
from .students import heo, write_result

METHODS = ("ce", "kd", "bss", "amkd")
GOAL = {"seconds of a run": 60, "times the published step": 20, "share of the ceiling": 0.35}
Results = dict[str, Any]
Piece = Callable[[Results], Any]


@dataclass(frozen=True)
class Setting:
    """What is measured: the recipe of an AMKD run, until when, and in which folder runs are kept."""

    recipe: Recipe
    runs: Path
    deadline: float
    seeds: int
    workers: int
    dry: bool

    @property
    def data(self) -> str:
        """What the runs are trained on: those on a part of CIFAR-10 are never mixed with those on all of it."""
        return Path(self.recipe.dataset.removeprefix("npz:")).stem

    def jobs(self, methods: Sequence[str], seeds: int) -> dict[str, tuple[str, dict[str, Any], float]]:
        return reproduce.jobs(self.recipe, [self.recipe.student], methods, seeds, self.runs / self.data, self.deadline)


def checks(setting: Setting) -> Iterator[tuple[str, Piece]]:
    recipe = gpu_checks.recipe_for(setting.recipe.device, setting.runs)
    for name, check in gpu_checks.CHECKS.items():
        yield name, lambda found, check=check: check(recipe)


def step(setting: Setting) -> Iterator[tuple[str, Piece]]:
    yield from gpu_step.pieces(setting.recipe, setting.dry)


def run(setting: Setting) -> Iterator[tuple[str, Piece]]:
    recipe = setting.recipe

    def whole(found: Results) -> Results:
        (job,) = setting.jobs(["amkd"], 1).values()
        reproduce.go_on(job)
        summary = reproduce.finished(Path(job[0]))
        if summary is None:
            raise OutOfTime
        return {name: summary[name] for name in ("train_seconds", "whole_seconds", "test_accuracy", "notes")}

    yield f"{recipe.epochs} epochs of {setting.data}", whole
    for how in ("graph", "kernels"):
        yield f"an epoch, {how}", lambda found, how=how: epoch(recipe, how)


def epoch(recipe: Recipe, how: str) -> float:
    """Return the seconds of the second epoch, in which nothing is recorded or compiled any more."""
    training = launched(prepare(recipe), how)
    for number in range(2):
        begun = time.perf_counter()
        for batch in training.loader.epoch(number):
            training.step(*batch)
        wait(training.device)
    return round(time.perf_counter() - begun, 4)


def compiled(setting: Setting) -> Iterator[tuple[str, Piece]]:
    def an_epoch(found: Results) -> Any:
        try:
            return epoch(setting.recipe, "compile")
        except Exception as error:  # a missing C++ compiler, for one
            return gpu_step.not_possible(error)

    yield "a step", lambda found: gpu_step.compiled(setting.recipe, setting.dry)
    yield "an epoch", an_epoch


def memory(setting: Setting) -> Iterator[tuple[str, Piece]]:
    def peaks(precision: str) -> Results:
        """MB at the peak of four steps, data and teacher included, by method and launch."""
        base, found = prepare(setting.recipe.replace(precision=precision)), {}
        for method, how in itertools.product(METHODS, ("graph", "kernels")):
            if base.device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            training = launched(prepare(base.recipe.replace(method=method), like=base), how)
            for batch, _ in zip(training.loader.epoch(0), range(4), strict=False):
                training.step(*batch)
            on_gpu = base.device.type == "cuda"
            found[f"{method}, {how}"] = round(torch.cuda.max_memory_reserved() / 1e6) if on_gpu else peak_mb()
        return found

    for precision in reversed(PRECISIONS):
        yield precision, lambda found, precision=precision: peaks(precision)


def table(setting: Setting) -> Iterator[tuple[str, Piece]]:
    def runs(found: Results) -> int:
        """Train what is not in a row yet: rows of earlier calls stay, also where the folders of their runs are gone."""
        here = found.setdefault(setting.data, {"rows": {}})
        rows, todo = here["rows"], setting.jobs(METHODS, setting.seeds)
        rows |= dict(reproduce.train({k: v for k, v in todo.items() if k not in rows}, setting.workers))
        here |= {"means": reproduce.tabulate(rows, setting.workers), "workers": setting.workers}
        if len(rows) < len(todo):
            raise OutOfTime
        return len(rows)

    yield f"runs on {setting.data}", runs


class OutOfTime(Exception):
    """The rest is done when the command is called again."""


STEPS = {"checks": checks, "step": step, "run": run, "memory": memory, "compile": compiled, "table": table}


def go_on(setting: Setting, out: Path) -> tuple[int, bool]:
    """Do what is missing until the time is over; return the number of failures, and whether all is done."""
    failures = 0
    for name, pieces in STEPS.items():
        path = out / f"{name}.json"
        found = json.loads(path.read_text())["results"] if path.exists() else {}
        for piece, work in pieces(setting):
            if piece in found and not failed(found[piece]):
                continue
            if reproduce.now() >= setting.deadline:
                return failures, False
            begun, late = time.time(), False
            try:
                found[piece] = work(found)
            except OutOfTime:
                late = True
            except Exception as error:
                failures += 1
                found[piece] = {"failed": f"{type(error).__name__}: {error}", "at": traceback.format_exc().splitlines()}
            print(f"{time.time() - begun:7.1f} s  {name}: {piece}  {json.dumps(found.get(piece))[:200]}", flush=True)
            write_result(path, begun, what=__doc__, dry=setting.dry, goal=GOAL, results=found)
            if late:
                return failures, False
    return failures, True


def failed(found: Any) -> bool:
    return isinstance(found, dict) and "failed" in found


def data_of(root: Path, runs: Path) -> dict[str, str]:
    """Return the fields of a recipe for the official files or the packed ones."""
    packed = (root / PARTS[0]).is_file()
    return {"dataset": f"npz:{unpack(root, runs)}"} if packed else {"dataset": "cifar10", "root": str(root)}


def tiny(runs: Path) -> Recipe:
    """Return a recipe of seconds: generated images that were packed and unpacked, and a teacher from a file."""
    pack(patterns(train=400, test=60), runs / "packed", first=200)
    data: dict[str, Any] = data_of(runs / "packed", runs)
    small = {"student": "cnn-tiny", "epochs": 2, "batch_size": 64, "attack_steps": 3, "max_boundary_samples": 16}
    data |= {"teacher": "cnn-tiny", "teacher_epochs": 4, "teacher_batch_size": 16, "device": "cpu", "root": None}
    recipe = heo(**data, **small)
    file = save_classifier(teacher_for(recipe, None, recipe.load(), 0), runs / "teacher.safetensors")
    return recipe.replace(teacher=str(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of CIFAR-10, as it is or packed")
    parser.add_argument("--teacher", default="resnet26_cifar10.safetensors", help="safetensors file of the ResNet-26")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after N minutes; call again to continue")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4, help="runs of the table at once, on one device")
    parser.add_argument("--dry", action="store_true", help="all of it in seconds on a CPU, on generated images")
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"), help="folder of runs that are not finished")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu"))
    args = parser.parse_args()
    deadline = reproduce.now() + 60 * args.minutes
    if not (args.dry or torch.cuda.is_available()):
        raise SystemExit("This measures a GPU, and torch sees none here; --dry tries it on a CPU.")
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch) if args.dry else args.runs
        runs.mkdir(parents=True, exist_ok=True)
        if args.dry:
            recipe, seeds, workers = tiny(runs), 1, 1
        else:
            data = {"root": None, **data_of(args.root, runs)}
            recipe = heo(teacher=args.teacher, precision="bf16", device="cuda", **data)
            seeds, workers = args.seeds, args.workers
        failures, whole = go_on(Setting(recipe, runs, deadline, seeds, workers, args.dry), args.out)
    print("All is measured." if whole else "The time is over: call again to go on.", f"Results: {args.out}")
    sys.exit(min(failures, 1))


if __name__ == "__main__":
    main()
