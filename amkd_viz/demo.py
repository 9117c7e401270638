"""The demo: the whole workflow in three minutes on two CPU cores."""

from __future__ import annotations

from pathlib import Path

from amkd_viz.core.files import check_writable, claim
from amkd_viz.progress import Progress
from amkd_viz.runs import compare, format_table, reading, table
from amkd_viz.training import DIGITS, SPIRALS
from amkd_viz.views.report import write_report

__all__ = ["DIGITS", "METHODS", "SPIRALS", "run_demo"]

METHODS = ("ce", "kd", "bss", "amkd")


def run_demo(out: Path, seeds: int) -> Path:
    """Train, print the table, write ``out/report.html`` and return its path.

    Args:
        out: a new or empty folder.
        seeds: number of students per method on the digits, >= 1; the 2-D problem has one.

    Raises:
        InputError: the folder is not empty, or ``seeds`` is below 1.
    """
    check_writable(claim(out))
    with Progress(len(METHODS) * (DIGITS.epochs * max(seeds, 0) + SPIRALS.epochs)) as progress:
        digits = compare(DIGITS, METHODS, seeds, out / "digits", listen=progress)
        spirals = compare(SPIRALS, METHODS, 1, out / "spirals", listen=progress)
    rows = table(digits + spirals)
    print("\n".join(["", format_table(rows), "", *reading(table(digits))]))
    print("MagSim, AngSim: 1 if the student's boundary is as far as the teacher's, and in the same direction.")
    print("The AMKD loss is our reading of a public abstract.")
    print("\nDrawing the report ...", flush=True)
    path = write_report(digits + spirals, out / "report.html")
    print(f"The report is {path}: open it in a browser.")
    return path
