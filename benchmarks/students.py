"""Train many students, a few at a time, and write every number with what it takes to get it again.

Each finished student is a line of OUT.jsonl at once, so a stopped command goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amkd_viz.core.files import write_atomic
from amkd_viz.training.recipe import Recipe

KEPT = ("test_accuracy", "test_agreement", "val_accuracy", "magsim", "angsim", "kept", "train_seconds", "whole_seconds")
_last: list[Any] = []  # the worker's previous Training: data, teacher and its logits are used again


def cifar10_small(root: str, teacher: str, epochs: int, **own: Any) -> Recipe:
    """The regime that the grid chooses in and the table measures: 2,000 CIFAR-10 images, ResNet-8, bfloat16."""
    return Recipe(
        dataset="cifar10",
        root=root,
        teacher=teacher,
        student="resnet8",
        epochs=epochs,
        num_train=2000,
        batch_size=128,
        max_boundary_samples=32,
        precision="bf16",
        evaluate_every=epochs,
        **own,
    )


def heo(root: str | None, teacher: str, **own: Any) -> Recipe:
    """Return a recipe of arXiv 1805.05532: CIFAR-10 but the validation split, batch 256, at most 64 attacked, SGD with
    0.1, and a tenth of it from epochs 40 and 60 on."""
    usual = {"dataset": "cifar10", "student": "resnet8", "epochs": 80, "batch_size": 256, "schedule": "step"}
    return Recipe(root=root, teacher=teacher, **{**usual, "magsim_samples": 0, **own})


def train_one(job: tuple[str, dict[str, Any], int]) -> dict[str, Any]:
    """Train one student in this process; returns its label, recipe and last-epoch numbers."""
    import torch

    from amkd_viz.runs import prepare
    from amkd_viz.training import Finished, events

    label, values, threads = job
    torch.set_num_threads(threads)
    recipe = Recipe.from_json(values)
    training = prepare(recipe, like=_last[0] if _last else None)
    _last[:] = [training]
    for event in events(training):
        if isinstance(event, Finished):
            return {"label": label, "recipe": recipe.hash, "seed": recipe.seed, **event.summary}
    raise AssertionError("the events of a recipe end with Finished")


def train_all(recipes: Mapping[str, Recipe], out: Path, workers: int) -> list[dict[str, Any]]:
    """The results of all recipes, those in OUT.jsonl taken as they are."""
    partial = out.with_suffix(".jsonl")
    partial.parent.mkdir(parents=True, exist_ok=True)
    lines = partial.read_text().splitlines() if partial.exists() else []
    done = {row["label"]: row for row in map(json.loads, lines) if row["label"] in recipes}
    done = {label: row for label, row in done.items() if row["recipe"] == recipes[label].hash}
    threads = max(1, (os.cpu_count() or 1) // workers)
    jobs = [(label, recipe.to_json(), threads) for label, recipe in recipes.items() if label not in done]
    with multiprocessing.get_context("spawn").Pool(workers) as pool, partial.open("a") as file:
        for row in pool.imap_unordered(train_one, jobs):
            done[row["label"]] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{len(done):3d}/{len(recipes)}  {row['label']:44s} val {row['val_accuracy']:.2%}", flush=True)
    return [done[label] for label in recipes]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) over seeds of each number, and the single values of the accuracies."""
    found: dict[str, Any] = {"seeds": [row["seed"] for row in rows]}
    for name in KEPT:
        values = [row[name] for row in rows if row.get(name) is not None]
        if values:
            found[name] = {
                "mean": statistics.fmean(values),
                "sd": statistics.stdev(values) if len(values) > 1 else None,
            }
            if name.endswith("accuracy"):
                found[name]["values"] = values
    return found


def told() -> list[str]:
    """The words of the command, without the places on this machine."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    words = ["DATA" if before == "--root" else word for before, word in zip(["", *words], words, strict=False)]
    return words if "--out" not in words else words[: (at := words.index("--out"))] + words[at + 2 :]


def write_result(out: Path, begun: float, **facts: Any) -> None:
    """One JSON file: the facts, then command, versions, device and wall time."""
    import torch

    from amkd_viz import __version__

    about = {
        "command": "python -m " + " ".join([f"benchmarks.{Path(sys.argv[0]).stem}", *map(shlex.quote, told())]),
        "versions": {"amkd_viz": __version__, "python": platform.python_version(), "torch": torch.__version__},
        "device": f"{platform.machine()} CPU, {os.cpu_count()} cores"
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
        "wall_seconds": round(time.time() - begun, 1),
    }
    write_atomic(out, json.dumps({**facts, **about}, indent=2) + "\n")
