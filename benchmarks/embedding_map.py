"""How long a person waits on the joint map: hover to thumbnail, lasso to table, there and back through the kernel.

Measured in the page of a real JupyterLab in a real Chromium, from the event to the frame that shows it; "processor" is
what the page's main thread worked for each, all that follows later included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.timing import host
from tests.lab import Lab, browser

CELL = """
import threading, numpy as np, torch
from IPython.display import display
from amkd_viz.data import Split
from amkd_viz.panels.sample_list import SampleList
from amkd_viz.panels.scatter import ScatterCanvas
from amkd_viz.views.chosen import choose
n = {samples}
chance = np.random.default_rng(0)
images = torch.from_numpy(chance.integers(0, 256, (n, 3, 32, 32), np.uint8))
canvas = ScatterCanvas()
canvas.samples(choose(Split(images, torch.arange(n) % 10, torch.arange(n)), most=n), list("abcdefghij"))
canvas.places(chance.normal(size=(n, 2)), chance.normal(size=(n, 2)), chance.random((n, 7)))
canvas.observe(lambda change: setattr(canvas, "empty", f"heard {{len(change['new'])}}"), names="selection")
display(canvas, SampleList(map=canvas))
"""
BUSY = """
def work():
    while not stop.is_set():
        sum(i * i for i in range(1000))
stop = threading.Event()
threading.Thread(target=work, daemon=True).start()
"""
# What a frame shows is on the screen once the task after its animation callbacks runs.
MEASURE = """async ([what, rounds]) => {
    const scatter = document.querySelector('.amkd-scatter').amkd, list = document.querySelector('.amkd-samples');
    const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
    const until = async (test) => { while (!test()) await new Promise(done => setTimeout(done, 1)); };
    const chosen = (size) => {
        const first = Math.floor(Math.random() * (scatter.samples.ids.length - size));
        return Array.from({ length: size }, (_, i) => first + i);
    };
    const took = [];
    for (let round = 0; round <= rounds; round++) {
        await frame();
        const size = 500 + round, begun = performance.now();
        if (what === 'hover') {
            const i = Math.floor(Math.random() * scatter.samples.ids.length);
            const [x, y] = scatter.locate(scatter.samples.ids[i]);
            const about = { clientX: x, clientY: y, bubbles: true };
            scatter.canvas.dispatchEvent(new PointerEvent('pointermove', about));
            await frame();
            if (scatter.tip.hidden) throw new Error('no tip');
        } else if (what === 'morph') {
            scatter.setMorph((round % 10) / 10);
            await frame();
        } else if (what === 'brush') {
            scatter.choose(chosen(size), false);
            await until(() => list.dataset.listed === String(size) && scatter.root.dataset.selected === String(size));
            await frame();
        } else {
            scatter.choose(chosen(size), false);
            await until(() => scatter.model.get('empty') === `heard ${size}`);
        }
        if (round) took.push(performance.now() - begun); // the first one warms up
        await new Promise(done => setTimeout(done, 60));
    }
    return took;
}"""


def percentiles(times: list[float]) -> dict[str, float]:
    """Milliseconds: p50, p95 and n."""
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return {"p50": round(statistics.median(times), 1), "p95": round(cuts[18], 1), "n": len(times)}


def processor(clock: Any) -> float:
    """Milliseconds of processor time that the page's main thread took so far: what a busy machine does not change."""
    told = {entry["name"]: entry["value"] for entry in clock.send("Performance.getMetrics")["metrics"]}
    return 1000 * float(told["TaskDuration"])


def measure(samples: int, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Lab(Path(folder) / "lab", OMP_NUM_THREADS="1")
        try:
            server.write("map.ipynb", CELL.format(samples=samples))
            with browser() as context:
                notebook = server.open(context, "map.ipynb")
                notebook.run()
                page = notebook.page
                page.wait_for_selector(f".amkd-scatter[data-count='{samples}']", timeout=90_000)
                page.wait_for_function("() => document.querySelector('.amkd-scatter').amkd.samples.sheet")
                clock = context.new_cdp_session(page)
                clock.send("Performance.enable", {"timeDomain": "threadTicks"})
                for what in ("hover", "brush", "morph", "kernel"):
                    before = processor(clock)
                    found[what] = percentiles(page.evaluate(MEASURE, [what, rounds]))
                    found[what]["processor"] = round((processor(clock) - before) / (rounds + 1), 1)
                notebook.ask(BUSY)
                found["kernel, with a busy Python thread"] = percentiles(page.evaluate(MEASURE, ["kernel", rounds]))
        finally:
            server.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/embedding_map.json"))
    given = parser.parse_args()
    found = {
        "samples": given.samples,
        "unit": "ms",
        **measure(given.samples, given.rounds),
        "host": host(1) | {"clock": "wall"},
    }
    found["load"] = round(os.getloadavg()[0], 1)  # of all that ran beside: over the number of cores it slows everything
    given.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
