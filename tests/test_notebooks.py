"""Every notebook runs from top to bottom, with its exercises answered too, and is committed without outputs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import amkd_viz
from exercises import exercises
from notebooks.instructor.twins import twin

FOLDER = Path(__file__).parent.parent / "notebooks"
LESSONS = sorted(FOLDER.glob("[0-9]*.ipynb"))
CHECK = re.compile(r'^check\("(.*?)", \.\.\.\)$', re.MULTILINE)
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of notebooks/ to run in, and a cache that holds the trained examples."""
    folder = tmp_path_factory.mktemp("copy") / "notebooks"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("runs", "my-*", "sessions"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # the nets are tiny, and other tests run beside this one
        for problem, methods in {"spirals": ("ce", "kd", "bss", "amkd"), "digits": ("kd", "amkd")}.items():
            for method in methods:
                amkd_viz.example(problem, method)
        yield folder


@pytest.mark.slow
@lessons
def test_runs_as_it_is_and_with_its_exercises_answered(path: Path, folder: Path) -> None:
    notebook, solved = nbformat.read(path, as_version=4), answers()
    cells, given = [], []
    for cell in notebook.cells:
        cells.append(cell)
        for name in CHECK.findall(cell.source):
            cells.append(nbformat.v4.new_code_cell(solved[name]))  # right after the question, in the same kernel
            given.append(cells[-1])
    notebook.cells = cells
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    assert outputs
    assert [o for o in outputs if o.output_type == "error"] == []
    assert [o.text for o in outputs if o.get("name") == "stderr"] == []
    assert "Warning" not in "".join(o.text for o in outputs if o.get("name") == "stdout")
    verdicts = [cell.outputs[-1].data["text/plain"] for cell in given]
    assert [text for text in verdicts if not text.startswith("Right: ")] == []
