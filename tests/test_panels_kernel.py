"""A panel whose kernel is gone says so; run again, it offers to continue what was interrupted. In a real JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

pytest.importorskip("anywidget")

from amkd_viz import Run
from amkd_viz.panels import DistillLab, MethodRace
from amkd_viz.panels.offer import interrupted
from amkd_viz.panels.panel import Panel
from amkd_viz.runs import Job, Race
from amkd_viz.runs.follow import locked
from tests.lab import Lab, Notebook, browser, chromium
from tests.recipes import POINTS

LONG = POINTS.replace(epochs=4000, teacher_epochs=1, magsim_samples=0, evaluate_every=1)
CODE = """
from amkd_viz.panels import DistillLab
from tests.test_panels_kernel import LONG
lab = DistillLab(LONG)
lab
"""
LOST = "The kernel was restarted or shut down: run this cell again."
LOOKS = """() => {
    const panel = document.querySelector(".amkd-panel");
    const links = [panel, ...panel.querySelectorAll("*")]
        .map((e) => getComputedStyle(e, "::before").content).filter((c) => c.includes("\\uf127"));
    const [controls, pictures] = [".amkd-controls", ".amkd-pictures"].map((n) => panel.querySelector(n));
    const boxes = [controls, pictures].map((e) => e.getBoundingClientRect());
    return {
        links: links.length,
        beside: Math.abs(boxes[0].top - boxes[1].top) < 2 && boxes[0].right <= boxes[1].left + 2,
        inert: [controls, pictures].every((e) => e.closest("[inert]")),
        grey: Number(getComputedStyle(controls.parentElement).opacity) < 1,
        bar: !panel.querySelector(".amkd-status progress").hidden,
    };
}"""
ALIVE = {"links": 0, "beside": True, "inert": False, "grey": False}
DEAD = {"links": 0, "beside": True, "inert": True, "grey": True, "bar": False}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def left_behind(path: str) -> Run:
    """A run that was stopped after some epochs, with a checkpoint."""
    job = Job(LONG, path)
    job.start()
    until(lambda: job.run is not None and job.run.epochs_done > 1)
    job.stop()
    job.wait()
    return Run.open(path)


def row(panel: Any) -> list[str]:
    panel.wait()
    return [getattr(part, "description", "") or part.value for part in panel.offer.row.children]


def test_an_interrupted_run_is_found_unless_it_is_trained_finished_or_of_other_data(here: Path) -> None:
    assert interrupted(Run, here / "runs", LONG.dataset) is None
    run = left_behind("runs/one")
    state = run.load_checkpoint()
    assert state is not None
    found = interrupted(Run, here / "runs", LONG.dataset)
    assert found is not None
    assert (found[0].path.name, found[1]) == ("one", state["epoch"])
    assert interrupted(Run, here / "runs", "digits") is None
    with locked(run.path / "lock", "it"):
        assert interrupted(Run, here / "runs", LONG.dataset) is None
    (here / "runs" / "broken").mkdir()
    (here / "runs" / "broken" / "config.json").write_text("{")
    assert interrupted(Run, here / "runs", LONG.dataset) is not None
    (run.path / "summary.json").write_text("{}")
    assert interrupted(Run, here / "runs", LONG.dataset) is None


def test_a_new_panel_continues_the_run_that_was_interrupted(here: Path) -> None:
    run = left_behind("runs/one")
    state = run.load_checkpoint()
    assert state is not None
    panel = DistillLab(LONG)
    try:
        assert row(panel) == [
            f"<b>Continue run one from epoch {state['epoch']} of 4000?</b>&nbsp;",
            "Continue",
            "Not now",
        ]
        panel.offer.row.children[1].click()
        until(lambda: panel.state == "running" and panel._live.epoch > state["epoch"])
        assert panel.run is not None
        assert panel.run.path == Path("runs/one")
        panel.stop()
        until(lambda: panel.state == "idle")
        assert row(panel) == []
    finally:
        panel.close()
    again = DistillLab(LONG)
    try:
        assert row(again)[1:] == ["Continue", "Not now"]
        again.offer.row.children[2].click()
        assert row(again) == []
        assert again.run is None
    finally:
        again.close()


def test_a_new_panel_continues_the_race_that_was_interrupted(here: Path) -> None:
    panel = MethodRace("blobs", ["ce", "kd"]).set(epochs=200, num_train=40).wait()
    panel.start()
    until(lambda: panel.race is not None and panel.race.epoch >= 2)
    panel.close()
    assert isinstance(panel.race, Race)
    done, path = panel.race.epoch, panel.race.path
    again: Any = MethodRace("blobs", ["bss"])
    try:
        until(lambda: again.offer.row.children)
        assert row(again)[0].startswith(f"<b>Continue race {path.name} from epoch ")
        again.offer.row.children[1].click()
        until(lambda: again.race is not None and again.race.epoch > done)
        assert again.race.path == path
        assert again.methods == ["ce", "kd"]
        assert (again["epochs"], again["num_train"]) == (200, 40)
        assert row_hidden(again)
    finally:
        again.close()


def row_hidden(panel: Any) -> bool:
    panel.paint.wait(10)
    return panel.offer.row.layout.display == "none" and not panel.offer.row.children


def test_a_kernel_that_ends_closes_panels_without_taking_them_off_the_page(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amkd_viz.panels import panel as module

    made: Panel = DistillLab(LONG)
    monkeypatch.setattr(module, "_leaving", True)
    made.close()
    assert made.closed
    assert made.widget.comm is not None
    monkeypatch.setattr(module, "_leaving", False)
    module.close_whole(made.widget)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Any]]:
    server = Lab(tmp_path_factory.mktemp("kernel"), OMP_NUM_THREADS="1")
    try:
        with browser(viewport={"width": 1400, "height": 1300}) as context:
            yield server, context
    finally:
        server.close()


def lost(notebook: Notebook) -> dict[str, Any]:
    """Wait for the notice of a dead panel; return how the panel looks."""
    notebook.settled(LOST)
    return notebook.page.evaluate(LOOKS)  # type: ignore[no-any-return]


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
@pytest.mark.slow
class TestInABrowser:
    def test_a_restarted_kernel_is_told_and_the_run_continues(self, lab: tuple[Lab, Any]) -> None:
        server, context = lab
        notebook, errors = server.open(context, server.write("restart.ipynb", CODE)), []
        page = notebook.page
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        notebook.run()
        notebook.settled("Ready")
        page.get_by_role("button", name="Start", exact=True).click()
        page.wait_for_function("() => Number(document.querySelector('.amkd-curves').dataset.points) >= 2")
        assert {key: page.evaluate(LOOKS)[key] for key in ALIVE} == ALIVE
        notebook.restart()
        assert lost(notebook) == DEAD
        assert [line for line in errors if "omm" in line] == []
        page.get_by_role("button", name="Stop", exact=True).click(force=True)
        notebook.run()
        notebook.settled("Ready")
        page.get_by_role("button", name="Continue", exact=True).click()
        notebook.until(lambda: notebook.ask("print(lab.state)") == "running")
        assert page.locator(".amkd-asked:visible").count() == 0
        assert {key: page.evaluate(LOOKS)[key] for key in ALIVE} == ALIVE
        notebook.ask("lab.close()")
        assert notebook.errors == []
        page.close()

    def test_a_kernel_that_is_killed_or_shut_down_is_told(self, lab: tuple[Lab, Any]) -> None:
        server, context = lab
        notebook = server.open(context, server.write("killed.ipynb", CODE))
        page = notebook.page
        notebook.run()
        notebook.settled("Ready")
        page.evaluate(
            """() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
                .requestExecute({ code: "import os; os.kill(os.getpid(), 9)" }); }"""
        )
        assert lost(notebook) == DEAD
        page.get_by_role("button", name="Ok", exact=True).click()  # JupyterLab says that the kernel died
        notebook.ready()
        notebook.run()
        notebook.settled("Ready")
        page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        assert lost(notebook) == DEAD
        assert notebook.errors == []
        page.close()
