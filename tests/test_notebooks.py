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
from amkd_viz import Recipe
from amkd_viz.core.errors import InputError
from amkd_viz.panels import BoundaryLab, DistillLab
from amkd_viz.runs import Job
from amkd_viz.training import DIGITS
from exercises import exercises, questions
from notebooks.instructor import lecture
from notebooks.instructor.twins import twin
from tests.lab import Lab, browser, chromium
from tests.test_stills import ERROR, html_of

FOLDER = Path(__file__).parent.parent / "notebooks"
LESSONS = sorted(FOLDER.glob("[0-9]*.ipynb"))
CHECK = re.compile(r'^check\("(.*?)", (?:\.\.\.|.*\bmy_\w+\)?)\)$', re.MULTILINE)
ASKS = re.compile(r"^\*\*(?:Exercise )?([a-d])\.\*\*", re.MULTILINE)  # an exercise, in the text above its cell
ASKED = re.compile(r'\bpredict\(\s*"(.*?)"')
VIEWS = "boundary_map|epochs|curves|compare|gallery|boundary_path|plane_map|triplets|distances|embedding"
VIEWS += "|capacity_gap|ridge_generations|generations|which_student|class_correlations"
FIGURE = re.compile(rf'^\s*(?:predict\(".*?", )?(?:{VIEWS})\(', re.MULTILINE)
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
    found = re.findall(r"^### (\d\d\.[a-d])$.*?^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```python")
    return dict(found)


@lessons
def test_committed_without_outputs(path: Path) -> None:
    code = code_of(nbformat.read(path, as_version=4))
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_each_exercise_is_in_its_notebook_and_has_an_answer() -> None:
    for kind, known in ((CHECK, exercises()), (ASKED, questions())):
        asked = {path: kind.findall("\n".join(c.source for c in code_of(nbformat.read(path, 4)))) for path in LESSONS}
        assert sorted(name for names in asked.values() for name in names) == list(known)
        assert all(name[:2] == path.name[:2] for path, names in asked.items() for name in names)
    assert list(answers()) == list(exercises())


@lessons
def test_exercises_and_their_questions_come_in_the_order_of_their_letters(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    letters = [m[1][3:] for cell in cells if cell.cell_type == "code" for m in CHECK.finditer(cell.source)]
    asked = [m[1] for cell in cells if cell.cell_type == "markdown" for m in ASKS.finditer(cell.source)]
    assert letters == asked == sorted(letters)


@lessons
def test_a_twin_has_the_code_the_headings_and_the_questions(path: Path) -> None:
    whole, clean = nbformat.read(path, as_version=4), twin(path)
    assert [cell.source for cell in code_of(clean)] == [cell.source for cell in code_of(whole)]
    prose = [line for cell in clean.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert prose
    assert all(line.startswith(("#", "**What will happen?**", "**Exercise ")) for line in prose if line)
    asked = sum(cell.source.count("**What will happen?**") for cell in whole.cells)
    assert sum(line.startswith("**What will happen?**") for line in prose) == asked
    nbformat.validate(clean)


def test_the_lecture_is_written_from_its_numbers_and_fits_its_time() -> None:
    numbers = json.loads(lecture.NUMBERS.read_text(encoding="utf-8"))
    assert (lecture.HERE / "script.md").read_text(encoding="utf-8") == lecture.script(numbers)
    assert (lecture.HERE / "sheet.md").read_text(encoding="utf-8") == lecture.sheet()
    for which, length in enumerate((45, 90)):
        assert length - 5 <= sum(step.minutes[which] for step in lecture.STEPS) <= length
    for step in lecture.STEPS:
        cells = {c.id: c.source for p in LESSONS if p.name[:2] == step.notebook for c in nbformat.read(p, 4).cells}
        assert f'predict("{step.asks}"' in " ".join(cells[step.cell].split()).replace("( ", "(") or not step.asks
        assert "panel" in cells[step.cell] or not step.call
        assert (FOLDER.parent / step.fallback).exists()


@pytest.mark.slow
def test_the_numbers_of_the_lecture_are_those_of_the_notebooks() -> None:
    """Of those that take seconds; another processor rounds differently, so a number may be some points off."""
    numbers = json.loads(lecture.NUMBERS.read_text(encoding="utf-8"))
    for name, (truth, why) in lecture.measured({"00", "01"}).items():
        if name != "00.map":  # a word between two that are a tenth of a point apart
            assert (
                truth == numbers[name][0] if isinstance(truth, str) else truth == pytest.approx(numbers[name][0], abs=8)
            )
        found, expected = (list(map(float, re.findall(r"\d+\.\d+", text))) for text in (why, numbers[name][1]))
        assert sorted(found) == pytest.approx(sorted(expected), abs=3)


@pytest.mark.slow
def test_what_a_lecturer_types_hides_all_but_one_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(dataset="moons", teacher="mlp", student="mlp-tiny", method="amkd", epochs=2, teacher_epochs=1)
    panels = {"01": BoundaryLab("moons"), "04": DistillLab(recipe)}
    expected = {"01": ["noise"], "04": ["boundary_triplet.margin"]}
    try:
        for step in lecture.STEPS:
            if step.call:
                panel = panels[step.notebook]
                name = re.fullmatch(r'panel\.show\(only=\["(\w+)"\]\)', step.call)[1]  # type: ignore[index]
                panel.show(only=[name])
                shown = [k for k, control in panel.controls.items() if control.layout.display != "none"]
                assert shown == expected[step.notebook]
                panel.show()
                assert len([c for c in panel.controls.values() if c.layout.display != "none"]) > 5
    finally:
        for panel in panels.values():
            panel.close()


@pytest.mark.slow
def test_the_student_that_is_steered_works_and_shows_the_change(tmp_path: Path) -> None:
    """Notebook 04: a training in which a doubled margin is recognised, and that is worth steering."""
    path = next(path for path in LESSONS if path.name.startswith("04"))
    (line,) = [
        line
        for cell in code_of(nbformat.read(path, as_version=4))
        for line in cell.source.splitlines()
        if line.startswith("recipe = ")
    ]
    space: dict[str, Any] = {"DIGITS": DIGITS}
    exec(line, space)
    job = Job(space["recipe"], tmp_path / "run")
    for _ in range(20):
        job.step_epoch()
        job.settle()
    job.set(**{"boundary_triplet.margin": 2.0})
    job.resume()
    job.settle()
    assert job.run is not None
    assert questions()["04.margin"].answer(None, job.run)[0] == "it jumps up"
    assert job.run.summary["test_accuracy"] > 0.8


@pytest.mark.slow
def test_an_offline_page_has_results_and_pictures_and_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = tmp_path / "lesson"
    shutil.copytree(FOLDER / "images", lesson / "images")
    (lesson / "exercises").mkdir()
    cells = [nbformat.v4.new_markdown_cell("![Spirals](images/00.png)"), nbformat.v4.new_code_cell("print(6 * 7)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lesson / "00_short.ipynb")
    monkeypatch.setattr(lecture, "NOTEBOOKS", lesson)
    monkeypatch.setenv("AMKD_REVEAL", "")
    (page,) = lecture.offline(tmp_path / "pages")
    text = page.read_text(encoding="utf-8")
    assert "<pre>42" in text
    assert re.findall(r'<img[^>]*src="([^"]{0,10})', text) == ["data:image"]
    with pytest.raises(InputError, match="never overwritten"):
        lecture.offline(tmp_path / "pages")


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


# Whether JupyterLab has put the picture of every figure into the notebook that it saves.
PAINTED = """() => {
    const cells = window.jupyterapp.shell.currentWidget.context.model.toJSON().cells;
    const outputs = cells.flatMap((cell) => (cell.outputs || []).map((output) => output.data || {}));
    return outputs.every((data) => !("application/vnd.plotly.v1+json" in data) || "image/png" in data);
}"""


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
    asked = page.locator(".jp-OutputArea .amkd-guess")
    assert asked.count() == len(ASKED.findall("\n".join(code)))
    for number in range(asked.count()):  # nothing is shown before a prediction is locked
        guess = asked.nth(number)
        result = guess.locator("xpath=ancestor::*[contains(@class, 'jp-OutputArea')][1]/ancestor::*[1]")
        assert result.locator(".js-plotly-plot").count() == 0
        if guess.locator("canvas").count():
            guess.locator("canvas").first.click()
        guess.locator("button:enabled").last.click()
        guess.get_by_text(re.compile("Right: |You predicted|Your place")).wait_for()
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
    page.wait_for_function(f"() => document.querySelectorAll('.amkd-still img').length === {panels}")
    page.wait_for_function(PAINTED, timeout=120_000)  # on a busy machine the last figure is still being painted
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()

    saved = nbformat.read(server.folder / path.name, as_version=4)
    outputs = [output.get("data", {}) for cell in code_of(saved) for output in cell.outputs]
    drawn = sum("application/vnd.plotly.v1+json" in data for data in outputs)  # also of a cell that ends with a name
    assert drawn >= figures
    notebook = server.open(context, path.name)  # as a reader without that kernel
    notebook.until(lambda: pictures_in(notebook.page) == (drawn, panels))
    assert notebook.page.get_by_text(ERROR).locator("visible=true").count() == 0
    notebook.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    notebook.page.close()

    page = context.new_page()
    page.set_content(html_of(server.folder / path.name), wait_until="domcontentloaded")  # nothing is fetched
    assert pictures_in(page) == (drawn, panels)
    assert page.get_by_text(ERROR).count() == 0
    page.close()


def pictures_in(page: Any) -> tuple[int, int]:
    """The visible pictures of figures and of panels."""
    page.evaluate("() => Promise.all([...document.images].map((image) => image.decode().catch(() => null)))")
    kinds = (".plot-img, .jp-RenderedImage img", ".amkd-still img")  # the first of JupyterLab and of nbconvert
    figures, panels = (page.locator(kind).locator("visible=true").count() for kind in kinds)
    return figures, panels
