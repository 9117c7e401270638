"""The main job, small enough for two cores and three minutes."""

from __future__ import annotations

from pathlib import Path

from amkd_viz.progress import Progress
from amkd_viz.training import Recipe, compare, format_table, reading, table
from amkd_viz.training.run import refuse_used
from amkd_viz.views.report import write_report

__all__ = ["DIGITS", "METHODS", "SPIRALS", "run_demo"]

METHODS = ("ce", "kd", "bss", "amkd")

# Few labelled images and many epochs: where there is plenty of data, students hardly need a teacher.
DIGITS = Recipe(
    dataset="digits",
    teacher="cnn",
    student="cnn-small",
    epochs=200,
    limit_train=100,
    batch_size=50,
    attacked=16,
    teacher_epochs=15,
    evaluate_every=5,
)
SPIRALS = Recipe(
    dataset="spirals",
    teacher="mlp",
    student="mlp-small",
    epochs=60,
    limit_train=100,
    batch_size=50,
    attacked=16,
    rule="paper",  # the published step is as long as the logit gap: out of a 2-D picture at once
    step_size=1.05,
    attack_steps=20,
    teacher_epochs=60,
    evaluate_every=5,
)


def run_demo(out: Path, seeds: int) -> Path:
    """Train, print the table, write ``out/report.html``; returns its path.

    Args:
        out: a new or empty folder.
        seeds: >= 1 students per method on the digits; the 2-D problem is drawn with one.

    Raises:
        InputError: the folder holds something, or seeds < 1.
    """
    refuse_used(out)
    with Progress(len(METHODS) * (DIGITS.epochs * max(seeds, 0) + SPIRALS.epochs)) as progress:
        digits = compare(DIGITS, METHODS, seeds, out / "digits", listen=progress)
        spirals = compare(SPIRALS, METHODS, 1, out / "spirals", listen=progress)
    rows = table(digits + spirals)
    print("\n".join(["", format_table(rows), "", *reading(table(digits))]))
    print("MagSim, AngSim: 1 where the student's boundary lies as far as the teacher's, and in the same direction.")
    print("The AMKD loss is our reading of a public abstract.")
    print("\nDrawing the report ...", flush=True)
    path = write_report(digits + spirals, out / "report.html")
    print(f"The report is {path}: open it in a browser.")
    return path
