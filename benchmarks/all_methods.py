"""Every method that fits the nets, on 50 labelled digits: accuracy over cost, and each against kd.

    python -m benchmarks.all_methods --runs FOLDER [--seeds 5] [--jobs 2] [--out RESULTS.json]

Weights are the published ones, or ours where the card of a method says so: none is tuned for these data. A stopped
command goes on in the same folder. Beside RESULTS.json the figure is written, RESULTS.svg.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from amkd_viz.core.files import write_atomic
from amkd_viz.progress import Progress
from amkd_viz.runs import Run, compare
from amkd_viz.runs.prepare import fitting, prepare
from amkd_viz.runs.stats import paired
from amkd_viz.training import DIGITS, EpochEnded, events
from amkd_viz.training.training import Training
from amkd_viz.views.layout import blank
from amkd_viz.views.theme import LIGHT
from amkd_viz.views.view import View

STEPS = 12  # of a measurement of cost
RECIPE = DIGITS.replace(evaluate_every=20, magsim_samples=0, step_size=0.3)  # the published step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, help="number of processes")
    parser.add_argument("--out", type=Path, help="a JSON file for the results")
    args = parser.parse_args()
    names, left_out = fitting(RECIPE)
    with Progress() as progress:
        runs = compare(RECIPE, names, args.seeds, args.runs, jobs=args.jobs, listen=progress)
    results = summary(runs, costs(names)) | {"left_out": left_out}
    print(json.dumps(results["methods"], indent=1))
    if args.out:
        write_atomic(args.out, json.dumps(results, indent=1) + "\n")
        figure(results["methods"]).save(args.out.with_suffix(".svg"))


def costs(names: list[str]) -> dict[str, float]:
    """Return the seconds of a step relative to kd's, measured in turn in this process: median of three rounds."""
    ratios: dict[str, list[float]] = {}
    like: Training | None = None

    def seconds(method: str) -> float:
        nonlocal like
        like = prepare(RECIPE.replace(method=method, epochs=200), like)
        for event in events(like):
            if isinstance(event, EpochEnded) and event.epoch == STEPS:
                break
        return like.clock.seconds

    for _ in range(3):
        for method in names:
            ratios.setdefault(method, []).append(seconds(method) / seconds("kd"))
    return {method: statistics.median(found) for method, found in ratios.items()}


def summary(runs: list[Run], cost: dict[str, float]) -> dict[str, Any]:
    """Return accuracy in %, the cost of a step relative to kd, and the paired difference from kd, by method."""
    by_method: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_method.setdefault(run.recipe.method, {})[run.recipe.seed] = run
    shares = {m: {s: r.summary["test_accuracy"] for s, r in own.items()} for m, own in by_method.items()}
    found = {}
    for method, own in shares.items():
        seeds = sorted(own.keys() & shares["kd"].keys())
        apart = paired([own[s] for s in seeds], [shares["kd"][s] for s in seeds]) if method != "kd" else None
        values = [100 * value for value in own.values()]
        found[method] = {
            "accuracy": round(statistics.fmean(values), 2),
            "sd": round(statistics.stdev(values), 2),
            "cost": round(cost[method], 2),
            "minus_kd": None if apart is None else [round(v, 2) for v in (apart.points, *apart.interval)],
        }
    some = runs[0]
    return {
        "what": "Every method that fits the nets on 50 labelled digits by its own weights, tuned for none of these. "
        "The losses called amkd are our reading of a public abstract; see the cards for others that are readings.",
        "command": "python -m benchmarks.all_methods --runs FOLDER",
        "versions": some.summary["versions"],
        "seeds": len(by_method["kd"]),
        "methods": dict(sorted(found.items(), key=lambda item: -item[1]["accuracy"])),
    }


def figure(found: dict[str, Any]) -> View:
    """Draw accuracy over cost, one dot per method."""
    drawn = blank(height=620, showlegend=False, margin={"t": 20, "b": 50, "l": 60, "r": 20})
    drawn.add_scatter(
        x=[own["cost"] for own in found.values()],
        y=[own["accuracy"] for own in found.values()],
        error_y={"array": [own["sd"] for own in found.values()], "color": LIGHT.line, "thickness": 1},
        mode="markers+text",
        text=list(found),
        textposition="middle right",
        textfont={"size": 10},
        marker={"color": LIGHT.accent, "size": 6},
    )
    drawn.update_xaxes(title="time of a step, relative to kd", type="log", gridcolor=LIGHT.grid)
    drawn.update_yaxes(title="test accuracy, %", gridcolor=LIGHT.grid)
    caption = "Dots are means over seeds, bars one standard deviation. Weights are not tuned for these data."
    return View(drawn, {}, {}, caption, "Accuracy over cost")


if __name__ == "__main__":
    main()
