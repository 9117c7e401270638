"""The demo: the whole workflow on two CPU cores, in about three minutes where they are quiet."""

from __future__ import annotations

from pathlib import Path

from amkd_viz.core.errors import InputError
from amkd_viz.progress import Progress
from amkd_viz.runs import cells, format_table, reading, table, train_cells
from amkd_viz.training import DIGITS, SPIRALS
from amkd_viz.views.report import write_report

__all__ = ["DIGITS", "METHODS", "SPIRALS", "run_demo"]

METHODS = ("ce", "kd", "bss", "amkd")
SPIRALS_SEEDS = 8  # at most
# The published weights are for 50,000 labelled images; with 50, the students learn more from a heavier teacher.
FACTOR = 8
HEAVY = {"kd.scale": FACTOR, "boundary_kd.scale": FACTOR}


def run_demo(out: Path, seeds: int, jobs: int | None = None) -> Path:
    """Train, print the tables, write ``out/report.html`` and return its path.

    Args:
        out: a new folder, or that of a demo that was stopped, which then goes on.
        seeds: number of students per method on the digits, >= 1; the 2-D problem has at most 8.
        jobs: see ``train_cells``.

    Raises:
        InputError: the folder holds something else, or ``seeds`` is below 1; or see ``train_cells``.
    """
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}.")
    heavy = f"digits-weights-x{FACTOR}"
    parts = {
        "digits": cells(DIGITS, method=METHODS, seed=range(seeds)),
        heavy: cells(DIGITS, HEAVY, method=METHODS[1:3], seed=range(seeds)),
        "spirals": cells(SPIRALS, method=METHODS, seed=range(min(seeds, SPIRALS_SEEDS))),
    }
    named = {f"{part}/{name}": recipe for part, own in parts.items() for name, recipe in own.items()}
    with Progress() as progress:
        runs = train_cells(named, out, jobs=jobs, listen=progress)
    of = {part: [run for run in runs if run.path.parent.name == part] for part in parts}
    digits, tuned, spirals = (table(own) for own in of.values())
    print(
        f"\nWith {DIGITS.num_train} labelled images, and the published weights of the terms:\n{format_table(digits)}\n"
    )
    print("\n".join(reading(digits)))
    print(f"\nThe same, with {FACTOR} times the weight of all terms that read the teacher:\n{format_table(tuned)}\n")
    print("\n".join(reading(tuned)))
    print(f"\nA 2-D problem, whose boundary can be drawn:\n{format_table(spirals)}\n")
    print("\n".join(reading(spirals)))
    print("\nMagSim, AngSim: 1 if the student's boundary is as far as the teacher's, and in the same direction.")
    print("\nDrawing the report ...", flush=True)
    path = write_report(runs, out / "report.html")
    print(f"The report is {path}: open it in a browser.")
    return path
