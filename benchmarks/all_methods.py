"""Every method that fits the nets, on 50 labelled digits: accuracy over cost, and each against kd.

    python -m benchmarks.all_methods --out RESULTS.json [--seeds 5] [--jobs 2] [--minutes 40]

Weights are the published ones, or ours where the card of a method says so: none is tuned for these data. Every cell, a
method with a seed, is a line of RESULTS_cells.jsonl: a stopped command goes on after the last one, and after a change
of the library only those methods are trained again whose lines were taken out; the cost of a step is measured for
methods that RESULTS.json does not have yet. Beside it the figure is written, RESULTS.svg.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from amkd_viz.core.files import write_atomic
from amkd_viz.objectives import methods
from amkd_viz.runs import train_cells
from amkd_viz.runs.prepare import fitting, prepare
from amkd_viz.runs.stats import paired
from amkd_viz.training import DIGITS, EpochEnded, Recipe, events
from amkd_viz.training.training import Training
from amkd_viz.views.layout import blank
from amkd_viz.views.theme import LIGHT, method_colours
from amkd_viz.views.view import View

STEPS = 12  # of a measurement of cost
RECIPE = DIGITS.replace(evaluate_every=20, magsim_samples=0, step_size=0.3)  # the published step


PEER = {"peer": "cnn-small"}
MORE = {"mst": {"teacher": "cnn+cnn-small"}, "dml": PEER, "ffl": PEER, "ffcl": PEER}
TASKS = dict.fromkeys(("coconut", "replay-kd"), "needs tasks: see experiments.class_incremental")
AT_ONCE = 2  # cells


def recipe_of(method: str, **about: Any) -> Recipe:
    """Return the recipe of a method, with the second teacher or the peer that it needs."""
    return RECIPE.replace(method=method, **MORE.get(method, {}), **about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file for the results")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, help="number of processes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no more cells after this time")
    args = parser.parse_args()
    _, left_out = fitting(RECIPE)
    left_out = {name: why for name, why in left_out.items() if name not in MORE} | TASKS
    names = [name for name in methods if name not in left_out]
    cells = args.out.with_name(f"{args.out.stem}_cells.jsonl")
    train(cells, names, args.seeds, args.jobs, time.monotonic() + 60 * args.minutes)
    found = read(cells)
    known = json.loads(args.out.read_text(encoding="utf-8"))["methods"] if args.out.is_file() else {}
    cost = {name: known[name]["cost"] for name in names if name in known}
    cost |= costs([name for name in names if name in found and name not in known])
    results = summary(found, cost) | {"left_out": left_out}
    print(json.dumps(results["methods"], indent=1))
    write_atomic(args.out, json.dumps(results, indent=1) + "\n")
    figure(results["methods"]).save(args.out.with_suffix(".svg"))


def read(cells: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Return method -> seed -> cell."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for line in cells.read_text(encoding="utf-8").splitlines() if cells.is_file() else []:
        cell = json.loads(line)
        found.setdefault(cell["method"], {})[cell["seed"]] = cell
    return found


def train(cells: Path, names: Iterable[str], seeds: int, jobs: int | None, until: float) -> None:
    """Train the cells that are missing, seed after seed, and add a line for each."""
    known = read(cells)
    todo = [(name, seed) for seed in range(seeds) for name in names if seed not in known.get(name, {})]
    for start in range(0, len(todo), AT_ONCE):
        if time.monotonic() > until:
            return
        now = {f"{name}-seed{seed}": recipe_of(name, seed=seed) for name, seed in todo[start : start + AT_ONCE]}
        with tempfile.TemporaryDirectory() as folder, cells.open("a", encoding="utf-8") as file:
            for run in train_cells(now, folder, jobs=jobs):
                cell = {"method": run.recipe.method, "seed": run.recipe.seed, "recipe": run.recipe.hash}
                about = {"test_accuracy": run.summary["test_accuracy"], "versions": run.summary["versions"]}
                file.write(json.dumps(cell | about) + "\n")


def costs(names: list[str]) -> dict[str, float]:
    """Return the seconds of a step relative to kd's, measured in turn in this process: median of three rounds."""
    ratios: dict[str, list[float]] = {}
    likes: dict[str, Training] = {}

    def seconds(method: str) -> float:
        recipe = recipe_of(method, epochs=200)
        own = likes[recipe.teacher] = prepare(recipe, likes.get(recipe.teacher))
        for event in events(own):
            if isinstance(event, EpochEnded) and event.epoch == STEPS:
                break
        return own.clock.seconds

    for _ in range(3):
        for method in names:
            ratios.setdefault(method, []).append(seconds(method) / seconds("kd"))
    return {method: statistics.median(found) for method, found in ratios.items()}


def summary(cells: dict[str, dict[int, dict[str, Any]]], cost: dict[str, float]) -> dict[str, Any]:
    """Return accuracy in %, the cost of a step relative to kd, and the paired difference from kd, by method.

    Args:
        cells: see ``read``. cost: by method; others are left out.
    """
    shares = {m: {s: c["test_accuracy"] for s, c in cells[m].items()} for m in cost}
    found = {}
    for method, own in shares.items():
        seeds = sorted(own.keys() & shares["kd"].keys())
        apart = paired([own[s] for s in seeds], [shares["kd"][s] for s in seeds]) if method != "kd" else None
        values = [100 * value for value in own.values()]
        found[method] = {
            "accuracy": round(statistics.fmean(values), 2),
            "sd": round(statistics.stdev(values), 2) if len(values) > 1 else None,
            "seeds": len(values),
            "cost": round(cost[method], 2),
            "minus_kd": None if apart is None else [round(v, 2) for v in (apart.points, *apart.interval)],
        }
    return {
        "what": "Every method that fits the nets on 50 labelled digits by its own weights, tuned for none of these. "
        "The losses called amkd are our reading of a public abstract; see the cards for others that are readings.",
        "command": "python -m benchmarks.all_methods --out benchmarks/results/all_methods.json",
        "versions": next(iter(cells["kd"].values()))["versions"],
        "seeds": max(len(own) for own in shares.values()),
        "more": MORE,
        "methods": dict(sorted(found.items(), key=lambda item: -item[1]["accuracy"])),
    }


def figure(found: dict[str, Any]) -> View:
    """Draw accuracy over cost, one dot per method."""
    colours = method_colours({name: name for name in found})
    drawn = blank(height=620, showlegend=False, margin={"t": 20, "b": 50, "l": 60, "r": 20})
    drawn.add_scatter(
        x=[own["cost"] for own in found.values()],
        y=[own["accuracy"] for own in found.values()],
        error_y={"array": [own["sd"] or 0 for own in found.values()], "color": LIGHT.line, "thickness": 1},
        mode="markers+text",
        text=list(found),
        textposition="middle right",
        textfont={"size": 10},
        marker={"color": [colours[name] for name in found], "size": 6},
    )
    drawn.update_xaxes(title="time of a step, relative to kd", type="log", gridcolor=LIGHT.grid)
    drawn.update_yaxes(title="test accuracy, %", gridcolor=LIGHT.grid)
    caption = "Dots are means over seeds, bars one standard deviation. Weights are not tuned for these data."
    return View(drawn, {}, {}, caption, "Accuracy over cost")


if __name__ == "__main__":
    main()
