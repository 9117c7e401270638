"""How long a person waits on the panels: every goal of theirs, from the event to the frame that shows it.

    python -m benchmarks.panels [--n 40] [--only NAME ...]

Measured in the page of a real JupyterLab in a real Chromium, with nets of the digits' and the points' size. ``--only``
puts what it measures into the file that is there. Other programs on the same cores make every number larger: the file
says how many cores they took.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import embedding_map
from benchmarks.panels_page import BURST, FIRST_PAINT, PRESS, RATES
from benchmarks.students import write_result
from benchmarks.timing import host
from tests.lab import Lab, Notebook, browser

OUT = Path(__file__).parent / "results" / "panels.json"

SETTLED = "document.querySelector('.amkd-status').dataset.kind !== 'busy'"
# A slider beside the panel that asks for a piece of work by the way that a control of the panel does.
BENCH = """
import ipywidgets
from IPython.display import display
bench = ipywidgets.IntSlider(description="bench", max=1000)
display(bench)
"""


class Bench:
    """One JupyterLab, a page for each measurement."""

    def __init__(self, lab: Lab, n: int) -> None:
        self.lab, self.n = lab, n
        self.pages = 0

    def page(self, context: Any, *cells: str) -> Notebook:
        """A notebook whose cells have run, the first panel settled."""
        self.pages += 1
        name = self.lab.write(f"bench-{self.pages}.ipynb", *cells)
        notebook = self.lab.open(context, name)
        for index in range(len(cells)):
            notebook.run(index)
        notebook.settled(seconds=300)
        notebook.page.wait_for_timeout(700)
        return notebook

    def press(self, notebook: Notebook, label: str, until: str, pause: int = 120, before: str = "") -> list[float]:
        """ms from a key on the slider ``label`` to the first frame in which the script ``until`` holds."""
        took = []
        for number in range(self.n + 2):
            if before:
                notebook.page.wait_for_function(before, timeout=120_000)
            key = "ArrowRight" if number % 2 == 0 else "ArrowLeft"
            took.append(notebook.page.evaluate(PRESS, [label, key, until]))
            notebook.page.wait_for_timeout(pause)
        return took[2:]  # the first two warm up


def acknowledged_idle(bench: Bench, context: Any) -> Any:
    """A control of an idle BoundaryLab: until the status line says what it does."""
    notebook = bench.page(context, "from amkd_viz.panels import BoundaryLab\np = BoundaryLab('spirals')\np")
    notebook.ask("p.set(epochs=2).wait()")
    until = "document.querySelector('.amkd-status').dataset.kind === 'busy'"
    return bench.press(notebook, "epochs", until, before=SETTLED)


def acknowledged_training(bench: Bench, context: Any) -> Any:
    """A slider of MethodRace during the race, as fast as it goes: until the status line says from when it acts."""
    notebook = bench.page(context, "from amkd_viz.panels import MethodRace\np = MethodRace()\np")
    notebook.ask("p.set(epochs=200, pace=float('inf'), learning_rate=0.01); p.wait(); p.start()")
    notebook.page.get_by_text("Objective").click()
    notebook.page.wait_for_selector("[aria-label='boundary_triplet margin']")
    took: list[float] = []
    until = "window.amkdStatus.some(t => t.includes('margin'))"
    while len(took) < bench.n:
        if notebook.ask("print(int(p.state != 'running' or p.race.epoch > 150))"):
            notebook.ask("p.reset(); p.wait(); p.start()")
        key = "ArrowRight" if len(took) % 2 == 0 else "ArrowLeft"
        took.append(notebook.page.evaluate(PRESS, ["boundary_triplet margin", key, until]))
        notebook.page.wait_for_timeout(60)
    notebook.ask("p.close()")
    return took


def acknowledged_distilling(bench: Bench, context: Any) -> Any:
    """A slider of DistillLab while it trains on digits: until the status line or the sum shows it."""
    notebook = bench.page(context, "from amkd_viz.panels import DistillLab\np = DistillLab('digits')\np")
    notebook.ask("p.set(epochs=2000); p.wait(); p.start()")
    page = notebook.page
    page.wait_for_function("document.querySelector('.amkd-status').textContent.includes('epoch')", timeout=120_000)
    page.wait_for_timeout(3000)
    label = notebook.ask("print(p.controls['boundary_triplet.margin'].description)")
    until = "window.amkdStatus.some(t => t.includes('margin')) || window.amkdSum()"
    took = bench.press(notebook, label, until, pause=200)
    notebook.ask("p.stop(); p.close()")
    return took


def map_2d(bench: Bench, context: Any) -> Any:
    """A slider, then both nets of a 2-D problem asked at 100 x 100 points: until the first picture is drawn."""
    notebook = bench.page(
        context,
        "from amkd_viz.panels import BoundaryLab\np = BoundaryLab('spirals')\np",
        BENCH + "def work():\n    p._logits.clear()\n    p._compute_maps(100, lambda: False)\n"
        "bench.observe(lambda _: p.compute.ask('nets', work), names='value')",
    )
    return bench.press(notebook, "bench", "window.amkdDrawn('.amkd-maps', '100')")


def map_plane(bench: Bench, context: Any) -> Any:
    """SampleLab, both digits nets: from a slider until the 100 x 100 plane is drawn to its last cell."""
    notebook = bench.page(
        context,
        "from amkd_viz.panels import SampleLab\np = SampleLab()\np",
        BENCH + "bench.observe(lambda _: p.compute.ask('plane', p._open_plane), names='value')",
    )
    return bench.press(notebook, "bench", "window.amkdDrawn('.amkd-maps', '100')", pause=600)


def burst(bench: Bench, context: Any) -> Any:
    """50 events of a slider of BoundaryLab, as fast as the page makes them: from the last one until the last change of
    the page."""
    notebook = bench.page(context, "from amkd_viz.panels import BoundaryLab\np = BoundaryLab('spirals')\np")
    notebook.ask("own = p._attack; seen = []\ndef count():\n    own(); seen.append(p['step_size'])\np._attack = count")
    took, evaluations = [], []
    for number in range(bench.n + 1):
        notebook.page.evaluate(BURST, ["step size", "Home", 1])
        notebook.ask("p.wait(); seen.clear()")
        settled = notebook.page.evaluate(BURST, ["step size", "ArrowRight", 50])
        notebook.ask("p.wait()")
        values = notebook.ask("print(seen)")
        if values[-1] != notebook.ask("print(p['step_size'])"):
            raise SystemExit(f"The burst ended on {values[-1]}, not on its last value.")
        if number:
            took.append(settled)
            evaluations.append(len(values))
    return took, {"evaluations": spread(evaluations), "evaluations_goal": 5}


def again(make: str, until: str, what: str) -> Callable[[Bench, Any], Any]:
    def measured(bench: Bench, context: Any) -> Any:
        notebook = bench.page(context, f"from amkd_viz.panels import *\np = {make}\np")
        took = []
        for _ in range(bench.n + 1):
            took.append(notebook.page.evaluate(FIRST_PAINT, until))
            notebook.settled(seconds=120)
        return took[1:]

    measured.__doc__ = f"The cell that makes {make}, run again with everything imported: until {what}."
    return measured


TOLD = "panel.querySelector('.amkd-status > span')?.textContent"
DRAWN = "panel.querySelector('.amkd-maps')?.dataset.serial"


def slow_down(bench: Bench, context: Any) -> Any:
    """% by which the live maps and numbers of MethodRace lengthen a race, as fast as it goes; pairs of races, in turn
    with and without."""
    notebook = bench.page(context, "from amkd_viz.panels import MethodRace\np = MethodRace()\np")
    notebook.ask(RACES)
    pairs = []
    for _ in range(max(3, bench.n // 3)):
        pairs.append(notebook.ask("print(json.dumps([timed(True), timed(False)]))"))
    wall, work = ([100 * (shown[i] / hidden[i] - 1) for shown, hidden in pairs] for i in (0, 1))
    return wall, {"unit": "%", "of_the_goal": "p50: a pair alone is noise", "processor_time": spread(work)}


RACES = """
import json, time
show = p._draw_live, p._numbers
def clocks():
    return time.perf_counter(), time.process_time()
def timed(live):
    p.set(epochs=200, pace=float("inf")); p.reset(); p.wait()
    p._draw_live, p._numbers = show if live else 2 * (lambda race: None,)
    begun = clocks()
    p.start()
    while p.state != "done":
        time.sleep(0.005)
    end = clocks()
    p.wait()
    return [end[0] - begun[0], end[1] - begun[1]]
"""


def pictures(bench: Bench, context: Any) -> Any:
    """Pictures of the maps per second of a race of MethodRace at its default of ten epochs per second."""
    notebook = bench.page(context, "from amkd_viz.panels import MethodRace\np = MethodRace()\np")
    found: dict[float, list[dict[str, float]]] = {}
    for pace in (10.0, math.inf):
        begun = notebook.ask(f"p.set(epochs=200, pace=float('{pace}')); p.reset(); p.wait(); p.start(); print(p.state)")
        notebook.page.wait_for_timeout(300)
        found[pace] = [notebook.page.evaluate(RATES, 1) for _ in range(10 if pace == 10 else 3)]
        if begun != "running" or notebook.ask("print(p.state)") != "running":
            raise SystemExit(f"The race did not run while its pictures were counted: {begun}")
        notebook.ask("p.pause(); p.wait()")
    told = {f"{name}_{words}": spread([row[name] for row in found[pace]])
            for pace, words in ((10.0, "at_10_epochs_per_s"), (math.inf, "as_fast_as_it_goes"))
            for name in ("maps", "curves", "page")}  # fmt: skip
    return [row["maps"] for row in found[10.0]], {"unit": "/s", "of_the_goal": "p50, at least"} | told


def tick_bytes(bench: Bench, context: Any) -> Any:
    """kB that the page receives for each picture of a race: maps, numbers, curves, clock and status together."""
    notebook = bench.page(context, "from amkd_viz.panels import MethodRace\np = MethodRace()\np")
    received: list[int] = []
    session = context.new_cdp_session(notebook.page)
    session.send("Network.enable")
    session.on("Network.webSocketFrameReceived", lambda e: received.append(size_of(e["response"])))
    took = []
    notebook.ask("p.set(epochs=60, pace=10.0); p.wait()")
    drawn = "Number(document.querySelector('.amkd-maps').dataset.drawn)"
    for _ in range(max(2, bench.n // 15)):
        notebook.ask("p.reset(); p.wait(); p.start()")
        for _ in range(15):
            received.clear()
            before = notebook.page.evaluate(drawn)
            notebook.page.wait_for_timeout(300)
            pictures = notebook.page.evaluate(drawn) - before
            if pictures > 0:
                took.append(sum(received) / pictures / 1000)
        notebook.ask("p.pause(); p.wait()")
    return took, {"unit": "kB"}


def size_of(frame: dict[str, Any]) -> int:
    """Bytes of a frame; the protocol tells binary ones as base64."""
    text = len(frame["payloadData"])
    return text * 3 // 4 if frame["opcode"] == 2 else text


def joint_map(what: str) -> Callable[[Bench, Any], Any]:
    def measured(bench: Bench, context: Any) -> Any:
        name = bench.lab.write(f"joint-{what}.ipynb", embedding_map.CELL.format(samples=5000))
        notebook = bench.lab.open(context, name)
        notebook.run()
        page = notebook.page
        page.wait_for_selector(".amkd-scatter[data-count='5000']", timeout=90_000)
        page.wait_for_function("() => document.querySelector('.amkd-scatter').amkd.samples.sheet")
        return page.evaluate(embedding_map.MEASURE, [what, bench.n])

    measured.__doc__ = {
        "hover": "EmbeddingLab's map of 5,000 samples: from the pointer to the thumbnail.",
        "brush": "The same: from a selection in the map to the table and the gallery that list it.",
    }[what]
    return measured


MEASURED: dict[str, tuple[float, Callable[[Bench, Any], Any]]] = {  # name -> goal of p95, how
    "control acknowledged, idle": (100, acknowledged_idle),
    "control acknowledged, racing": (100, acknowledged_training),
    "control acknowledged, distilling": (100, acknowledged_distilling),
    "2-D map, first picture": (100, map_2d),
    "plane map 100 x 100, both digits nets": (500, map_plane),
    "hover thumbnail": (33, joint_map("hover")),
    "linked brush, 5,000 points": (100, joint_map("brush")),
    "burst of 50 settles": (500, burst),
    "live views slow training": (5, slow_down),
    "pictures of a race": (5, pictures),
    "bytes of a live tick": (100, tick_bytes),
    "first paint of a panel": (2000, again("BoundaryLab('spirals')", TOLD, "its status line is there")),
    "first picture, spirals": (1500, again("BoundaryLab('spirals')", DRAWN, "its maps are drawn")),
    "first picture, a race": (1500, again("MethodRace()", DRAWN, "its maps are drawn")),
    "first picture, digits": (3000, again("DistillLab('digits')", DRAWN, "its maps are drawn")),
    "first picture, an image of digits": (3000, again("SampleLab()", DRAWN, "its maps are drawn")),
}


def spread(values: list[float]) -> dict[str, float]:
    """n, p50, p95 and the largest."""
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    told = {"p50": statistics.median(values), "p95": cuts[18], "worst": max(values)}
    return {"n": len(values)} | {name: round(value, 1) for name, value in told.items()}


def measure(name: str, lab: Lab, n: int) -> dict[str, Any]:
    """One entry of the file."""
    goal, how = MEASURED[name]
    load = os.getloadavg()[0]
    with browser() as context:
        found = how(Bench(lab, n), context)
    values, more = found if isinstance(found, tuple) else (found, {})
    entry = {"what": " ".join((how.__doc__ or "").split()), "goal": goal, "unit": "ms"} | spread(values) | more
    of_goal = entry["p95"] if entry["unit"] in ("ms", "kB") else entry["p50"]
    met = (of_goal >= goal) if entry["unit"] == "/s" else of_goal <= goal
    met = met and more.get("evaluations", {}).get("p95", 0) <= more.get("evaluations_goal", 0)
    return entry | {"met": bool(met), "load": [round(load, 1), round(os.getloadavg()[0], 1)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=40, help="of each measurement")
    parser.add_argument("--only", nargs="*", default=list(MEASURED), choices=list(MEASURED), metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    begun = time.time()
    kept = json.loads(args.out.read_text())["results"] if args.out.is_file() else {}
    results = {name: kept[name] for name in MEASURED if name in kept}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            lab = Lab(Path(folder) / f"lab-{args.only.index(name)}", OMP_NUM_THREADS="1")
            try:
                results[name] = measure(name, lab, args.n)
            except Exception as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            finally:
                lab.close()
            entry = results[name]
            words = "met" if entry["met"] else "MISSED"
            print(f"{name:40s} p50 {entry['p50']:8} p95 {entry['p95']:8} {entry['unit']:3s} {words}", flush=True)
            write(args.out, begun, results)


def write(out: Path, begun: float, results: dict[str, Any]) -> None:
    """After each measurement: what was measured before stays if the next one fails."""
    versions = {name: version(name) for name in ("jupyterlab", "ipykernel", "ipywidgets", "anywidget", "playwright")}
    write_result(
        out,
        begun,
        what=(__doc__ or "").splitlines()[0],
        shared="load: programs that wanted a core, before and after; above the cores, the numbers are too large",
        host=host(1) | {"clock": "wall", "page": versions},
        results={name: results[name] for name in MEASURED if name in results},
    )


if __name__ == "__main__":
    main()
