"""Speed of the playground in Chromium, and its students beside the library's.

    python -m benchmarks.playground [--page FILE.html] [--seeds 10]
    python -m benchmarks.playground --data digits --seeds 0 --out benchmarks/results/playground_digits.json

The same with moons, rings and blobs.

Steps per second with the curves, by the clock and by the processor time of the page's thread, which other programs
hardly affect; maps per second, seconds until the page is ready; then the mean final accuracy of the
page's students and of the library's over the same seeds: the same step, in another order of the points and with other
draws.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from .students import write_result
from .timing import host, quartiles

METHODS = ("ce", "kd", "bss", "amkd")
ROUNDS, STEPS = 5, 60
# run in the page: from the start; milliseconds of a step, and of all maps and numbers
BEGIN = 'async (method) => void (await window.playground.set({ step: 0, log: [[0, "method", method]] }))'
TIME_STEPS = """async (steps) => {
    const begun = performance.now();
    await window.playground.step(steps);
    return (performance.now() - begun) / steps;
}"""
TIME_MAPS = """async () => {
    const begun = performance.now();
    for (let i = 0; i < 20; i++) await window.playground.set({});
    return (performance.now() - begun) / 20;
}"""
FINAL = """async ([method, seed]) => {
    await window.playground.set({ seed, log: [[0, "method", method]] });
    return (await window.playground.step(1e6)).accuracy;
}"""


def processor_time(thread: Any) -> float:
    """Return the seconds that the thread of a page has computed so far, by a DevTools session."""
    metrics = {metric["name"]: metric["value"] for metric in thread.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def library(data: str, method: str, seeds: int) -> list[float]:
    """Return the final test accuracies of the library's students."""
    from amkd_viz.playground.page import DATA
    from amkd_viz.runs.prepare import prepare
    from amkd_viz.training import Finished, events, suggested

    found = []
    for seed in range(seeds):
        training = prepare(suggested(DATA.get(data, data)).replace(method=method, seed=seed, magsim_samples=0))
        done = [event for event in events(training) if isinstance(event, Finished)]
        found.append(float(done[0].summary["test_accuracy"]))
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Mean and standard error, in %."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return {"mean": round(100 * statistics.mean(values), 2), "standard error": round(100 * error, 2), "n": len(values)}


def main() -> None:
    from amkd_viz.playground.page import DATA

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="spirals", choices=DATA, help="of the page")
    parser.add_argument("--page", type=Path, help="a page of these data (default: one is written first)")
    parser.add_argument("--seeds", type=int, default=10, help="at most 10; 0 to measure speed alone (default: 10)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/playground.json"))
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    from amkd_viz.playground import write_playground
    from amkd_viz.views.chromium import browser

    begun = time.time()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        file = args.page or write_playground(Path(scratch) / "page.html", args.data)
        own = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox", "--disable-gpu"])
        page = own.new_page(viewport={"width": 1200, "height": 900})
        opened = time.perf_counter()
        page.goto(file.resolve().as_uri())
        page.wait_for_function("document.body.dataset.ready", timeout=120_000)
        thread = page.context.new_cdp_session(page)
        thread.send("Performance.enable", {"timeDomain": "threadTicks"})
        results: dict[str, Any] = {"seconds until ready": round(time.perf_counter() - opened, 2)}
        steps = {method: [] for method in METHODS}  # type: dict[str, list[float]]
        busy = {method: [] for method in METHODS}  # type: dict[str, list[float]]
        maps = []
        for number in range(ROUNDS + 1):
            for method in METHODS:
                page.evaluate(BEGIN, method)
                before = processor_time(thread)
                took = page.evaluate(TIME_STEPS, STEPS)
                if number:  # the first opens the graph
                    steps[method].append(1000 / took)
                    busy[method].append(STEPS / (processor_time(thread) - before))
            if number:
                maps.append(1000 / page.evaluate(TIME_MAPS))
        results |= {"steps per second": {method: quartiles(values) for method, values in steps.items()}}
        results |= {"steps per second of processor time": {m: quartiles(values) for m, values in busy.items()}}
        results |= {"maps per second": quartiles(maps), "megabytes": round(file.stat().st_size / 1e6, 2)}
        if args.seeds:
            for method in METHODS:
                there = [page.evaluate(FINAL, [method, seed]) for seed in range(args.seeds)]
                results[f"final accuracy %, {method}"] = {
                    "page": spread(there),
                    "library": spread(library(args.data, method, args.seeds)),
                }
        own.close()
    write_result(args.out, begun, what=__doc__, host=host(1) | {"clock": "wall"}, results=results)
    for name, value in results.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
