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
from urllib.parse import parse_qs

import nbformat
import pytest
from nbconvert import HTMLExporter

from amkd_viz.views.caption import html_caption
from docs.pictures import PANELS
from tests.lab import browser, chromium

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
def test_the_home_page_and_the_gallery_show_every_panel(site: Path) -> None:
    pictures = {
        page: set(re.findall(r'<img[^>]* src="([^"#]+)', (site / page).read_text(encoding="utf-8")))
        for page in ("index.html", "gallery.html")
    }
    shown = {f"images/{name}{ending}.png" for name in PANELS for ending in ("", "-dark")}
    assert pictures["index.html"] >= {"images/distill-lab.png", "images/distill-lab-dark.png"}
    assert pictures["gallery.html"] | pictures["index.html"] >= shown | {"images/distilling.gif"}
    for page, found in pictures.items():
        assert [src for src in found if not (site / page).parent.joinpath(src).exists()] == []


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
@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_figure_of_the_article_follows_the_reader(site: Path, width: int) -> None:
    pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    from tests.lab import chromium

    if chromium() is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = own.new_page(viewport={"width": width, "height": 800})
        page.goto((site / "boundary_article.html").as_uri())
        states = page.eval_on_selector_all("section[data-state]", "all => all.map((one) => one.dataset.state)")
        assert len(states) == 6
        for number, state in enumerate(states):
            page.locator("section[data-state]").nth(number).evaluate(
                "one => scrollTo({ top: scrollY + one.getBoundingClientRect().top - 300, behavior: 'instant' })"
            )
            page.wait_for_function(
                "(number) => document.querySelectorAll('section[data-state]')[number].matches('.amkd-read')", arg=number
            )
            page.wait_for_timeout(200)
            words = parse_qs(page.frames[1].url.partition("#")[2])
            assert words["v"] == ["1"]
            assert words | parse_qs(state) == words
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        own.close()


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
    for page in (site / "reference").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<blockquote>" not in text, page  # of a description that begins with ">"
        assert not re.search(r"doc-object-name[^>]*>amkd_viz\.", text), page  # a name, without its modules


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
        v4.new_output("display_data", data={"text/html": '<figure class="amkd-still">at a moment of chance</figure>'}),
        v4.new_output("display_data", data=panel | {"text/plain": "BoundaryLab(Ready.)"}),
        v4.new_output(
            "execute_result", data={"text/plain": "3", "text/html": "<div>\nRight</div><script>f(\n)</script>"}
        ),
        v4.new_output("execute_result", data={"text/plain": "42"}),
        v4.new_output("display_data", data={"text/plain": ""}),  # the place of a result that comes later
        v4.new_output("display_data", data={"text/html": '<p class="amkd-still-words">', "text/plain": "Draw <one>."}),
        v4.new_output("display_data", data={"text/markdown": "of folder&#58;mine", "text/plain": "Markdown"}),
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
    assert "```text\n\n```" not in text
    assert "\nDraw &lt;one&gt;.\n" in text
    assert "of folder:mine" in text
    assert "moment of chance" not in text
    assert text.count("live in JupyterLab") == 2
    assert re.findall(r"!\[(\w+)\]\((.*?)\)", text) == [
        ("BoundaryLab", "../images/boundary-lab.png#only-light"),
        ("BoundaryLab", "../images/boundary-lab-dark.png#only-dark"),
    ]
    pieces = [v4.new_output("stream", text="a\n"), v4.new_output("stream", text="b\n")]
    other = v4.new_output("stream", name="stderr", text="c")
    assert [o.text for o in made._joined([*pieces, other])] == ["a\nb\n", "c"]
    assert made.figures["@@09_x-1-1@@"].startswith('<div class="amkd-plot" style="height:300px">')


def test_formulas_of_an_exported_notebook_need_no_network() -> None:
    made = module("mathml")
    source = "Price $5, `$x$`, $a_1 * b_2 * c$ and\n$$\\max_k f_k$$\n```python\nd = '$e$'\n```"
    cell, _ = made.Formulas().preprocess_cell(nbformat.v4.new_markdown_cell(source), {}, 0)
    assert cell.source.count("<math") == 2
    assert all(code in cell.source for code in ("`$x$`", "'$e$'", "Price $5,"))
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        html, _ = HTMLExporter(preprocessors=[made.Formulas]).from_filename(str(path))
        asked = sum(
            bool(match["block"] or match["inline"])
            for cell in nbformat.read(path, 4).cells
            if cell.cell_type == "markdown"
            for match in made.IN_MARKDOWN.finditer(cell.source)
        )
        assert html.count("<math") == asked, path.name


def test_links_of_notebooks_become_links_of_pages() -> None:
    links = module("generated")._links
    assert links("[01](01_x.ipynb)", "p") == "[01](01_x.md)"
    assert links("[a](#b) [file](amkd_viz/x.py)", "p") == "[a](#b) file"
    assert links("[`a`](amkd_viz/x.py)", "p") == "`a`"
    code = '```python\nnets["kd"](x)\n```\nand `nets["kd"](x)`'
    assert links(code, "p") == code
    assert links("[a](../00_start_here.ipynb)", "p") == "[a](../00_start_here.md)"
    assert links("[a](docs/pages/explanation/architecture.md)", "p") == "[a](explanation/architecture.md)"
    assert links("[limits](../README.md#limits)", "p") == "[limits](../explanation/traps.md#limits)"


def test_the_results_of_the_study_are_told_in_plain_words() -> None:
    made = module("where")
    points = {
        "bss - kd": {"difference": [2.43, 1.56, 3.3], "p": 0.001, "shown": True},
        "amkd-pairs - bss": {"difference": [0.2, -0.6, 1.0], "p": 0.6, "shown": False},
    }
    one = {
        "data": "digits",
        "labels": 50,
        "labels_per_class": 5.0,
        "student": "cnn-small",
        "readings": ["amkd-pairs"],
        "points": points,
        "test": {"kd": [72.85, 2.5], "bss": [75.28, 2.2]},
    }
    versions = {"torch": "2.14.1", "python": "3.11.9", "device": "CPU"}
    found = {
        "command": "python",
        "cells": 7,
        "seeds": [1000, 1015],
        "versions": versions,
        "regimes": {"digits-50": one},
    }
    text = made.section(found)
    assert "| bss - kd | **+2.43 [1.56, 3.30]** |\n" in text  # shown
    assert "| amkd-pairs - bss | +0.20 [-0.60, 1.00] |" in text
    assert "| candidate | digits-50 |\n| --- | --- |\n| kd | 72.85 ± 2.50 |\n| bss | 75.28 ± 2.20 |" in text
    assert "digits-50: 5 labels per class, student cnn-small." in text
    other = one | {"points": {}, "test": {"ce": [60.0, 1.0]}}
    both = made.section(found | {"regimes": {"digits-50": one, "other": other}})
    assert "| kd | 72.85 ± 2.50 |  |" in both
    assert "| ce |  | 60.00 ± 1.00 |" in both
    assert made.view(found).notes["shown"] == 1
    assert made.view(found, "best - bss").arrays["points"].tolist() == [[0.2]]
    for level in ("small", "full", "crd", "cifar", "cifar-crd", "tiny"):  # those that are committed are of this form
        kept = made.results(level)
        assert "our reading" in kept["what"]
        assert " | ".join(kept["regimes"]) in made.section(kept)
        shown = [own["shown"] for row in kept["regimes"].values() for own in row["points"].values()]
        assert made.section(kept).count("**") == 2 * (1 + sum(shown))


def test_the_map_of_the_study_has_a_row_and_a_cell_for_each_regime() -> None:
    made = module("where")
    methods = ("ce", "kd", "bss", "amkd", "bss-leap", "amkd-leap")
    one = {
        "data": "blobs:classes=10",
        "labels_per_class": 10 / 3,
        "student": "mlp-tiny",
        "readings": [],
        "test": {method: [60.0 + place, 2.5] for place, method in enumerate(methods)},
        "points": {pair: {"difference": [1.0, -2.0, 4.0], "shown": False} for pair in ("bss - kd", "amkd - bss")},
    }
    versions = {"torch": "2.14.1", "python": "3.11.9", "device": "CPU"}
    about = {"command": "python", "cells": 7, "seeds": [1000, 1015], "versions": versions}
    found = about | {"regimes": {"blobs-30-tiny": one, "other": one | {"student": "mlp-small"}}}
    row = "| blobs | 3.33 | mlp-tiny | 60.0 ± 2.5 | 61.0 ± 2.5 | 62.0 ± 2.5 | 63.0 ± 2.5 | 64.0 ± 2.5 | 65.0 ± 2.5 |"
    assert row in made.mapped(found)
    for pair in made.pairs(found):
        assert made.view(found, pair).arrays["points"].tolist() == [[1.0, 1.0]]
    kept = made.results("map")
    assert made.mapped(kept).count("\n| ") == len(kept["regimes"]) + 2 > 3


CONTRAST = """() => {
    const numbers = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
    const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
    const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
    const up = (e) => (e ? [e, ...up(e.parentElement)] : []);
    const skipped = "svg, script, style, noscript, .md-sidebar, .md-search, .headerlink, .md-clipboard";
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = [];
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement;
        const seen = e.checkVisibility({ opacityProperty: true, visibilityProperty: true });
        if (!text || !seen || e.closest(skipped) || !e.getBoundingClientRect().width) continue;
        const style = getComputedStyle(e), size = parseFloat(style.fontSize), ink = numbers(style.color);
        const layers = up(e).map((at) => numbers(getComputedStyle(at).backgroundColor));
        const ground = layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
        for (const at of up(e)) ink[3] *= +getComputedStyle(at).opacity;
        const [light, dark] = [luminance(over(ink, ground)), luminance(ground)].sort((a, b) => b - a);
        const large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
        if ((light + 0.05) / (dark + 0.05) < (large ? 3 : 4.5)) bad.push(text.slice(0, 40));
    }
    return bad;
}"""
LONG = "Every point was evaluated. " * 20
READ = [
    "index.html",
    "boundary_article.html",
    "playground.html",
    "how_to.html",
    "explanation/zoo.html",
    "tutorials/00_start_here.html",
    "tutorials/instructor/script.html",
    "tutorials/instructor/answers.html",
]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_the_rest_of_a_caption_is_text_and_no_box_of_the_theme(site: Path) -> None:
    with browser() as context:
        context.unroute_all()  # files
        page = context.new_page()
        page.goto((site / "how_to.html").as_uri())
        page.evaluate(
            "(h) => document.querySelector('.md-content p').insertAdjacentHTML('afterend', h)", html_caption(LONG)
        )
        found = page.evaluate(
            """() => {
                const rest = document.querySelector(".amkd-more"), mark = getComputedStyle(rest.firstChild, "::before");
                return [getComputedStyle(rest).borderLeftWidth, mark.display, rest.parentElement.clientHeight];
            }"""
        )
        assert found[:2] == ["0px", "none"]
        assert found[2] < 60  # two lines


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_pages_fit_a_phone_can_be_read_and_are_reached_by_keyboard(site: Path) -> None:
    """At 390 pixels nothing overflows; contrast is at least 4.5 (3 for large letters) in both schemes."""
    for scheme, shown in (("light", "default"), ("dark", "slate")):
        with browser(viewport={"width": 390, "height": 800}, color_scheme=scheme) as context:
            context.unroute_all()  # files
            page = context.new_page()
            for name in READ:
                page.goto((site / name).as_uri())
                assert page.evaluate("document.body.dataset.mdColorScheme") == shown
                assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
                assert page.evaluate(CONTRAST) == [], (name, scheme)
            page.evaluate("document.querySelector('.md-content p').style.color = '#777a'")
            assert page.evaluate(CONTRAST) != []  # it does find what is pale
            page.goto((site / "how_to.html").as_uri())
            page.keyboard.press("Tab")  # "Skip to content", which is seen while it has the focus
            skip = (
                "() => document.activeElement.matches('.md-skip') && getComputedStyle(document.activeElement).opacity"
            )
            page.wait_for_function(f"() => ({skip})() === '1'")
            page.keyboard.press("Enter")
            page.keyboard.press("Tab")
            assert page.evaluate("() => Boolean(document.activeElement.closest('.md-content'))")
