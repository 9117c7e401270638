"""A notebook without its kernel shows what its panels showed: saved, reopened, exported, and closed."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import IPython.display
import pytest
from PIL import Image
from plotly.offline import get_plotlyjs

from tests.waiting import until

pytest.importorskip("anywidget")

import amkd_viz.panels.worker as worker_module
from amkd_viz.panels import BoundaryLab, DistillLab, EmbeddingLab, MethodRace, SampleLab
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.worker import Worker
from amkd_viz.runs import Run, distill
from amkd_viz.views.theme import DARK, LIGHT
from tests.lab import Lab, browser, chromium
from tests.recipes import POINTS
from tests.test_panels_given_back import DIGITS

TINY = POINTS.replace(epochs=2, teacher_epochs=1, magsim_samples=0)
ERROR = "Error displaying widget"


class Small(Panel):
    title, about = "Small", "Nothing: $x = x$."
    colour = "red"

    def __init__(self) -> None:
        super().__init__()
        self.assemble({}, [])

    def still(self) -> Image.Image | None:
        return Image.new("RGB", (30, 20), self.colour) if self.colour else None

    def settings(self) -> str:
        return "margin=1 <b>"


class Outputs:
    """Stands for the cell: what was displayed, and what each output that can be replaced shows now."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.updates = 0

    def display(self, data: dict[str, Any], raw: bool, display_id: str = "") -> None:
        assert raw
        self.shown.append(data)
        self.ids.append(display_id)

    def update(self, data: dict[str, Any], raw: bool, display_id: str) -> None:
        assert raw
        places = [place for place, known in enumerate(self.ids) if known == display_id]
        assert places
        for place in places:
            self.shown[place] = data
        self.updates += 1

    @property
    def html(self) -> str:
        """Of the newest still."""
        return str(self.shown[-1]["text/html"])

    @property
    def picture(self) -> Image.Image | None:
        return picture_in(self.html)


def picture_in(html: str) -> Image.Image | None:
    found = re.search(r'<img alt="[^"]*" src="data:image/png;base64,([^"]*)">', html)
    return Image.open(io.BytesIO(base64.b64decode(found[1]))) if found else None


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    made = Outputs()
    monkeypatch.setattr(IPython.display, "display", made.display)
    monkeypatch.setattr(IPython.display, "update_display", made.update)
    monkeypatch.setattr(worker_module, "CALM", 0.05)
    return made


def show(panel: Panel) -> None:
    panel._ipython_display_()


def test_the_picture_is_kept_when_the_panel_has_come_to_rest(outputs: Outputs) -> None:
    panel = Small()
    panel.colour = ""
    show(panel)
    live, still = outputs.shown
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.widget.model_id
    assert (live["text/html"], live["text/plain"]) == ("", "Small()")
    assert "<b>Small</b>" in still["text/html"]
    assert "<img" not in still["text/html"]
    panel.colour = "red"
    for number in range(20):
        panel.say(f"Step {number} of $20 <b>.")
    until(lambda: outputs.picture is not None)
    assert outputs.picture is not None
    assert outputs.picture.getpixel((3, 3)) == (255, 0, 0)
    assert "Step 19 of" in outputs.html
    assert "<code>margin=1 &lt;b&gt;</code>" in outputs.html
    assert outputs.updates <= 2  # a burst is one picture
    until(lambda: not panel.paint._stirred)
    before = outputs.updates
    panel.paint.ask("nothing new", lambda: None)
    until(lambda: not panel.paint._stirred)
    assert outputs.updates == before
    show(panel)  # in another cell
    panel.colour = "blue"
    panel.close()  # leaves the newest
    for place in (1, 3):
        kept = picture_in(outputs.shown[place]["text/html"])
        assert kept is not None
        assert kept.getpixel((3, 3)) == (0, 0, 255)


def test_a_panel_that_nobody_has_displayed_keeps_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(Small, "still", lambda self: drawn.append(1))
    panel = Small()
    panel.say("Ready.")
    panel.wait()
    panel.close()
    assert drawn == []


def test_a_worker_that_never_rests_is_calm_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "LONGEST", 0.2)
    calm, done = threading.Event(), threading.Event()
    made = Worker("test", pytest.fail, calm=calm.set)

    def again() -> None:
        if not done.is_set():
            made.ask("again", again)

    again()
    assert calm.wait(30)
    done.set()
    made.close()


def trained() -> Panel:
    panel = DistillLab(TINY)
    panel.start()
    until(lambda: panel.status.kind == "done")
    return panel


def raced() -> Panel:
    panel = MethodRace("blobs", ["ce", "kd"]).set(epochs=2, num_train=40).wait()
    panel.start()
    until(lambda: panel.state == "done")
    return panel


def on_digits() -> Run:
    return Run.open("digits") if Path("digits").exists() else distill(DIGITS, "digits")


PANELS: dict[str, tuple[Callable[[], Panel], int, str]] = {  # maps in the still, and a part of its line of settings
    "BoundaryLab": (lambda: BoundaryLab("blobs").set(epochs=1, num_train=40), 3, "epochs=1,"),
    "DistillLab": (trained, 3, "dataset='blobs'"),
    "EmbeddingLab": (lambda: EmbeddingLab(on_digits(), how="pca", most=50), 2, "teacher_epochs=1"),
    "MethodRace": (raced, 3, "ce, kd: Recipe("),
    "SampleLab": (lambda: SampleLab(on_digits(), attack_steps=3), 3, "teacher_epochs=1"),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("stills")
        patch.chdir(path)
        yield path


@pytest.mark.parametrize("name", PANELS)
def test_every_panel_leaves_its_picture_and_its_settings(name: str, outputs: Outputs, here: Path) -> None:
    make, maps, settings = PANELS[name]
    panel = make()
    try:
        show(panel)
        until(lambda: outputs.picture is not None)
        panel.wait()
    finally:
        panel.close()
    assert outputs.picture is not None
    assert outputs.picture.width == maps * 312 - 12
    assert settings in outputs.html.replace("&#x27;", "'")
    colours = outputs.picture.crop((0, 32, outputs.picture.width, outputs.picture.height)).getcolors(100_000)
    assert len(colours or range(100_000)) > 5


CODE = """
from amkd_viz.panels import BoundaryLab
lab = BoundaryLab("blobs").set(epochs=1, num_train=40)
lab
"""


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
@pytest.mark.slow
def test_run_save_kill_reopen_and_export_without_a_network(tmp_path: Path) -> None:
    server = Lab(tmp_path, OMP_NUM_THREADS="1")
    name = server.write("still.ipynb", CODE, "lab.close()")
    try:
        with browser(viewport={"width": 1400, "height": 1000}) as context:
            notebook = server.open(context, name)
            page, still = notebook.page, notebook.page.locator(".amkd-still")
            notebook.run(0)
            notebook.settled("From ")
            page.evaluate("document.querySelector('.amkd-panel').dataset.own = 'same'")
            page.wait_for_selector(".amkd-still img", state="attached")
            before = still.inner_html()
            notebook.ask("lab.set(temperature=2.0);")
            notebook.until(lambda: still.inner_html() != before)
            assert page.locator(".amkd-panel[data-own=same]").is_visible()  # the widget was not drawn anew
            assert not still.is_visible()

            page.keyboard.press("Control+s")
            page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
            page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
            page.close()
            notebook = server.open(context, name)
            page = notebook.page
            assert seen(page, ".amkd-still img") == 1
            page.wait_for_timeout(1000)
            assert page.get_by_text(ERROR).locator("visible=true").count() == 0

            notebook.run(0)
            notebook.settled("From ")
            assert not page.locator(".amkd-still").is_visible()
            page.wait_for_selector(".amkd-still img", state="attached")
            notebook.run(1)
            assert seen(page, ".amkd-still img") == 1  # a closed panel leaves its still
            assert page.locator(".amkd-panel").count() == 0
            assert notebook.errors == []
        exported = html_of(tmp_path / name)
        with browser(viewport={"width": 1400, "height": 1000}) as context:
            page = context.new_page()
            page.set_content(exported, wait_until="domcontentloaded")
            assert seen(page, ".amkd-still img") == 1
            assert page.get_by_text(ERROR).count() == 0
            assert "run the cell for the live panel" in page.locator(".amkd-still").inner_text()
    finally:
        server.close()
    saved = json.loads((tmp_path / name).read_text(encoding="utf-8"))
    html = "".join(saved["cells"][0]["outputs"][1]["data"]["text/html"])
    assert picture_in(html) is not None


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
@pytest.mark.slow
def test_a_still_outlives_a_reloaded_page_and_then_its_kernel(tmp_path: Path) -> None:
    """JupyterLab drops updates of outputs that another page displayed: the still of before the reload stays."""
    server = Lab(tmp_path, OMP_NUM_THREADS="1")
    name = server.write("still.ipynb", CODE)
    saved = "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"
    try:
        with browser(viewport={"width": 1400, "height": 1000}) as context:
            notebook = server.open(context, name)
            page = notebook.page
            notebook.run(0)
            notebook.settled("From ")
            page.wait_for_selector(".amkd-still img", state="attached")
            page.keyboard.press("Control+s")
            page.wait_for_function(saved)
            page.reload()
            notebook.ready()
            notebook.settled("From ")
            assert not page.locator(".amkd-still").is_visible()
            serial = page.evaluate("document.querySelector('.amkd-maps').dataset.serial")
            notebook.ask("lab.set(temperature=2.0).wait();")  # the panel is alive
            page.wait_for_function(f"document.querySelector('.amkd-maps').dataset.serial !== '{serial}'")
            page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea-editor").first.click()
            page.keyboard.press("Control+s")
            page.wait_for_function(saved)
            page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
            page.close()
            again = server.open(context, name)
            assert seen(again.page, ".amkd-still img") == 1
            again.page.wait_for_timeout(1000)
            assert again.page.get_by_text(ERROR).locator("visible=true").count() == 0
            assert notebook.errors == again.errors == []
    finally:
        server.close()


def seen(page: Any, selector: str) -> int:
    """Wait until an image has been decoded and is visible; return the number of those that are."""
    page.locator(selector).first.wait_for(state="visible")
    page.wait_for_function(f"() => [...document.querySelectorAll('{selector}')].every((i) => i.naturalWidth)")
    return int(page.locator(selector).locator("visible=true").count())


FIGURE = """
from amkd_viz import build, load
from amkd_viz.views import boundary_map
data = load("moons", n=40)
boundary_map({"teacher": build("mlp", data), "student": build("mlp-tiny", data)}, data, resolution=20)
"""


# The colours, as hex, of the figure's paper, of a title, and of a legend's entry.
COLOURS = """() => {
    const two = (v) => Number(v).toString(16).padStart(2, "0");
    const hex = (rgb) => "#" + rgb.match(/\\d+/g).slice(0, 3).map(two).join("");
    const of = (at, part) => hex(getComputedStyle(document.querySelector(at))[part]);
    return [of(".main-svg", "backgroundColor"), of(".annotation-text", "fill"), of(".legendpoints path", "fill")];
}"""


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
@pytest.mark.slow
def test_a_figure_is_a_picture_without_plotly_and_live_with_it(tmp_path: Path) -> None:
    server = Lab(tmp_path, OMP_NUM_THREADS="1")
    name = server.write("figure.ipynb", FIGURE)
    try:
        with browser(viewport={"width": 1400, "height": 1000}) as context:
            notebook = server.open(context, name)
            page = notebook.page
            notebook.run()
            page.wait_for_selector(".js-plotly-plot .main-svg")
            has = "window.jupyterapp.shell.currentWidget.content.widgets[0].model.outputs.get(0).data['image/png']"
            page.wait_for_function(f"() => {has}")
            light = page.evaluate(COLOURS)
            for theme, colours in ((LIGHT, light), (DARK, None), (LIGHT, light)):
                if colours is None:
                    notebook.theme("dark")
                elif page.evaluate("document.body.dataset.jpThemeLight") == "false":
                    notebook.theme("light")
                found = page.evaluate(COLOURS)
                assert found[:2] == [theme.paper, theme.ink]
                assert colours in (None, found)
            assert page.locator(".main-svg").count() == page.locator(".js-plotly-plot .main-svg").count()
            page.keyboard.press("Control+s")
            page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
            assert notebook.errors == []
    finally:
        server.close()
    exported = html_of(tmp_path / name)
    with browser(viewport={"width": 1400, "height": 1000}) as context:
        page = context.new_page()
        page.set_content(exported, wait_until="domcontentloaded")
        assert seen(page, ".jp-OutputArea-output img") == 1
        page.evaluate("window.amkdPlotly = undefined")
        context.route(re.compile(r"plotly-[\d.]+\.min\.js$"), lambda route: route.fulfill(body=get_plotlyjs()))
        page.set_content(exported, wait_until="domcontentloaded")
        page.wait_for_selector(".jp-OutputArea-output .main-svg")
        assert page.locator(".jp-OutputArea-output img").count() == 0


def html_of(path: Path) -> str:
    """What nbconvert makes of a notebook."""
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path.with_suffix(".html").read_text(encoding="utf-8")
