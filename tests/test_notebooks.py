"""Every notebook runs from top to bottom in JupyterLab, its exercises answered, and is committed without outputs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

import amkd_viz
from exercises import exercises
from notebooks.instructor.twins import twin
from tests.lab import Lab, browser, chromium

FOLDER = Path(__file__).parent.parent / "notebooks"
LESSONS = sorted(FOLDER.glob("[0-9]*.ipynb"))
CHECK = re.compile(r'^check\("(.*?)", \.\.\.\)$', re.MULTILINE)
FIGURE = re.compile(
    r"(?m)^(boundary_map|epochs|curves|compare|gallery|boundary_path|plane_map|triplets|distances|embedding)\("
)
PANEL = re.compile(r"\b(BoundaryLab|SampleLab|EmbeddingLab|DistillLab|MethodRace)\(")
VERDICTS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === "code" && (cell.model.getMetadata("tags") ?? []).includes("answer"))
    .map(cell => {
        const last = cell.model.outputs.get(cell.model.outputs.length - 1);
        return last?.data?.["text/plain"] ?? "no result";
    })"""
lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def answers() -> dict[str, str]:
    """Exercise -> the code that replaces its cell."""
    text = (FOLDER / "instructor" / "answers.md").read_text(encoding="utf-8")
    found = re.findall(r"^### (\d\d\.[a-c])$.*?^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```python")
    return dict(found)


@lessons
def test_committed_without_outputs(path: Path) -> None:
    code = code_of(nbformat.read(path, as_version=4))
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_each_exercise_is_in_its_notebook_and_has_an_answer() -> None:
    asked = {path: CHECK.findall("\n".join(c.source for c in code_of(nbformat.read(path, 4)))) for path in LESSONS}
    assert [name for names in asked.values() for name in names] == list(exercises()) == list(answers())
    assert all(name[:2] == path.name[:2] for path, names in asked.items() for name in names)


@lessons
def test_a_twin_has_the_code_and_the_headings(path: Path) -> None:
    whole, clean = nbformat.read(path, as_version=4), twin(path)
    assert [cell.source for cell in code_of(clean)] == [cell.source for cell in code_of(whole)]
    prose = [line for cell in clean.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert prose
    assert all(line.startswith("#") for line in prose)
    nbformat.validate(clean)


def answered(path: Path) -> nbformat.NotebookNode:
    """The notebook, each exercise followed by a cell that answers it."""
    notebook, solved = nbformat.read(path, as_version=4), answers()
    cells = []
    for cell in notebook.cells:
        names = CHECK.findall(cell.source)
        cells += [cell, *(nbformat.v4.new_code_cell(solved[n], metadata={"tags": ["answer"]}) for n in names)]
    notebook.cells = cells
    return notebook


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Any]]:
    """JupyterLab and a browser on a copy of notebooks/ with its exercises answered, and a cache of trained examples."""
    folder = tmp_path_factory.mktemp("copy") / "notebooks"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("runs", "my-*", "sessions"))
    for path in LESSONS:
        nbformat.write(answered(path), folder / path.name)
    for problem, methods in {"spirals": ("ce", "kd", "bss", "amkd"), "digits": ("kd", "amkd")}.items():
        for method in methods:
            amkd_viz.example(problem, method)
    whole = folder / ".settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    whole.parent.mkdir(parents=True)
    whole.write_text(json.dumps({"windowingMode": "none", "autosave": False}))  # all cells in the page, to be counted
    lab = Lab(folder, OMP_NUM_THREADS="1")
    try:
        with browser() as context:
            yield lab, context
    finally:
        lab.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
@lessons
def test_restart_and_run_all(path: Path, lab: tuple[Lab, Any]) -> None:
    """In a real JupyterLab: no cell fails or warns, each answer is right, every figure and every panel is drawn."""
    server, context = lab
    code = [cell.source for cell in code_of(nbformat.read(path, as_version=4))]
    figures, panels = (sum(bool(kind.search(cell)) for cell in code) for kind in (FIGURE, PANEL))
    notebook = server.open(context, path.name)
    page = notebook.page
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_timeout(1000)
    notebook.idle(600)
    page.wait_for_function(
        f"() => document.querySelectorAll('.jp-OutputArea .js-plotly-plot .main-svg').length >= {figures}",
        timeout=60_000,
    )
    notebook.until(lambda: page.locator(".jp-OutputArea .amkd-panel").count() == panels)
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").all_inner_texts() == []
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts() == []
    for number in range(panels):
        notebook.settled(panel=number, seconds=300)
        pictures = page.locator(".jp-OutputArea .amkd-panel").nth(number).locator("canvas, svg, img")
        notebook.until(pictures.count)
    assert page.evaluate("() => [...document.querySelectorAll('.jp-MarkdownOutput img')].every(i => i.naturalWidth)")
    assert notebook.errors == []
    verdicts = page.evaluate(VERDICTS)
    assert len(verdicts) == len(CHECK.findall("\n".join(code)))
    assert [text for text in verdicts if not text.startswith("Right: ")] == []
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()
