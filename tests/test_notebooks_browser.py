""" "Restart and run all" in a real JupyterLab: every figure and every panel of every notebook is drawn."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.lab import Lab, browser, chromium

LESSONS = sorted((Path(__file__).parent.parent / "notebooks").glob("[0-9]*.ipynb"))
FIGURE = re.compile(
    r"(?m)^(boundary_map|epochs|curves|compare|gallery|boundary_path|plane_map|triplets|distances|embedding)\("
)
PANEL = re.compile(r"\b(BoundaryLab|SampleLab|EmbeddingLab|DistillLab|MethodRace)\(")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium"),
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Any]]:
    folder = tmp_path_factory.mktemp("lessons")
    lab = Lab(folder, OMP_NUM_THREADS="1")
    try:
        whole = folder / ".settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(json.dumps({"windowingMode": "none"}))  # cells out of sight stay in the page, to be counted
        for path in LESSONS:
            shutil.copy(path, folder)
        for name in ("images", "exercises"):
            shutil.copytree(LESSONS[0].parent / name, folder / name)
        with browser() as context:
            yield lab, context
    finally:
        lab.close()


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_restart_and_run_all(path: Path, opened: tuple[Lab, Any]) -> None:
    lab, context = opened
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    figures, panels = (sum(bool(kind.search(cell)) for cell in code) for kind in (FIGURE, PANEL))
    notebook = lab.open(context, path.name)
    page = notebook.page
    notebook.restart()
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_timeout(1000)
    notebook.idle(600)
    page.wait_for_function(
        f"() => document.querySelectorAll('.jp-OutputArea .js-plotly-plot .main-svg').length >= {figures}",
        timeout=60_000,
    )
    notebook.until(lambda: page.locator(".jp-OutputArea .amkd-panel").count() == panels)
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    for number in range(panels):
        notebook.settled(panel=number, seconds=300)
        pictures = page.locator(".jp-OutputArea .amkd-panel").nth(number).locator("canvas, svg, img")
        notebook.until(pictures.count)
    assert page.evaluate("() => [...document.querySelectorAll('.jp-MarkdownOutput img')].every(i => i.naturalWidth)")
    assert notebook.errors == []
    page.close()
