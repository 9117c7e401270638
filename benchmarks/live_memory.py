"""How much memory an hour of live pictures takes: DistillLab in a real page, the kernel's and the page's.

    python -m benchmarks.live_memory [--ticks 2900]

A training on digits with maps, joint layout, curves and log. The panel draws at most every 0.3 s and for 4 % of the
time, which makes some 2,900 pictures an hour; here they follow each other as fast as they can.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.lab import Lab, browser

from .students import write_result
from .timing import host

GOAL = 50  # MB
SET_UP = """
import gc, json, os
from amkd_viz.panels import DistillLab
from amkd_viz.panels.live import DutyCycle, Pulse
p = DistillLab('digits')
p
"""
FAST = """
p.set(epochs=1000, num_train=1000, batch_size=16, learning_rate=0.01); p.wait()
p.start()
p._duty = DutyCycle(share=1.0, least=0.0)
p._pulse.stop(); p._pulse = Pulse(p._beat, 0.02)
drawn, draw = [0], p.pictures.draw
def counted(*about):
    draw(*about); drawn[0] += 1
p.pictures.draw = counted
"""
LOOK = """
gc.collect()
pages = int(open('/proc/self/statm').read().split()[1])
print(json.dumps([drawn[0], p.state, pages * os.sysconf('SC_PAGE_SIZE') / 1e6]))
"""


def measure(lab: Lab, ticks: int) -> list[dict[str, Any]]:
    """Rows of pictures drawn, MB of the kernel, MB of the page's heap."""
    rows: list[dict[str, Any]] = []
    with browser() as context:
        notebook = lab.open(context, lab.write("hour.ipynb", SET_UP))
        notebook.run()
        notebook.settled(seconds=300)
        session = context.new_cdp_session(notebook.page)
        notebook.ask(FAST)
        while not rows or rows[-1]["ticks"] < ticks:
            notebook.page.wait_for_timeout(10_000)
            drawn, state, kernel = notebook.ask(LOOK)
            session.send("HeapProfiler.collectGarbage")
            page = notebook.page.evaluate("performance.memory.usedJSHeapSize") / 1e6
            seen = int(notebook.page.evaluate("document.querySelector('.amkd-maps').dataset.drawn"))
            rows.append({"ticks": drawn, "in page": seen, "kernel": round(kernel, 1), "page": round(page, 1)})
            print(rows[-1], flush=True)
            if state != "running":
                raise SystemExit(f"The training is {state} after {drawn} pictures; give it more epochs.")
        notebook.ask("p.stop(); p.close()")
    return rows


def growth(rows: list[dict[str, Any]], what: str) -> float:
    """MB from the first tenth of the rows after the warm-up to the last tenth."""
    rows = rows[len(rows) // 20 + 1 :]
    few = max(1, len(rows) // 10)
    first, last = (statistics.median(row[what] for row in part) for part in (rows[:few], rows[-few:]))
    return round(last - first, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=2900)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/live_memory.json"))
    args = parser.parse_args()
    begun = time.time()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "lab", OMP_NUM_THREADS="1")
        try:
            rows = measure(lab, args.ticks)
        finally:
            lab.close()
    grown = {what: growth(rows, what) for what in ("kernel", "page")}
    met = max(grown.values()) < GOAL
    write_result(args.out, begun, what=__doc__, host=host(1), unit="MB", goal=GOAL, met=met, grown=grown, rows=rows)
    print(f"grown by {grown['kernel']} MB in the kernel and {grown['page']} MB in the page (goal {GOAL})")


if __name__ == "__main__":
    main()
