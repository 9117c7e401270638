"""The docs build without a warning, load nothing from elsewhere, and show what the notebooks show."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")
pytest.importorskip("latex2mathml")

ROOT = Path(__file__).parent.parent


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with warnings as errors; notebooks are not executed, which their own test does."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "docs/mkdocs.yml", "-d", str(out)]
    environment = os.environ | {"AMKD_DOCS": "quick", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return out


@pytest.mark.slow
def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {str(path.relative_to(site)): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        assert f"tutorials/{path.stem}.html" in pages
    assert {"index.html", "how_to.html", "gallery.html", "contributing.html", "reference/boundary.html"} <= set(pages)
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"(https?:[^\"]+)|<link[^>]+rel=\"stylesheet\"[^>]+href=\"(https?:[^\"]+)"
    )
    assert {name: loaded.findall(text) for name, text in pages.items() if loaded.search(text)} == {}


@pytest.mark.slow
@pytest.mark.browser
def test_pages_opened_from_a_folder_can_be_searched(site: Path) -> None:
    pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    from tests.lab import chromium

    if chromium() is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = own.new_page(viewport={"width": 1400, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "tutorials/instructor/answers.html").as_uri())
        page.click(".md-search__input")
        page.keyboard.type("bisection", delay=30)
        page.wait_for_selector(".md-search-result__link[href*='reference/boundary']", state="attached")
        own.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.slow
def test_formulas_are_drawn_by_the_browser(site: Path) -> None:
    for name in ("explanation/methods.html", "tutorials/02_boundary_samples.html", "reference/boundary.html"):
        text = (site / name).read_text(encoding="utf-8")
        assert "<math " in text
        assert "arithmatex" not in text
        assert ":math:" not in text
        assert ".. math" not in text


@pytest.mark.slow
def test_every_public_function_is_in_the_reference(site: Path) -> None:
    for name in ("boundary", "runs", "training", "views"):
        package = importlib.import_module(f"amkd_viz.{name}")
        text = (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
        for public in package.__all__:  # a file of the same name hides a function; then its page lists both
            shown = re.search(rf'id="amkd_viz\.{name}\.(?:\w+\.)*{public}"', text)
            described = inspect.isroutine(getattr(package, public)) or inspect.isclass(getattr(package, public))
            assert shown or not described, public


def test_the_picture_of_the_packages_is_up_to_date() -> None:
    drawn = module("architecture")
    assert drawn.OUT.read_text(encoding="utf-8") == drawn.picture(), "run python -m docs.architecture"


@pytest.mark.parametrize("name", ["docstrings", "mathml"])
def test_their_own_examples(name: str) -> None:
    result = doctest.testmod(module(name))
    assert result.attempted
    assert not result.failed


def test_outputs_of_a_notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made, v4 = module("generated"), nbformat.v4
    figure = {"application/vnd.plotly.v1+json": {"data": [], "layout": {"height": 300}}, "text/html": "<script>"}
    panel = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "Panel()"}
    cell = v4.new_code_cell("look()")
    cell.outputs = [
        v4.new_output("stream", text="printed\n"),
        v4.new_output("display_data", data=figure),
        v4.new_output("display_data", data=panel),
        v4.new_output("execute_result", data={"text/plain": "3", "text/html": "<div>\nRight</div>"}),
        v4.new_output("execute_result", data={"text/plain": "42"}),
        v4.new_output("execute_result", data={"text/plain": "# Card\n```python\nload()\n```"}),
    ]
    local = v4.new_code_cell("diagnosis()", metadata={"tags": ["remove_output"]})
    local.outputs = [v4.new_output("stream", text="/home/somebody\n")]
    path = tmp_path / "09_x.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_markdown_cell("# Why?\n"), cell, local]), path)
    monkeypatch.setattr(made, "QUICK", True)
    text = made.tutorial(path)
    assert text.startswith("# Why?")
    code, printed, result = "```python\nlook()\n```", "```text\nprinted\n```", "```text\n42\n```"
    for part in (code, printed, "@@09_x-1-1@@", "live in JupyterLab", "<div>Right</div>", result, "diagnosis()"):
        assert part in text, part
    assert "````text\n# Card\n```python\nload()\n```\n````" in text  # a fence in an output does not close its own
    assert "somebody" not in text
    pieces = [v4.new_output("stream", text="a\n"), v4.new_output("stream", text="b\n")]
    other = v4.new_output("stream", name="stderr", text="c")
    assert [o.text for o in made._joined([*pieces, other])] == ["a\nb\n", "c"]
    assert made.figures["@@09_x-1-1@@"].startswith('<div class="amkd-plot" style="height:300px">')


def test_links_of_notebooks_become_links_of_pages() -> None:
    links = module("generated")._links
    assert links("[01](01_x.ipynb)", "p") == "[01](01_x.md)"
    assert links("[a](#b) [file](amkd_viz/x.py)", "p") == "[a](#b) file"
    assert links("[`a`](amkd_viz/x.py)", "p") == "`a`"
    code = '```python\nnets["kd"](x)\n```\nand `nets["kd"](x)`'
    assert links(code, "p") == code
    assert links("[a](docs/pages/explanation/architecture.md)", "p") == "[a](explanation/architecture.md)"
    assert links("[limits](../README.md#limits)", "p") == "[limits](../explanation/traps.md#limits)"
