"""DistillLab: driven from Python, and in a real JupyterLab by a real browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import Tensor

pytest.importorskip("anywidget")

from amkd_viz import Recipe, Run
from amkd_viz.core.errors import InputError
from amkd_viz.objectives import Step, Term, ce, methods
from amkd_viz.panels import DistillLab
from amkd_viz.panels.live import DutyCycle
from amkd_viz.panels.session import Session
from amkd_viz.runs import distill
from amkd_viz.training import suggested
from tests.lab import Lab, Notebook, browser, chromium

TINY = Recipe(
    dataset="spirals",
    teacher="mlp-small",
    student="mlp-tiny",
    epochs=4,
    teacher_epochs=3,
    num_train=60,
    batch_size=20,
    teacher_batch_size=20,
    max_boundary_samples=4,
    attack_steps=4,
    magsim_samples=0,
    device="cpu",
)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lab() -> Iterator[Callable[..., DistillLab]]:
    made: list[DistillLab] = []

    def make(*args: Any, **about: Any) -> DistillLab:
        made.append(DistillLab(*args, **about))
        return made[-1]

    yield make
    for panel in made:
        panel.close()


def until(right: Callable[[], bool], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not right():
        assert time.monotonic() < limit, "it never came to that"
        time.sleep(0.02)


def ended(panel: DistillLab) -> None:
    until(lambda: panel.state in ("done", "failed", "idle"))
    until(lambda: panel.status.kind in ("done", "error") or panel.status.text.startswith("Stopped"))
    panel.wait()


def test_a_run_from_start_to_end(lab: Callable[..., DistillLab], here: Path) -> None:
    panel = lab(TINY)
    panel.start()
    ended(panel)
    assert panel.state == "done"
    assert panel.run is not None
    assert panel.run.finished
    assert panel.run.recipe == TINY
    assert "test accuracy" in panel.status.text
    frame = panel.pictures.maps.frame
    assert [m["title"] for m in frame["maps"]] == ["teacher", "student"]
    assert frame["maps"][1]["note"] == "epoch 4"
    assert frame["side"] == 160
    assert len(frame["maps"][0]["winner"]) == 160 * 160
    assert {axis["title"] for axis in panel.pictures.curves.axes} >= {
        "cross-entropy with labels",
        "validation accuracy",
    }
    ce = panel.pictures.curves.series[0]
    assert np.frombuffer(ce["x"], np.float32).tolist() == [1, 2, 3, 4]
    assert len(np.frombuffer(panel.pictures.scatter.student, np.float32)) % 2 == 0
    assert panel.pictures.scatter.student
    assert panel.pictures.log.value.startswith("<pre>epoch 4: ")


def test_the_picture_is_what_the_nets_say(lab: Callable[..., DistillLab]) -> None:
    from amkd_viz.views.slices import exact_map, window

    run = distill(TINY)
    panel = lab(run)
    until(lambda: panel.pictures.maps.frame.get("side") == 160)
    panel.wait()
    truth = exact_map(run.student(), window(run.dataset()), 160).winner
    shown = np.frombuffer(panel.pictures.maps.frame["maps"][1]["winner"], np.uint8).reshape(160, 160)
    assert (shown == truth).all()


def test_the_batch_that_is_held_is_drawn(lab: Callable[..., DistillLab]) -> None:
    from amkd_viz.views.slices import exact_map

    panel = lab(TINY.replace(epochs=2000))
    panel.start()
    until(lambda: panel._live.epoch > 3)
    panel.pause()
    until(lambda: panel.state == "paused")
    panel.step()  # a pause may hold within a step, whose batch statistics are not the last picture's
    assert panel.job is not None
    assert panel.job.settle(30) == "paused"
    here = f"epoch {panel._live.epoch + 1}, batch {panel._live.batch}"
    until(lambda: [m["note"] for m in panel.pictures.maps.frame.get("maps", [])][1:] == [here])
    panel.wait()
    frame, training = panel.pictures.maps.frame, panel._live.training
    assert training is not None
    held = training.student.eval()
    truth = exact_map(held, tuple(frame["area"]), frame["side"]).winner
    held.train()
    assert (np.frombuffer(frame["maps"][1]["winner"], np.uint8).reshape(truth.shape) == truth).all()
    assert not panel._buttons["Stop"].disabled
    assert panel._buttons["Resume"].disabled  # "Go on" is the one
    time.sleep(2.1)  # from then on it is no echo of a page
    panel.set(epoch=1)
    until(lambda: "You look back at epoch 1" in panel.status.text)


def test_a_pace_holds_a_training_back_and_an_order_does_not_wait_for_it(lab: Callable[..., DistillLab]) -> None:
    panel = lab(TINY.replace(epochs=50), pace=2)
    assert panel["pace"] == 2
    begun = time.monotonic()
    panel.start()
    until(lambda: panel._live.epoch >= 3)
    assert time.monotonic() - begun > 0.9  # two rests of half a second
    until(lambda: panel._pace.resting)
    begun = time.monotonic()
    panel.set(pace=float("inf"))
    ended(panel)
    assert panel.state == "done"
    assert time.monotonic() - begun < 15
    with pytest.raises(InputError, match="pace must be above 0"):
        DistillLab(TINY, pace=0)
    assert lab(TINY, pace=3)["pace"] == 3


def test_an_answer_stands_long_enough_to_be_read(lab: Callable[..., DistillLab]) -> None:
    panel = lab(TINY.replace(epochs=2000))
    panel.start()
    until(lambda: panel._live.epoch > 1)
    panel.set(**{"boundary_triplet.margin": 0.25})
    end = time.monotonic() + 1.5
    panel.paint.wait(5)
    while time.monotonic() < end:
        assert panel.status.text == "margin: 0.25 from the next batch on."
        time.sleep(0.02)


def test_its_code_is_that_of_the_run_that_is_shown(lab: Callable[..., DistillLab]) -> None:
    run = distill(TINY)
    panel = lab(run)
    panel.wait()
    assert "fork" not in panel.code()
    assert "another run" not in panel.code()
    panel.set(seed=7)
    shown, _, other = panel.code().partition("# Start, with the controls as they stand now")
    assert "seed=7" not in shown
    assert "seed=7" in other
    panel.set(epoch=2, learning_rate=0.02)
    panel.fork()
    ended(panel)
    code = panel.code()
    assert f"fork(amkd_viz.Run.open({str(run.path.resolve())!r}), epoch=2" in code
    names: dict[str, Any] = {}
    exec(compile(code, "shown", "exec"), names)
    assert names["run"].recipe == panel.run.recipe  # type: ignore[union-attr]


def test_a_closed_panel_trains_nothing(lab: Callable[..., DistillLab]) -> None:
    panel = lab(TINY)
    panel.close()
    with pytest.raises(InputError, match="DistillLab is closed"):
        panel.start()
    assert panel.job is None


def test_one_slow_picture_does_not_hold_up_the_others() -> None:
    duty = DutyCycle(share=0.1, least=0.0)
    duty.spent(50.0)  # the first sets libraries up
    assert not duty.due()
    until(duty.due, 5)
    duty = DutyCycle(share=0.1, least=0.0)
    duty.spent(0.01)
    assert not duty.due()
    until(duty.due, 5)
    duty.spent(50.0)  # counts as 0.02
    until(duty.due, 5)
    for _ in range(9):
        duty.spent(50.0)
    assert not duty.due()


def test_pause_step_change_stop_resume(lab: Callable[..., DistillLab]) -> None:
    panel = lab(TINY.replace(epochs=40))
    panel.step()
    until(lambda: panel.state == "paused")
    assert panel._live.batch == 1
    panel.step()
    until(lambda: panel._live.batch == 2 and panel.state == "paused")
    until(lambda: not panel._buttons["Stop"].disabled)
    assert panel.controls["dataset"].disabled
    assert not panel.controls["boundary_triplet.margin"].disabled
    panel.set(**{"boundary_triplet.margin": 0.25, "learning_rate": 0.05})
    panel.wait()
    panel.pause()  # held: goes on
    until(lambda: panel.run is not None and len(panel.run.interventions()) == 2)
    panel.stop()
    ended(panel)
    assert panel.state == "idle"
    stopped = panel.run
    assert stopped is not None
    assert not stopped.finished
    changes = {k: v for line in stopped.interventions() for k, v in line["changes"].items()}
    assert changes == {"boundary_triplet.margin": 0.25, "learning_rate": pytest.approx(0.05)}
    assert "boundary_triplet.margin → 0.25" in panel.pictures.curves.events[0]["text"] or len(
        panel.pictures.curves.events
    )
    assert "replay" in panel.code()
    panel.resume()
    ended(panel)
    assert panel.state == "done"
    assert panel.run is not None
    assert panel.run.path == stopped.path


def test_a_burst_is_one_intervention_or_few(lab: Callable[..., DistillLab]) -> None:
    panel = lab(TINY.replace(epochs=60))
    panel.step()
    until(lambda: panel.state == "paused")
    panel.wait()
    for n in range(50):
        panel.set(**{"kd.scale": 0.5 + n / 50})
    panel.wait()
    panel.step()
    until(lambda: bool(panel.run and panel.run.interventions()))
    made = panel.run.interventions() if panel.run else []
    assert len(made) <= 10
    assert made[-1]["changes"] == {"kd.scale": pytest.approx(1.48)}


def test_nobody_waits_for_umap(lab: Callable[..., DistillLab], monkeypatch: pytest.MonkeyPatch) -> None:
    panel = lab(distill(TINY))
    until(lambda: panel.pictures.maps.frame.get("side") == 160)
    panel.wait()
    asked, go_on = threading.Event(), threading.Event()
    usual = panel.pictures.joint.places

    def slow(student: object, how: str = "pca") -> object:
        if how == "umap":
            asked.set()
            go_on.wait(30)
        return usual(student, "pca")  # type: ignore[arg-type]

    monkeypatch.setattr(panel.pictures.joint, "places", slow)
    shown: list[object] = []
    monkeypatch.setattr(panel.pictures, "show_joint", lambda found: shown.append(found))
    panel.set(layout="umap")
    assert asked.wait(10)
    panel.set(epoch=2)  # while UMAP is still at it
    until(lambda: panel.pictures.maps.frame["maps"][1]["note"] == "epoch 2" and len(shown) == 2)
    until(lambda: panel.status.text == "UMAP of epoch 2 ...")
    go_on.set()
    panel.wait()
    assert len(shown) == 3  # of the first one nothing is shown any more
    assert panel.status.text.endswith("the student after epoch 2.")

    asked.clear()
    go_on.clear()
    panel.set(epoch=1)
    assert asked.wait(10)
    panel.status.cancelled += 1  # as the button does
    until(lambda: panel["layout"] == "pca" and panel.status.text.endswith("the student after epoch 1."))
    go_on.set()
    panel.wait()
    assert len(shown) == 5  # PCA, and PCA again


def test_a_sum_of_ones_own_has_its_controls(lab: Callable[..., DistillLab]) -> None:
    methods.register("quiet")(lambda: ce() + quiet())
    try:
        panel = lab(TINY.replace(method="quiet", epochs=2))
        panel.set(**{"quiet.strength": 0.5, "quiet.norm": "max", "quiet.power": 3}).wait()
        assert panel.recipe.overrides == {"quiet.strength": 0.5, "quiet.norm": "max", "quiet.power": 3}
        panel.start()
        ended(panel)
        assert panel.run is not None
        assert panel.run.config["objective"] == "ce() + quiet(strength=0.5, norm=max, power=3)"
    finally:
        methods.forget("quiet")


@dataclass(frozen=True)
class quiet(Term):
    """Small logits; its fields say nothing of bounds."""

    name: ClassVar[str] = "quiet"
    strength: float = 0.1
    norm: str = "mean"
    power: int = 2

    def __call__(self, step: Step) -> Tensor:
        z = step.student_clean.logits.abs() ** self.power
        return self.strength * (z.amax() if self.norm == "max" else z.mean())


def test_orders_that_make_no_sense_are_refused_in_a_sentence(lab: Callable[..., DistillLab]) -> None:
    panel = lab(TINY)
    panel.wait()
    with pytest.raises(InputError, match="press Start"):
        panel.resume()
    with pytest.raises(InputError, match="no run to fork from"):
        panel.fork()
    with pytest.raises(InputError, match="no run to save"):
        panel.save_session()
    with pytest.raises(InputError, match="no picture"):
        panel.export()
    with pytest.raises(InputError, match=r"margin must lie between 0 and 4, not 9"):
        panel.set(**{"boundary_triplet.margin": 9})
    with pytest.raises(InputError, match="control of DistillLab"):
        panel.set(magic=1)
    with pytest.raises(InputError, match="dataset"):
        panel.set(dataset="squares")


def test_what_fails_is_said_in_the_panel(lab: Callable[..., DistillLab]) -> None:
    panel = lab(TINY.replace(dataset="cifar10", teacher="resnet8", student="resnet8", root="nowhere"))
    panel.start()
    until(lambda: panel.status.kind == "error")
    assert "cifar" in panel.status.text.lower()
    assert len(panel.status.text.splitlines()) == 1
    assert panel.state == "failed"
    until(lambda: not panel._buttons["Start"].disabled)


def test_look_back_fork_and_session(lab: Callable[..., DistillLab], here: Path) -> None:
    run = distill(TINY)
    panel = lab(run)
    until(lambda: panel.pictures.maps.frame.get("side") == 160)
    panel.set(epoch=2).wait()
    assert panel.pictures.maps.frame["maps"][1]["note"] == "epoch 2"
    path = panel.save_session()
    assert Session.open(path).view.epoch == 2
    again = lab(Session.open(path))
    until(lambda: again.pictures.maps.frame.get("side") == 160)
    again.wait()
    assert again.pictures.maps.frame["maps"][1]["winner"] == panel.pictures.maps.frame["maps"][1]["winner"]
    panel.wait()
    assert (f"session {path.stem}", str(path)) in panel.controls["earlier"].options
    page = panel.export().read_text()
    assert page.count("<figure>") == 3
    assert "<h1>spirals, amkd: the student after epoch 2</h1>" in page
    assert panel.view() is not None
    assert panel.view().arrays["student.winner"].shape == (200, 200)  # type: ignore[union-attr]
    panel.set(epoch=4).wait()
    panel.set(earlier=str(path)).wait()
    assert panel.pictures.maps.frame["maps"][1]["note"] == "epoch 2"
    panel.set(**{"boundary_triplet.margin": 0.5})
    panel.wait()
    panel.fork()
    ended(panel)
    child = panel.run
    assert child is not None
    assert child.config["parent"]["epoch"] == 2
    assert child.recipe.overrides == {"boundary_triplet.margin": 0.5}
    assert child.finished
    assert run.path != child.path


def test_controls_follow_the_recipe_and_the_method(lab: Callable[..., DistillLab]) -> None:
    recipe = TINY.replace(method="bss", overrides={"kd.weight": 2.0, "boundary_kd.scale": 0.5, "kd.temperature": 4.0})
    panel = lab(recipe)
    panel.wait()
    assert panel.recipe == recipe
    assert panel.controls["boundary_triplet.margin"].layout.display == "none"
    panel.set(method="amkd").wait()
    assert panel.controls["boundary_triplet.margin"].layout.display is None
    panel.set(dataset="digits").wait()
    assert panel.recipe == suggested("digits").replace(device="cpu")
    assert "amkd_viz.distill(recipe)" in panel.code()


def test_it_follows_a_run_that_somebody_else_writes(lab: Callable[..., DistillLab], here: Path) -> None:
    begun = threading.Event()
    go = threading.Event()

    def slow(event: object) -> None:
        if type(event).__name__ == "EpochEnded":
            begun.set()
            if not go.is_set():
                time.sleep(0.1)

    thread = threading.Thread(target=lambda: distill(TINY.replace(epochs=12), here / "other", listen=slow))
    thread.start()
    try:
        assert begun.wait(60)
        # the first epochs belong to the teacher: wait for the run itself
        until(lambda: (here / "other" / "metrics.jsonl").exists() and bool(Run.open(here / "other").snapshots()))
        panel = lab(Run.open(here / "other"))
        until(lambda: any(line.get("epoch", 0) >= 2 for line in panel._lines))
        with pytest.raises(InputError, match=r"being written by process|stop it first"):
            job_refused(panel)
        go.set()
        until(lambda: panel.run is not None and panel.run.finished)
    finally:
        go.set()
        thread.join(60)
    until(lambda: sum(line.get("kind", "epoch") == "epoch" for line in panel._lines) == 12)


def job_refused(panel: DistillLab) -> None:
    panel.resume()
    until(lambda: panel.status.kind == "error")
    raise InputError(panel.status.text)


def test_closing_leaves_no_thread_and_a_checkpoint(lab: Callable[..., DistillLab]) -> None:
    before = set(threading.enumerate())
    panel = lab(TINY.replace(epochs=500))
    panel.start()
    until(lambda: panel._live.batch > 0)
    panel.close()
    panel.close()
    until(lambda: not [t for t in set(threading.enumerate()) - before if "amkd" in t.name or "DistillLab" in t.name])
    assert panel.job is not None
    assert panel.job.state == "idle"
    assert panel.job.run is not None
    assert panel.job.run.load_checkpoint() is not None


# in a real browser

CODE = f"""
from amkd_viz import Recipe
from amkd_viz.panels import DistillLab
lab = DistillLab(Recipe.from_json({TINY.replace(epochs=5000).to_json()!r}))
lab
"""
COUNT = "import threading; print(sum('amkd_viz amkd' in t.name for t in threading.enumerate()))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    made = Lab(folder, AMKD_VIZ_CACHE=str(folder / ".cache"), OMP_NUM_THREADS="1")
    yield made
    made.close()


@pytest.fixture
def context() -> Iterator[Any]:
    with browser() as made:
        yield made


def press(notebook: Notebook, name: str) -> None:
    notebook.page.locator(".amkd-bar").get_by_role("button", name=name, exact=True).first.click()


def state(notebook: Notebook) -> str:
    return str(notebook.ask("print(lab.state)"))


def wait_state(notebook: Notebook, *wanted: str) -> None:
    until(lambda: state(notebook) in wanted)


needs_browser = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium"),
]


class TestInABrowser:
    pytestmark = needs_browser

    def test_steer_reload_and_restart(self, server: Lab, context: Any) -> None:
        notebook = server.open(context, server.write("steer.ipynb", CODE))
        page = notebook.page
        notebook.run()
        notebook.settled("Ready")
        press(notebook, "Start")
        page.wait_for_selector(".amkd-maps[data-serial]", timeout=60_000)
        page.wait_for_function("() => Number(document.querySelector('.amkd-curves').dataset.points) >= 2")
        titles = page.locator(".amkd-map figcaption b")
        notebook.until(lambda: titles.all_text_contents() == ["teacher", "student", "disagreement"])

        press(notebook, "Pause")
        notebook.settled("Paused")
        held = notebook.ask("print(lab._live.epoch, lab._live.batch)")
        page.wait_for_timeout(500)
        assert notebook.ask("print(lab._live.epoch, lab._live.batch)") == held

        handle = page.locator(".noUi-handle[aria-label='margin']")
        handle.focus()
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        until(lambda: notebook.ask("print(lab['boundary_triplet.margin'])") == 1.5)
        press(notebook, "Step")  # it may have been held within a batch: the change comes with the next one
        until(lambda: notebook.ask("print(lab._live.epoch, lab._live.batch)") != held and state(notebook) == "paused")
        press(notebook, "Step")
        last = "print(lab.run.interventions()[-1]['changes'] if lab.run.interventions() else '')"
        until(lambda: notebook.ask(last) == "{'boundary_triplet.margin': 1.5}")
        press(notebook, "Go on")
        wait_state(notebook, "running")

        # a page that is loaded again finds the same panel, still training
        notebook.page.keyboard.press("Control+s")
        page.wait_for_timeout(800)
        page.reload()
        notebook.ready()
        page.wait_for_selector(".amkd-maps[data-serial]", timeout=60_000)
        before = int(page.locator(".amkd-maps").get_attribute("data-drawn") or 0)
        page.wait_for_function(f"() => Number(document.querySelector('.amkd-maps').dataset.drawn) > {before}")
        assert state(notebook) == "running"

        press(notebook, "Stop")
        notebook.settled("Stopped")
        path = str(notebook.ask("print(lab.run.path)"))
        epoch = notebook.ask("print(lab.run.load_checkpoint()['epoch'])")

        # a kernel that dies loses the panel, not the run
        notebook.restart()
        notebook.ask(
            "from amkd_viz import Run\nfrom amkd_viz.panels import DistillLab\n"
            f"lab = DistillLab(Run.open({path!r}))\nlab.wait()\nlab.resume()"
        )
        until(lambda: notebook.ask("print(lab._live.epoch)") > epoch)
        notebook.ask("lab.close()")
        assert notebook.errors == []
        assert context.blocked == []

    def test_the_same_cell_three_times_and_two_tabs(self, server: Lab, context: Any) -> None:
        name = server.write("again.ipynb", CODE + "\n", "lab.start(); lab.state")
        notebook = server.open(context, name)
        for _ in range(3):
            notebook.run(0)
            notebook.settled("Ready")
            notebook.run(1)
            until(lambda: notebook.ask(COUNT) == 1)
        notebook.until(lambda: notebook.page.locator(".amkd-panel").count() == 1)
        wait_state(notebook, "running")
        second = server.open(context, name)
        second.run(0)  # the other tab speaks to the same kernel: its panel replaces this one
        until(lambda: notebook.ask(COUNT) == 0)
        notebook.ask("lab.close()")
        assert notebook.errors + second.errors == []

    def test_dark_and_narrow(self, server: Lab, context: Any) -> None:
        notebook = server.open(context, server.write("dark.ipynb", CODE))
        notebook.run()
        notebook.settled("Ready")
        notebook.theme("dark")
        until(lambda: notebook.ask("print(lab.status.theme)") == "dark")
        notebook.page.set_viewport_size({"width": 1000, "height": 900})
        press(notebook, "Start")
        notebook.page.wait_for_selector(".amkd-maps[data-serial]", timeout=60_000)
        sticking_out = """() => {
            const panel = document.querySelector('.amkd-panel'), edge = panel.getBoundingClientRect().right + 2;
            const parts = [...panel.querySelectorAll('*')].filter((e) => e.clientWidth > 0);
            return parts.filter((e) => e.getBoundingClientRect().right > edge).map((e) => e.className);
        }"""
        for width in (1000, 420):  # also where JupyterLab's file browser takes half of the window
            notebook.page.set_viewport_size({"width": width, "height": 900})
            notebook.until(lambda: notebook.page.evaluate(sticking_out) == [])
        notebook.ask("lab.close()")
        assert notebook.errors == []
