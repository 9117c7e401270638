"""Every notebook runs from top to bottom, with its exercises answered too, and is committed without outputs."""

from __future__ import annotations

import importlib.util
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import amkd_viz
from amkd_viz.exercises import exercises

FOLDER = Path(__file__).parent.parent / "notebooks"
LESSONS = sorted(FOLDER.glob("[0-9]*.ipynb"))
NOTEBOOKS = sorted(FOLDER.rglob("*.ipynb"))
SECONDS = 60  # of one core, for a notebook with its exercises answered


def cells(path: Path, kind: str = "code") -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def answers() -> dict[str, str]:
    """Exercise -> the code that takes the place of its cell."""
    text = (FOLDER / "instructor" / "answers.md").read_text(encoding="utf-8")
    found = re.findall(r"^### (\d\d\.[a-c])$.*?^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```python")
    return dict(found)


def asked(path: Path) -> list[str]:
    """Exercises of a notebook, in its order."""
    return [
        name for cell in cells(path) for name in re.findall(r'^check\("(.*?)", \.\.\.\)$', cell.source, re.MULTILINE)
    ]


def test_there_are_seven_lessons() -> None:
    assert [path.name[:2] for path in LESSONS] == [f"{n:02d}" for n in range(7)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_committed_without_outputs(path: Path) -> None:
    code = cells(path)
    assert code
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert [cell.execution_count for cell in code] == [None] * len(code)


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_teaches_as_the_others_do(path: Path) -> None:
    prose = [cell.source for cell in cells(path, "markdown")]
    assert len(prose) + len(cells(path)) <= 40
    assert re.match(r"# .*\?\n", prose[0]), "the question comes first"
    whole = "\n\n".join(prose)
    for needed in ("**What will happen?**", "## What can mislead you here", "## Exercises", "## What to read next"):
        assert needed in whole, needed
    for paragraph in whole.split("\n\n"):
        assert len(paragraph.split()) <= 90 or paragraph.startswith(("- ", "|", "1.")), paragraph
    assert "our reading of a public abstract" in whole or "AMKD" not in whole
    first = cells(path)[0].source
    assert first.startswith("try:\n    import amkd_viz\nexcept ImportError:")


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_cell_holds_no_logic(path: Path) -> None:
    for cell in cells(path)[1:]:
        assert not re.search(r"^\s*(def|class|while|if|with|lambda)\b", cell.source, re.MULTILINE), cell.source
        assert len(cell.source.splitlines()) <= 16, cell.source


def test_each_exercise_stands_in_its_notebook_and_has_an_answer() -> None:
    assert [name for path in LESSONS for name in asked(path)] == list(exercises())
    assert list(answers()) == list(exercises())
    for path in LESSONS:
        assert {name[:2] for name in asked(path)} == {path.name[:2]}


def test_the_clean_twins_are_up_to_date() -> None:
    where = FOLDER / "instructor" / "make.py"
    spec = importlib.util.spec_from_file_location("make_twins", where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.twins()
    assert sorted(made) == sorted((where.parent / "clean").glob("*.ipynb"))
    stale = [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run python notebooks/instructor/make.py"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With the examples in it: they are trained once, by whoever asks first, and the first notebook is not the one."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMKD_VIZ_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")  # the nets are tiny, and other tests run beside this one
        for method in ("ce", "kd", "bss", "amkd"):
            amkd_viz.example("spirals", method)
        for method in ("kd", "amkd"):
            amkd_viz.example("digits", method)
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_runs_as_it_is_and_with_its_exercises_answered(path: Path, tmp_path: Path, cache: Path) -> None:
    notebook, solved = nbformat.read(path, as_version=4), answers()
    code, given = [], []
    for cell in notebook.cells:
        code.append(cell)
        for name in re.findall(r'^check\("(.*?)", \.\.\.\)$', cell.source, re.MULTILINE):
            code.append(nbformat.v4.new_code_cell(solved[name]))  # right after the question, in the same kernel
            given.append(code[-1])
    notebook.cells = code
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs
    assert [o.text for o in outputs if o.get("name") == "stderr"] == []
    assert [o for o in outputs if o.output_type == "error"] == []
    assert "Warning" not in "".join(o.text for o in outputs if o.get("name") == "stdout")
    said = [cell.outputs[-1].data["text/plain"] for cell in given]
    assert [text for text in said if not text.startswith("Right: ")] == []
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    assert used < SECONDS, f"{used:.0f} s of a core"
