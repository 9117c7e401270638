"""MethodRace: buttons, clock, words and folder; then the same in a page of a real JupyterLab."""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import READING_OF_AMKD
from amkd_viz.panels import DistillLab, MethodRace
from amkd_viz.panels.live import DutyCycle
from amkd_viz.panels.race_words import winner
from amkd_viz.panels.session import Session
from amkd_viz.runs import Race, Row, distill
from amkd_viz.runs.stats import paired
from amkd_viz.training import SPIRALS, Training
from tests.waiting import until

TINY = "spirals:n=160"


@pytest.fixture(autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def panel() -> Iterator[MethodRace]:
    made = MethodRace(TINY, methods=("kd", "amkd"))
    made.wait()
    made.set(epochs=4, num_train=40, pace=float("inf"))
    made.wait()
    yield made
    made.close()


def race_of(panel: MethodRace) -> Race:
    assert panel.race is not None
    return panel.race


def test_from_the_start_to_the_end_where_the_best_is_named(panel: MethodRace) -> None:
    assert panel.state == "ready"
    assert [m["title"] for m in panel.pictures.maps.canvas.frame["maps"]] == ["teacher", "kd", "amkd"]
    maps, notes = panel.pictures.maps.maps, [m["note"] for m in panel.pictures.maps.canvas.frame["maps"]]
    assert all(note.startswith("untrained, same on ") and note.endswith(" of the map") for note in notes[1:])
    assert (maps["kd"].winner == maps["amkd"].winner).all()
    assert "same weights" in panel.status.text
    words: list[str] = []
    panel.status.observe(lambda change: words.append(change["new"]), names="text")
    panel.start()
    panel.wait()
    race = race_of(panel)
    assert (panel.state, race.state, race.epoch) == ("done", "done", 4)
    before, last = words[:-1], panel.status.text
    assert not any("ahead" in text or "level" in text.lower() for text in before)
    assert "ahead" in last or "level" in last.lower()
    assert "no verdict" in last
    assert "One seed" in panel.result.value
    assert [m["note"][:8] for m in panel.pictures.maps.canvas.frame["maps"][1:]] == ["epoch 4,", "epoch 4,"]
    rows = panel.pictures.maps.canvas.facts[1]["rows"]
    accuracy = race.runs["kd"].metrics()[-1]["val_accuracy"]
    assert rows[0] == ["validation", f"{100 * accuracy:.1f}\N{NO-BREAK SPACE}%"]
    assert (rows[2][1][-2:], rows[3][1]) == ("ms", "1.0\u00a0×")
    assert panel.pictures.curves.end == 4
    assert [s["name"] for s in panel.pictures.curves.series if s["axis"] == 0] == ["teacher", "kd", "amkd"]
    assert panel.pictures.maps.canvas.frame["side"] == 200
    with pytest.raises(InputError, match="over; press Reset"):
        panel.start()
    assert panel.export("race.html").stat().st_size > 10_000


def test_more_seeds_fill_in_intervals_and_say_who_wins_or_that_they_do_not_tell(panel: MethodRace) -> None:
    with pytest.raises(InputError, match="let one end first"):
        panel.train_seeds()
    panel.start()
    panel.wait()
    assert not panel._buttons["seeds"].disabled
    texts: list[str] = []
    panel.result.observe(lambda change: texts.append(change["new"]), names="value")
    panel.train_seeds()
    panel.wait(300)
    race = race_of(panel)
    runs = race.seeds()
    assert sorted((run.recipe.method, run.recipe.seed) for run in runs) == [
        (name, seed) for name in ("amkd", "kd") for seed in range(5)
    ]
    assert all(run.path.parent in (race.path, race.path / "seeds") for run in runs)
    alone = distill(race.runs["kd"].recipe.replace(seed=3), "alone")
    assert {run.summary["test_accuracy"] for run in runs if (run.recipe.method, run.recipe.seed) == ("kd", 3)} == {
        alone.summary["test_accuracy"]
    }
    shares = {
        name: [
            run.summary["test_accuracy"]
            for run in sorted(runs, key=lambda run: run.recipe.seed)
            if run.recipe.method == name
        ]
        for name in race.runs
    }
    difference = paired(shares["amkd"], shares["kd"])
    assert difference is not None
    low, high = difference.interval
    assert f"<td>{difference.points:+.1f} [{low:+.1f}, {high:+.1f}]</td>" in panel.result.value
    assert f"<td>{100 * mean(shares['kd']):.2f} ± {100 * stdev(shares['kd']):.2f}</td>" in panel.result.value
    first = max(shares, key=lambda name: mean(shares[name]))
    words = f"{first} wins over 5 seeds" if low > 0 or high < 0 else "5 seeds do not tell which method wins"
    assert words in panel.status.text
    assert words in panel.result.value
    assert any("—</td>" in text for text in texts)  # filled in while they train
    assert "—" not in panel.result.value.partition("</table>")[0]
    assert panel._buttons["seeds"].disabled
    again = MethodRace(race.path)
    again.wait()
    assert words in again.result.value
    again.close()


def row(method: str, *percents: float) -> Row:
    return Row("moons", method, {"test_accuracy": {(seed, 0): share / 100 for seed, share in enumerate(percents)}})


def test_a_winner_is_ahead_of_every_other_method_beyond_the_noise() -> None:
    kd, bss, amkd = row("kd", 80, 82, 84), row("bss", 85, 87.2, 88.9), row("amkd", 86, 85, 90)
    # the differences 5, 5.2, 4.9: mean 5.03, standard error 0.0882, t = 4.303
    assert winner([kd, bss]) == "bss wins over 3 seeds: it is ahead of kd (+5.0 points, 95 % interval +4.7 to +5.4)."
    # -1, 2.2, -1.1: mean 0.03, standard error 1.083
    assert winner([bss, amkd]) == (
        "3 seeds do not tell which method wins: bss has the highest mean, but its lead over amkd (+0.0 points, 95 % "
        "interval -4.6 to +4.7) is within the noise."
    )
    assert "its lead over amkd (+0.0 points" in winner([kd, bss, amkd])
    assert winner([row("kd", 80), row("bss", 85)]) == ""
    assert "the seeds do not vary" in winner([row("kd", 80, 80), row("bss", 80, 80)])


def test_seeds_are_stopped_and_go_on_and_a_changed_race_has_none(panel: MethodRace) -> None:
    panel.set(epochs=40)
    panel.wait()
    panel.step()
    panel.wait()
    panel.start()
    panel.wait()
    panel.train_seeds()
    until(lambda: panel.status.cancellable)
    panel.status.cancelled += 1
    panel.wait()
    assert panel.status.text == 'Stopped; "5 seeds" goes on with those that are left.'
    trained = {run.path: run.config["started"] for run in race_of(panel).seeds()}
    assert len(trained) < 10
    assert not panel._buttons["seeds"].disabled
    panel.train_seeds()
    panel.wait(300)
    started = {run.path: run.config["started"] for run in race_of(panel).seeds()}
    assert len(started) == 10
    assert trained.items() <= started.items()
    panel.reset()
    panel.set(epochs=4)
    panel.wait()
    panel.step()
    panel.wait()
    panel.set(learning_rate=0.05)
    panel.start()
    panel.wait()
    assert panel._buttons["seeds"].disabled
    with pytest.raises(InputError, match="is not a seed of its recipe \\(changed by hand\\)"):
        race_of(panel).train_seeds()


def test_curves_and_clock_follow_while_a_map_is_being_drawn(panel: MethodRace, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, draw = threading.Event(), threading.Event(), panel.pictures.draw

    def slow(*about: Any, **how: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        draw(*about, **how)

    monkeypatch.setattr(panel.pictures, "draw", slow)
    panel.start()
    try:
        assert begun.wait(60)
        until(lambda: "epoch <b>4</b> of 4" in panel.clock.value)
        until(lambda: len(panel.pictures.curves.series) > 1)
        until(lambda: panel.status.kind == "done")
    finally:
        go_on.set()
    panel.wait()
    assert panel.pictures.maps.canvas.frame["maps"][1]["note"].startswith("epoch 4,")


def test_a_race_at_full_speed_sends_curves_within_a_budget_and_all_of_them_at_its_end(
    panel: MethodRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, sent = panel.pictures.numbers, []
    panel.set(epochs=12).wait()
    monkeypatch.setattr(DutyCycle, "due", lambda self: False)
    monkeypatch.setattr(panel.pictures, "numbers", lambda *given: (sent.append(1), own(*given)))
    panel.start()
    until(lambda: panel.state == "done")
    panel.wait()
    assert 1 <= len(sent) <= 3  # at the start, in the test, at the end
    kd = [curve for curve in panel.pictures.curves.series if curve["name"] == "kd"]
    assert [len(curve["x"]) // 4 for curve in kd] == [12, 12]  # float32
    assert "<b>12</b> of 12" in panel.clock.value


def test_step_trains_one_epoch_and_reset_goes_back(panel: MethodRace) -> None:
    for epoch in (1, 2):
        panel.step()
        panel.wait()
        assert (race_of(panel).epoch, panel.state) == (epoch, "paused")
        assert f"Paused after {epoch} of 4" in panel.status.text  # also when no beat saw it train
    panel.set(seed=3)
    panel.wait()
    assert "for the next race; press Reset" in panel.status.text
    panel.reset()
    panel.wait()
    assert (panel.race, panel.state) == (None, "ready")
    for _ in range(4):
        panel.step()
        panel.wait()
    assert panel.state == "done"
    assert race_of(panel).recipe.seed == 3


def test_the_picture_goes_with_another_problem(panel: MethodRace, monkeypatch: pytest.MonkeyPatch) -> None:
    go, usual = threading.Event(), panel.pictures.prepare

    def prepare(*about: Any) -> None:
        assert go.wait(60)
        usual(*about)

    monkeypatch.setattr(panel.pictures, "prepare", prepare)
    assert panel.pictures.maps.canvas.frame
    panel.set(problem="blobs")
    until(lambda: not panel.pictures.maps.canvas.frame)
    go.set()
    panel.wait()
    assert panel.pictures.maps.canvas.frame


def test_the_epochs_of_a_race_are_scrubbed(panel: MethodRace) -> None:
    panel.start()
    panel.wait()
    assert list(panel.controls["epoch"].options) == [0, 1, 2, 3, 4]
    last = panel.pictures.maps.maps
    panel.set(epoch=2).wait()
    assert [m["note"].partition(",")[0] for m in panel.pictures.maps.canvas.frame["maps"]] == ["", "epoch 2", "epoch 2"]
    shown, side = panel.pictures.maps.maps, panel.pictures.maps.canvas.frame["side"]
    for name, run in race_of(panel).runs.items():
        assert (shown[name].winner == panel.pictures.maps.slice.decisions(run.student(2), side).winner).all()
    assert "run.student(2)" in panel.code()
    panel.set(epoch=4).wait()
    assert all((panel.pictures.maps.maps[name].winner == last[name].winner).all() for name in last)
    panel.reset()
    panel.wait()
    assert list(panel.controls["epoch"].options) == [0]


def test_what_a_step_notes_is_shown_while_it_races(panel: MethodRace, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Training.step

    def step(self: Training, *batch: Any) -> Any:
        if (self.epoch, self.batch) == (0, 0):
            self.notes.append("Steps are <slow>.")
        return usual(self, *batch)

    monkeypatch.setattr(Training, "step", step)
    for epoch in range(1, 5):
        panel.step()
        panel.wait()
        assert (race_of(panel).epoch, panel.result.value.count("Steps are &lt;slow&gt;.")) == (epoch, 1)
    assert "One seed" in panel.result.value


def test_pause_holds_every_method_at_the_same_batch(panel: MethodRace) -> None:
    panel.set(epochs=200, pace=20.0)
    panel.wait()
    panel.start()
    until(lambda: race_of(panel).epoch >= 2)
    panel.pause()
    panel.wait()
    assert len({(t.epoch, t.batch) for t in race_of(panel).trainings.values()}) == 1
    assert "Paused after" in panel.status.text


def test_live_pictures_come_while_it_races(panel: MethodRace) -> None:
    panel.set(epochs=200, pace=20.0)
    panel.wait()
    before = panel.pictures.maps.canvas.frame["serial"]
    panel.start()
    until(lambda: panel.pictures.maps.canvas.frame["serial"] > before + 1)
    assert panel.pictures.maps.canvas.frame["side"] == 73
    with pytest.raises(InputError, match="press Pause, then export"):
        panel.view()
    panel.pause()
    panel.wait()


def test_new_copies_are_drawn_at_once_and_not_with_the_next_pulse(panel: MethodRace, monkeypatch: Any) -> None:
    panel.wait()
    live: list[int] = []
    draw = panel.pictures.draw

    def counted(students: Any, epoch: int, is_live: bool = False) -> None:
        live.extend([epoch] * is_live)
        draw(students, epoch, is_live)

    monkeypatch.setattr(panel.pictures, "draw", counted)
    panel._pulse.stop()
    panel.start()
    assert panel.race is not None
    panel.race.settle(60)
    panel.worker("maps").wait(10)
    assert live


def test_sliders_act_during_the_race_and_leave_one_mark(panel: MethodRace) -> None:
    panel.step()
    panel.wait()
    for value in (0.9, 0.7, 0.5):
        panel.set(**{"boundary_triplet.margin": value})
    assert "from the next batch on, for amkd" in (panel.paint.wait() and panel.status.text)
    panel.step()
    panel.wait()
    runs = race_of(panel).runs
    assert runs["amkd"].interventions()[-1]["changes"] == {"boundary_triplet.margin": 0.5}
    assert runs["kd"].interventions() == []
    assert [e["text"] for e in panel.pictures.curves.events] == ["boundary_triplet.margin → 0.5"]
    assert ".replay()" in panel.code()
    race_of(panel).set(**{"boundary_triplet.mining": "hard"})  # by a program
    panel.step()
    panel.wait()
    assert panel.pictures.curves.events[-1]["text"] == "boundary_triplet.mining → hard"


def test_a_saved_race_is_shown_again_and_goes_on(panel: MethodRace) -> None:
    panel.set(noise=0.2, seed=3, step_size=0.7, predict=True, **{"boundary_triplet.margin": 0.3})
    panel.wait()
    panel.guess("kd")
    panel.step()
    panel.wait()
    panel.set(**{"boundary_triplet.margin": 0.8})
    panel.step()
    panel.wait()
    maps = panel.pictures.maps.maps
    path = panel.save_session("race.json")
    panel.close()
    again = MethodRace(Session.open(path))
    try:
        again.wait()
        assert again.state == "idle"
        assert "Stopped after 2 of 4" in again.status.text
        assert (again["boundary_triplet.margin"], again["noise"], again["seed"], again["predict"]) == (
            0.8,
            0.2,
            3,
            True,
        )
        assert again["step_size"] == pytest.approx(0.7)
        assert again.methods == ["kd", "amkd"]
        assert all((maps[name].winner == again.pictures.maps.maps[name].winner).all() for name in maps)
        assert [e["text"] for e in again.pictures.curves.events] == ["boundary_triplet.margin → 0.8"]
        again.start()
        again.wait()
        assert again.state == "done"
    finally:
        again.close()
    finished = MethodRace(Race.open(race_of(again).path))
    try:
        finished.wait()
        assert finished.state == "done"
        assert "no verdict" in finished.status.text
        assert finished.result.value.count("<tr>") == 4
        assert "<td>kd</td>" in finished.result.value
        assert "<td>amkd (changed by hand)</td>" in finished.result.value
        assert "amkd (changed by hand) is not a seed of its recipe" in finished.result.value
        assert READING_OF_AMKD in html.unescape(finished.result.value)
    finally:
        finished.close()
    with pytest.raises(InputError, match="saved by MethodRace and opens there, not in DistillLab"):
        DistillLab(Session.open(path))


def test_a_race_can_be_saved_before_it_starts(panel: MethodRace) -> None:
    path = panel.save_session()
    assert Session.open(path).open_race(panel).state == "idle"
    assert panel.state == "idle"
    panel.set(seed=5)
    panel.wait()
    assert panel.state == "ready"  # another race is prepared


def test_a_race_of_another_process_is_followed(panel: MethodRace) -> None:
    panel.step()
    panel.wait()
    race = race_of(panel)
    watcher = MethodRace(Race.open(race.path))
    try:
        watcher.wait()
        assert watcher.pictures.maps.canvas.facts[1]["rows"][0] == panel.pictures.maps.canvas.facts[1]["rows"][0]
        panel.start()
        panel.wait()
        until(lambda: "no verdict" in watcher.status.text)
        assert max(len(s["x"]) for s in watcher.pictures.curves.series) == 4 * 4
    finally:
        watcher.close()


def test_a_slider_before_the_start_changes_the_recipe(panel: MethodRace) -> None:
    panel.set(step_size=0.5, **{"boundary_triplet.margin": 0.3})
    panel.wait()
    race = panel.session().open_race(panel)
    assert race.runs["amkd"].recipe.overrides == {"boundary_triplet.margin": 0.3}
    assert race.runs["kd"].recipe.overrides == {}
    assert race.recipe.step_size == pytest.approx(0.5)
    assert "boundary_triplet.margin" in panel.code()


def test_boxes_of_further_methods_are_made_when_they_are_needed(panel: MethodRace) -> None:
    assert "fitnet" not in panel.values
    assert panel.methods == ["kd", "amkd"]
    fold = next(own for own in panel._folds if own.heading == "More methods")
    fold.children[0].click()
    assert "fitnet" in panel.values
    assert len(fold.children[1].children) > 80
    panel.set(fitnet=True, kd=False).wait()
    assert panel.methods == ["amkd", "fitnet"]
    panel.undo()
    assert panel.methods == ["kd", "amkd", "fitnet"]


def test_methods_decide_which_sliders_there_are(panel: MethodRace) -> None:
    shown = lambda name: panel.controls[name].layout.display != "none"  # noqa: E731
    assert shown("boundary_triplet.margin")
    assert not shown("triplet.margin")
    assert "boundary_triplet.variant" not in panel.controls  # that is another method
    assert panel.controls["boundary_triplet.margin"].max == 4
    panel.set(amkd=False).wait()
    assert not shown("boundary_triplet.margin")
    panel.step()
    panel.wait()
    panel.set(**{"boundary_triplet.margin": 0.3})
    panel.wait()
    assert panel.status.text == "None of kd has the term of boundary_triplet.margin."
    assert panel.status.kind == "error"


def test_no_method_is_an_error_and_one_is_not_a_race(panel: MethodRace) -> None:
    panel.set(kd=False, amkd=False)
    panel.wait()
    assert "Check a method" in panel.status.text
    assert panel._buttons["start"].disabled
    with pytest.raises(InputError, match="no race to start"):
        panel.start()
    panel.set(ce=True)
    panel.wait()
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
    assert "You named kd; this one seed" in panel.result.value
    assert "so far" not in panel.result.value  # one seed scores no guess


def test_its_code_runs(panel: MethodRace) -> None:
    panel.set(epochs=2)
    panel.wait()
    code = panel.code().replace("seeds=5", "seeds=1")
    for _ in range(2):
        exec(compile(code, "shown", "exec"), {})
    assert len(list(Path("runs").glob("*/amkd-seed0"))) == 2
    assert len(list(Path("runs").glob("*/race.json"))) == 2


def test_close_stops_the_race_with_a_checkpoint_and_ends_its_threads() -> None:
    before = set(threading.enumerate())  # those of the test before may still be on their way out

    def own() -> list[str]:
        return [t.name for t in set(threading.enumerate()) - before if t.name.startswith(("MethodRace", "amkd_viz"))]

    made = MethodRace(TINY, methods=("kd", "bss"))
    made.wait()
    made.set(epochs=200).wait()
    made.start()
    assert own()
    until(lambda: len(race_of(made).trainings) == 2)
    made.close()
    made.close()
    until(lambda: not own())
    assert all(run.load_checkpoint() is not None for run in race_of(made).runs.values())


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
        assert panel.state == "done"
        assert panel.pictures.maps.slice is not None
        assert panel.pictures.maps.slice.plane is not None
        panel.set(problem="moons", epochs=3)
        panel.wait(300)
        assert panel["student"].startswith("mlp")
        assert panel["step_size"] == pytest.approx(SPIRALS.step_size)
        assert panel.state == "done"  # the result stays until another race is asked for
        assert "press Reset" in panel.status.text
        panel.reset()
        panel.wait(300)
        assert panel.pictures.maps.slice.plane is None
    finally:
        panel.close()


# in a page

CELL = "from amkd_viz.panels import MethodRace\np = MethodRace('spirals:n=160', methods=('kd', 'amkd'))\np"


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
        notebook.settled("Paused after 1 of")
        press("Go on")
        page.wait_for_function("document.querySelector('.amkd-bar b')?.textContent >= 3")
        press("Pause")
        line = notebook.settled("Paused after")
        state = notebook.ask("import json; print(json.dumps([t.epoch for t in p.race.trainings.values()]))")
        assert f"Paused after {state[0]} of" in line
        facts = page.locator(".amkd-map").nth(1).locator(".amkd-facts")
        notebook.until(lambda: "validation" in facts.inner_text() and "ms" in facts.inner_text())
        page.keyboard.press("Control+s")
        page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
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
        notebook.until(lambda: page.locator(".amkd-panel").count() == 1)
        threads = "import threading; print(sum(t.name.startswith('MethodRace') for t in threading.enumerate()))"
        notebook.until(lambda: notebook.ask(threads) == 3)
        assert notebook.errors == []
        assert context.blocked == []


def test_a_method_that_needs_maps_says_so_and_others_race_on(panel: MethodRace) -> None:
    panel.set(at=True)
    panel.wait()
    assert panel.status.text.startswith("at needs maps (C, H, W), but layer -2 of the student is (16,)")
    panel.set(at=False, dkd=True)
    panel.wait()
    assert panel.state == "ready"
    assert panel.methods == ["kd", "amkd", "dkd"]
