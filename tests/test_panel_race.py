"""MethodRace: the buttons, the clock, what it says and when; then the same in a page of a real JupyterLab."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.panels import MethodRace
from amkd_viz.panels.race_controls import LIVE, live_controls
from amkd_viz.runs import Race, RacePlan
from amkd_viz.training import SPIRALS, Changed

TINY = "spirals:n=60"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))


@pytest.fixture
def panel() -> Iterator[MethodRace]:
    made = MethodRace(TINY, methods=("kd", "amkd"))
    made.wait()
    made.set(epochs=4, labelled=40, pace=float("inf"))
    made.wait()
    yield made
    made.close()


def test_it_starts_with_the_teacher_and_equal_students(panel: MethodRace) -> None:
    assert panel.racing.state == "ready"
    assert [m["title"] for m in panel.pictures.canvas.frame["maps"]] == ["teacher", "kd", "amkd"]
    maps = panel.pictures.maps
    assert (maps["kd"].winner == maps["amkd"].winner).all()
    assert "same weights" in panel.status.text
    assert panel.race is not None
    assert panel.race.epoch == 0


def test_start_goes_to_the_end_and_only_then_names_the_best(panel: MethodRace) -> None:
    said: list[str] = []
    panel.status.observe(lambda change: said.append(change["new"]), names="text")
    panel.start()
    panel.wait()
    race = panel.race
    assert race is not None
    assert race.over
    before, last = said[:-1], panel.status.text
    assert not any("ahead" in text or "level" in text.lower() for text in before)
    assert "ahead" in last or "level" in last.lower()
    assert "no verdict" in last
    assert "One seed" in panel.result.value
    assert "from one seed: no statement" not in panel.status.text
    facts = panel.pictures.canvas.facts
    shown = facts[1]["rows"][0][1]
    assert shown == f"{100 * race.metrics['kd'][-1]['val_accuracy']:.1f}\N{NO-BREAK SPACE}%"
    assert panel.pictures.curves.end == 4
    names = [s["name"] for s in panel.pictures.curves.series if s["axis"] == 0]
    assert names == ["teacher", "kd", "amkd"]
    with pytest.raises(InputError, match="over; press Reset"):
        panel.start()


def test_the_numbers_are_those_of_the_library(panel: MethodRace) -> None:
    panel.start()
    panel.wait()
    assert panel.race is not None
    alone = Race(panel.race.recipe, ["kd", "amkd"])
    list(alone.events())
    assert alone.metrics["amkd"][-1]["val_accuracy"] == panel.race.metrics["amkd"][-1]["val_accuracy"]
    assert alone.summaries["kd"]["test_accuracy"] == panel.race.summaries["kd"]["test_accuracy"]


def test_step_takes_one_epoch_and_reset_goes_back(panel: MethodRace) -> None:
    for epoch in (1, 2):
        panel.step()
        panel.wait()
        assert panel.race is not None
        assert panel.race.epoch == epoch
        assert panel.racing.state == "held"
        assert f"Held after {epoch} of 4" in panel.status.text
    panel.reset()
    panel.wait()
    assert panel.race is not None
    assert panel.race.epoch == 0
    assert panel.racing.state == "ready"
    for _ in range(4):
        panel.step()
        panel.wait()
    assert panel.race.over


def test_pause_holds_every_method_at_the_same_step(panel: MethodRace) -> None:
    panel.set(epochs=200, pace=20.0)
    panel.wait()
    panel.start()
    limit = time.monotonic() + 60
    while (panel.race is None or panel.race.epoch < 2) and time.monotonic() < limit:
        time.sleep(0.01)
    panel.pause()
    panel.wait()
    assert panel.race is not None
    at = [t.epoch * 1000 + t.batch for t in panel.race.trainings.values()]
    assert max(at) - min(at) <= 1
    assert panel.racing.state == "held"
    assert "Held after" in panel.status.text


def test_sliders_act_during_the_race_and_leave_one_mark(panel: MethodRace) -> None:
    panel.step()
    panel.wait()
    for value in (0.9, 0.7, 0.5):
        panel.set(margin=value)
    panel.step()
    panel.wait()
    assert panel.race is not None
    assert panel.race.trainings["amkd"].recipe.overrides["boundary_triplet.margin"] == 0.5
    assert panel.race.trainings["kd"].recipe.overrides == {}
    assert [e["text"] for e in panel.pictures.curves.events] == ["margin → 0.5"]
    assert "Changed(epoch=1, batch=0, changes={'boundary_triplet.margin': 0.5})" in panel.code()


def test_a_saved_race_goes_as_it_went(panel: MethodRace, tmp_path: Path) -> None:
    panel.set(noise=0.1, seed=3, epochs=4, margin=0.3, step_size=0.7)
    panel.wait()
    panel.step()
    panel.wait()
    panel.set(margin=0.8, temperature=5.0)
    panel.start()
    panel.wait()
    path = panel.save_session(tmp_path / "race.json")
    again = MethodRace(RacePlan.open(path))
    try:
        again.wait()
        assert again.status.text.endswith("It will be changed on its way as it was. Press Start.")
        assert again["margin"] == 0.3
        again.start()
        again.wait()
        assert panel.race is not None
        assert again.race is not None
        assert again.race.summaries.keys() == panel.race.summaries.keys()
        for name, training in panel.race.trainings.items():
            other = again.race.trainings[name].student.state_dict()
            assert all(torch.equal(value, other[key]) for key, value in training.student.state_dict().items()), name
        assert (again["margin"], again["temperature"]) == (0.8, 5.0)
        assert again.race.plan == panel.race.plan
        again.reset()
        again.wait()
        assert again.race.planned == ()
    finally:
        again.close()


def test_a_race_with_more_than_its_controls_is_refused(panel: MethodRace) -> None:
    plan = panel.session()
    with pytest.raises(InputError, match="no control for"):
        MethodRace(replace(plan, recipe=plan.recipe.replace(momentum=0.5)))
    with pytest.raises(InputError, match="no control for"):
        MethodRace(replace(plan, planned=[Changed(0, 1, {"boundary_triplet.mining": "hard"})]))


def test_what_a_program_changes_is_marked_too(panel: MethodRace) -> None:
    assert panel.race is not None
    panel.race.wish(**{"boundary_triplet.mining": "hard"})
    panel.step()
    panel.wait()
    assert [e["text"] for e in panel.pictures.curves.events] == ["boundary_triplet.mining → hard"]


def test_a_slider_before_the_start_changes_the_recipe(panel: MethodRace) -> None:
    panel.set(margin=0.3, step_size=0.5)
    panel.wait()
    assert panel.race is not None
    assert panel.race.overrides == {"boundary_triplet.margin": 0.3}
    assert panel.race.recipe.step_size == 0.5
    assert "boundary_triplet.margin" in panel.code()


def test_a_slider_that_no_method_knows_says_so(panel: MethodRace) -> None:
    panel.set(amkd=False)
    panel.wait()
    panel.step()
    panel.wait()
    panel.set(margin=0.3)
    panel.wait()
    assert panel.status.text == "None of kd has the term of boundary_triplet.margin."
    assert panel.status.kind == "error"


def test_no_method_is_a_sentence(panel: MethodRace) -> None:
    panel.set(kd=False, amkd=False)
    panel.wait()
    assert "Check a method" in panel.status.text
    assert panel._buttons["start"].disabled
    panel.set(ce=True)
    panel.wait()
    assert panel.racing.state == "ready"
    panel.start()
    panel.wait()
    assert "ce alone" in panel.status.text


def test_predict_first(panel: MethodRace) -> None:
    panel.set(predict=True)
    panel.wait()
    assert panel._buttons["start"].disabled
    with pytest.raises(InputError, match="Say first"):
        panel.start()
    with pytest.raises(InputError, match="method in the race"):
        panel.guess("ce")
    panel.guess("kd")
    panel.wait()
    assert not panel._buttons["start"].disabled
    panel.start()
    panel.wait()
    assert "You said kd" in panel.result.value
    assert "of 1 so far" in panel.result.value


def test_its_code_runs(panel: MethodRace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    panel.set(epochs=2)
    panel.wait()
    code = panel.code().replace("seeds=5", "seeds=1")
    for _ in range(2):
        exec(compile(code, "shown", "exec"), {})
    assert len(list((tmp_path / "runs").glob("*/amkd-seed0"))) == 2


def test_export_writes_the_maps(panel: MethodRace, tmp_path: Path) -> None:
    assert panel.export(tmp_path / "race.html").stat().st_size > 10_000


def test_live_controls_know_their_fields() -> None:
    made = live_controls(SPIRALS)
    assert list(made) == list(LIVE)
    assert (made["margin"].min, made["margin"].max, made["margin"].value) == (0.0, 4.0, 1.0)
    assert made["attack_steps"].value == SPIRALS.attack_steps


def test_close_ends_its_threads() -> None:
    before = set(threading.enumerate())  # those of the test before may still be on their way out

    def own() -> list[str]:
        return [t.name for t in set(threading.enumerate()) - before if t.name.startswith("MethodRace")]

    made = MethodRace(TINY, methods=("kd",))
    made.wait()
    made.set(epochs=200)
    made.wait()
    made.start()
    assert own()
    made.close()
    made.close()
    limit = time.monotonic() + 20
    while own() and time.monotonic() < limit:
        time.sleep(0.02)
    assert not own()


def test_what_it_cannot_race_is_refused() -> None:
    with pytest.raises(InputError, match="problem of MethodRace"):
        MethodRace("cifar10")
    with pytest.raises(InputError, match="method"):
        MethodRace(TINY, methods=("magic",))


@pytest.mark.slow
def test_digits_race_on_a_plane() -> None:
    panel = MethodRace("digits", methods=("ce", "kd"))
    try:
        panel.wait(300)
        panel.set(epochs=2, pace=float("inf"))
        panel.wait()
        panel.start()
        panel.wait()
        assert panel.race is not None
        assert panel.race.over
        assert panel.pictures.ground is not None
        assert panel.pictures.ground.plane is not None
        panel.set(problem="moons", epochs=3)
        panel.wait(300)
        assert panel["student"].startswith("mlp")
        assert panel["step_size"] == pytest.approx(SPIRALS.step_size)
        assert panel.race.over  # its result stays until another race is asked for
        assert "press Reset" in panel.status.text
        panel.reset()
        panel.wait(300)
        assert panel.race.first.dataset.kind == "points"
    finally:
        panel.close()


# in a page

CELL = "from amkd_viz.panels import MethodRace\np = MethodRace('spirals:n=120', methods=('kd', 'amkd'))\np"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.lab import Lab

    cache = str(tmp_path_factory.getbasetemp() / "teachers-of-the-session")
    made = Lab(tmp_path_factory.mktemp("lab"), AMKD_VIZ_CACHE=cache)
    made.write("race.ipynb", CELL)
    yield made
    made.close()


@pytest.mark.browser
@pytest.mark.slow
def test_race_in_the_page(lab: Any) -> None:
    from tests.lab import browser

    with browser() as context:
        notebook = lab.open(context, "race.ipynb")
        page = notebook.page
        notebook.run()
        notebook.settled("Press Start")
        assert page.locator(".amkd-map canvas").count() == 3
        press = lambda name: page.get_by_role("button", name=name, exact=True).click()  # noqa: E731
        press("Step")
        notebook.settled("Held after 1 of")
        press("Go on")
        page.wait_for_function("document.querySelector('.amkd-bar b')?.textContent >= 3")
        press("Pause")
        line = notebook.settled("Held after")
        state = notebook.ask("import json; print(json.dumps([t.epoch for t in p.race.trainings.values()]))")
        assert f"Held after {state[0]} of" in line
        facts = page.locator(".amkd-map").nth(1).locator(".amkd-facts")
        notebook.until(lambda: "validation" in facts.inner_text() and "ms" in facts.inner_text())
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1000)
        page.reload()  # the kernel keeps the panel; the page finds it again
        notebook.ready()
        page.wait_for_selector(".amkd-panel", timeout=60_000)
        press("Go on")
        notebook.settled("no verdict")
        notebook.until(lambda: page.locator(".amkd-table tr").count() == 4)
        press("Reset")
        notebook.settled("Press Start")
        for _ in range(3):
            notebook.run()
        notebook.settled("Press Start")
        notebook.until(lambda: page.locator(".amkd-panel").count() == 1)
        threads = "import threading; print(sum(t.name.startswith('MethodRace') for t in threading.enumerate()))"
        notebook.until(lambda: notebook.ask(threads) == 3)
        assert notebook.errors == []
        assert context.blocked == []
