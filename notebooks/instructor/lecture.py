"""Write the script of a lecture by the minute, the sheet for the class, and the offline folder for laptops.

    python -m notebooks.instructor.lecture            # script.md and sheet.md from lecture.json
    python -m notebooks.instructor.lecture --measure  # lecture.json again: runs notebooks 00, 01, 02 and 05
    python -m notebooks.instructor.lecture --offline FOLDER  # each notebook as a page that needs no kernel

The numbers that a lecturer can expect are the truths of the notebooks' own predictions, read from their own cells.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent
sys.path.insert(0, str(NOTEBOOKS))  # exercises

NUMBERS = HERE / "lecture.json"
SKIPPED = ("%pip", "BoundaryLab(", "SampleLab(", "EmbeddingLab(", "DistillLab(", "MethodRace(", "Seeds(")


@dataclass(frozen=True)
class Step:
    """A few minutes of a lecture.

    Attributes:
        minutes: how long, in the lectures of 45 and of 90 minutes; 0 leaves it out.
        notebook: two digits. cell: id of the cell to run. asks: name of the prediction that it holds, if any.
        say: the sentence to say. wrong: the usual wrong answer, and what to reply.
        fallback: a picture of the repository for when the cell does not run.
        call: code for the cell below, if the lecturer types any.
    """

    minutes: tuple[int, int]
    notebook: str
    cell: str
    say: str
    wrong: str
    fallback: str
    asks: str = ""
    call: str = ""


STEPS = (
    Step(
        (5, 5),
        "00",
        "cell-03",
        "Four students, the same net, the same start, the same hundred points. Only the loss differs.",
        "The best student has the most parameters. Reply: all four have the same 370.",
        "notebooks/images/00.png",
    ),
    Step(
        (7, 7),
        "00",
        "cell-05",
        "The maps appear when everyone has chosen. Hands up for ce, kd, bss, amkd.",
        "kd, since it copies the teacher. Reply: it copies the teacher where the points are.",
        "docs/images/distill-lab.png",
        asks="00.map",
    ),
    Step(
        (0, 6),
        "00",
        "cell-09",
        "Inside out, outside in, or everywhere at once? Then move the slider slowly.",
        "From the inside out, as one draws a spiral. Reply: one straight cut already separates the outer arms.",
        "docs/images/distilling.gif",
        asks="00.epochs",
    ),
    Step(
        (6, 8),
        "01",
        "cell-08",
        "The student is wrong at these places. Is the teacher at least unsure there?",
        "Yes, mistakes are at the boundary. Reply: read the number; most of them are far from it.",
        "notebooks/images/01.png",
        asks="01.sure",
    ),
    Step(
        (6, 8),
        "01",
        "cell-11",
        "Come to the board, or click: where does the attack leave this point?",
        "On the nearest boundary. Reply: it follows the gradient at the start, and a step has a length.",
        "notebooks/images/01.png",
        asks="01.landing",
    ),
    Step(
        (0, 6),
        "01",
        "cell-17",
        "One control only: what does noise do to the two maps?",
        "More noise, less agreement. Reply: try it; the teacher gives up as well.",
        "docs/images/boundary-lab.png",
        call='panel.show(only=["noise"])',
    ),
    Step(
        (0, 10),
        "02",
        "build-1",
        "Five lines: write the step. The checker tells you whether sign, norm or gap is off.",
        "The norm of the whole batch. Reply: each image takes its own step.",
        "notebooks/images/02.png",
    ),
    Step(
        (8, 8),
        "02",
        "cell-14",
        "The published step size is 0.3. Here it is on pixels. How sure is the teacher where the walk ends?",
        "About 50 %, it stops at the boundary. Reply: it stops after the first step beyond it.",
        "notebooks/images/02.png",
        asks="02.trap",
    ),
    Step(
        (0, 12),
        "03",
        "circle-1",
        "Drag the negatives. When does one light up?",
        "When it is nearer than the positive. Reply: nearer than the positive plus the margin.",
        "notebooks/images/03.png",
    ),
    Step(
        (0, 8),
        "04",
        "cell-20",
        "Start, pause, double the margin, go on. What moves first?",
        "Accuracy. Reply: the loss, because the target moved.",
        "docs/images/distill-lab.png",
        call='panel.show(only=["margin"])',
    ),
    Step(
        (7, 7),
        "05",
        "cell-05",
        "Three seeds each. Which method wins, and would you bet on the same one with three other seeds?",
        "The last one in the list, since it is ours. Reply: read the interval.",
        "docs/images/method-race.png",
        asks="05.best",
    ),
    Step(
        (6, 5),
        "05",
        "seeds-1",
        "I draw seeds one by one. Say stop when you are sure.",
        "After two, if both agree. Reply: the interval of two seeds has 1 degree of freedom.",
        "notebooks/images/05.png",
    ),
)


class _Seen(Exception):
    """Raised to stop a notebook after the last prediction that is wanted."""


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def truths(path: Path, wanted: set[str]) -> dict[str, tuple[Any, str]]:
    """Run the cells of a notebook, without its panels, and return the truth and why of the predictions ``wanted``."""
    import exercises

    found: dict[str, tuple[Any, str]] = {}

    def predict(name: str, *result: Any) -> None:
        truth, why = exercises.questions()[name].answer(*result)
        found[name] = (truth if isinstance(truth, str) else _plain(truth)), why
        if wanted <= found.keys():
            raise _Seen

    space: dict[str, Any] = {"__name__": "lecture", "display": lambda *what: None}
    quiet = contextlib.redirect_stdout(io.StringIO())
    with TemporaryDirectory() as folder, _at(Path(folder)), quiet, contextlib.suppress(_Seen):
        for cell in nbformat.read(path, as_version=4).cells:
            code = cell.source.replace("    %pip install --quiet ..\n", "    pass\n")
            if cell.cell_type == "code" and not any(word in code for word in SKIPPED):
                exec(compile(code, f"{path.name}:{cell.id}", "exec"), space)
                space["predict"] = predict
    return {name: found[name] for name in sorted(wanted)}


def _plain(truth: Any) -> Any:
    return [round(float(v), 2) for v in truth] if isinstance(truth, tuple) else round(float(truth), 2)


def measured(notebooks: set[str] | None = None) -> dict[str, tuple[Any, str]]:
    """Return the truth of each prediction of the lecture, by running its notebooks."""
    found: dict[str, tuple[Any, str]] = {}
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        wanted = {step.asks for step in STEPS if step.asks.startswith(f"{path.name[:2]}.")}
        if wanted and (notebooks is None or path.name[:2] in notebooks):
            found |= truths(path, wanted)
    return found


def script(numbers: dict[str, Any]) -> str:
    """Return the lectures of 45 and of 90 minutes as Markdown."""
    from exercises import questions

    parts = [HEAD]
    for which, length in enumerate((45, 90)):
        parts.append(f"## {length} minutes\n")
        now = 0
        for step in STEPS:
            if not step.minutes[which]:
                continue
            end = now + step.minutes[which]
            path = next(NOTEBOOKS.glob(f"{step.notebook}_*.ipynb"))
            heading, code = _place(path, step.cell)
            parts.append(f"### {now} to {end}: notebook {step.notebook}, {heading}\n")
            parts.append(f"- Run the cell `{code}` of [{path.name}](../{path.name}). Say: *{step.say}*")
            if step.call:
                parts.append(f"- Type in a new cell: `{step.call}`")
            if step.asks:
                truth, why = numbers[step.asks]
                asked = questions()[step.asks]
                words = (
                    truth if isinstance(truth, str) else f"{truth}{asked.unit}" if not asked.of else f"{tuple(truth)}"
                )
                parts.append(f'- Expect: **{words}** for "{asked.text}" {why}')
            parts.append(f"- Usual wrong answer: {step.wrong}")
            parts.append(f"- If the cell fails: show `{step.fallback}`.\n")
            now = end
        rest = length - now
        parts.append(f"{rest} minutes are left for questions.\n" if rest else "")
    return "\n".join(parts).rstrip() + "\n"


def _place(path: Path, wanted: str) -> tuple[str, str]:
    """Return the heading above a cell, and the cell's first line: JupyterLab shows no names of cells."""
    heading = ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.id == wanted:
            return heading, cell.source.partition("\n")[0]
        titles = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        heading = titles[-1] if titles else heading
    raise ValueError(f"{path.name} has no cell {wanted}.")


HEAD = """# Script by the minute

Made by `python -m notebooks.instructor.lecture` from the notebooks' own cells. The numbers are from one run on a CPU
with AVX-512; another processor rounds differently, and a word may be another one where two methods are close. The AMKD
loss is our reading of a public abstract. What to prepare, and what to do when something fails, is in the
[lecture plan](lecture_plan.md).
"""


def sheet() -> str:
    """Return the sheet that a class fills in: one line per prediction of the lecture."""
    from exercises import questions

    lines = ["# Predictions", "", "Write yours down before the result appears.", "", "| | my prediction | result |"]
    lines.append("| --- | --- | --- |")
    for step in STEPS:
        if step.asks:
            asked = questions()[step.asks]
            words = " / ".join(asked.choices) or (asked.unit.strip() if not asked.of else "a cross on the map")
            lines.append(f"| {step.asks} {asked.text} ({words}) | | |")
    return "\n".join(lines) + "\n"


def offline(folder: Path) -> list[Path]:
    """Execute every notebook and write it as one HTML page, results shown; no page needs a kernel."""
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    from amkd_viz.core.files import claim, write_atomic

    claim(folder)
    os.environ["AMKD_REVEAL"] = "1"
    written = []
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with TemporaryDirectory() as work:
            (Path(work) / "exercises").symlink_to(NOTEBOOKS / "exercises")
            (Path(work) / "images").symlink_to(NOTEBOOKS / "images")
            resources = {"metadata": {"path": work}}
            NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
            page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook, resources)
        written.append(write_atomic(folder / f"{path.stem}.html", page))
    return written


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--measure", action="store_true", help="run the notebooks and write lecture.json again")
    parser.add_argument("--offline", type=Path, metavar="FOLDER", help="a new folder for one page per notebook")
    chosen = parser.parse_args(words)
    if chosen.offline:
        print(*offline(chosen.offline), sep="\n")
        return
    if chosen.measure:
        NUMBERS.write_text(json.dumps(measured(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (HERE / "script.md").write_text(script(json.loads(NUMBERS.read_text(encoding="utf-8"))), encoding="utf-8")
    (HERE / "sheet.md").write_text(sheet(), encoding="utf-8")


if __name__ == "__main__":
    main()
