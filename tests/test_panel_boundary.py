"""BoundaryLab: what it computes and says; then the same by mouse and keys in a page of a real JupyterLab."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amkd_viz.boundary import bss, sample_targets
from amkd_viz.boundary.samples import Status as Ending
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.panels import BoundaryLab
from amkd_viz.panels.attack_words import attack_table
from amkd_viz.panels.boundary_lab import LOOK
from amkd_viz.panels.session import Session
from amkd_viz.runs import Run
from amkd_viz.views.slices import exact_map, window
from tests.waiting import until

PROBLEM = "spirals:n=200"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoundaryLab]:
    """A panel for tests that leave its nets as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
        made = BoundaryLab(PROBLEM)
        made.wait()
    yield made
    made.close()


@pytest.fixture
def lab(shared: BoundaryLab) -> Iterator[BoundaryLab]:
    before = shared.values
    yield shared
    shared.set(**{name: value for name, value in before.items() if name not in ("problem", "target", "epoch")}).wait()


def test_the_first_picture_has_both_nets_and_where_they_differ(lab: BoundaryLab) -> None:
    frame = lab.canvas.frame
    assert [m["title"] for m in frame["maps"]] == ["teacher", "student"]
    assert frame["disagreement"]["title"] == "disagreement"
    assert lab._data is not None
    assert tuple(frame["area"]) == pytest.approx(window(lab._data))
    exact = exact_map(lab._nets["teacher"], window(lab._data), frame["side"])
    assert (exact.winner == lab.maps.maps["teacher"].winner).all()


def test_an_attacked_point_is_the_library_s_attack(lab: BoundaryLab) -> None:
    found = lab.attack(0.4, -0.9)
    assert lab.canvas.point == [0.4, -0.9]
    x, net = torch.tensor([[0.4, -0.9]]), lab._nets["teacher"]
    with torch.no_grad():
        target = sample_targets(net(x), generator("cpu", "target"))
    own = bss(net, x, target, step_size=lab["step_size"], steps=lab["attack_steps"], step_rule=lab["step_rule"])
    assert int(found.steps) == int(own.steps)
    assert int(found.status) == int(own.status)
    assert len(lab.canvas.marks) > 1
    assert "teacher" in lab.table.value
    assert "student" in lab.table.value


def test_where_the_step_is_too_short_for_every_point_it_is_doubled() -> None:
    made = BoundaryLab("moons:n=200,noise=0.4", epochs=2)
    try:
        found = made.wait()._samples["teacher"]
        assert bool(found.crossed)
        assert made["step_size"] > LOOK["step_size"]
        assert made.undo() is None  # not a move of a person
        assert made["step_size"] > LOOK["step_size"]
    finally:
        made.close()


@pytest.mark.parametrize("problem", ["spirals", "moons", "circles", "blobs"])
def test_the_first_attack_takes_a_few_steps_and_crosses_once(problem: str) -> None:
    made = BoundaryLab(f"{problem}:n=200")
    try:
        found, way = made.wait()._samples["teacher"], made._ways["teacher"]
        assert found.path is not None
        assert 3 <= int(found.steps) <= 8
        assert [c.after for c in way] == [int(found.target)] == [int(found.logits[0].argmax())]
        straight = float((found.x - found.origin).norm())
        walked = float(found.path.diff(dim=0).norm(dim=2).sum())
        assert straight > 0.9 * walked
        assert straight > 0.02 * (made.canvas.frame["area"][1] - made.canvas.frame["area"][0])
    finally:
        made.close()


def test_a_leap_is_told_with_its_first_crossing(lab: BoundaryLab) -> None:
    """Newton steps as in training leap over whole arms: the first boundary on the way counts."""
    lab.set(step_rule="newton", step_size=1.05).wait()
    x = lab._data.test.x
    for place in x[:60].tolist():
        lab.attack(*place)
        if len(way := lab._ways["teacher"]) > 1:
            break
    share = torch.linspace(0, 1, 5001)[:, None]
    path = lab._samples["teacher"].path
    assert path is not None
    leap = path[-2] + share * (path[-1] - path[-2])
    winner = lab._nets["teacher"](leap).argmax(1)
    first = leap[int((winner != winner[0]).nonzero()[0])]
    assert way[-len(way)].x.tolist() == pytest.approx(first.tolist(), abs=1e-2)
    assert f"{float((first - path[0, 0]).norm()):.2f}, into" in lab.table.value
    assert "A step leapt" in lab.status.text
    crosses = [mark for mark in lab.canvas.marks if mark.kind == "cross" and mark.panel == 0]
    assert len(crosses[0].points) == len(way)
    assert "ends in" in lab.table.value


def test_the_options_of_the_problem_are_kept(lab: BoundaryLab) -> None:
    assert lab._data is not None
    assert len(lab._data.test) == 200
    assert "n=200" in lab.recipe.dataset


def test_temperature_changes_confidence_and_no_class(lab: BoundaryLab) -> None:
    before = lab.maps.maps["teacher"]
    lab.set(temperature=4.0)
    lab.wait()
    after = lab.maps.maps["teacher"]
    assert (before.winner == after.winner).all()
    assert after.confidence.mean() < before.confidence.mean()


def test_any_class_can_be_the_target(lab: BoundaryLab) -> None:
    lab.attack(0.4, -0.9)
    assert [words for words, _ in lab.controls["target"].options][:3] == ["drawn", "second", "spiral 1"]
    for k in range(3):
        lab.set(target=k)
        lab.wait()
        assert int(lab._samples["teacher"].target) == k
    lab.set(target="drawn")
    lab.wait()


def test_a_burst_ends_on_the_last_value(lab: BoundaryLab, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go, seen = threading.Event(), threading.Event(), []
    attack = lab._attack

    def slow() -> None:
        begun.set()
        assert go.wait(20)
        attack()
        seen.append(lab["attack_steps"])

    monkeypatch.setattr(lab, "_attack", slow)
    lab.set(attack_steps=39)
    assert begun.wait(20)
    for value in [*range(1, 26), *range(1, 26)]:
        lab.set(attack_steps=value)
    go.set()
    lab.wait()
    assert seen[-1] == 25
    assert len(seen) == 2


def test_the_path_waits_for_a_prediction(lab: BoundaryLab) -> None:
    lab.attack(0.4, -0.9)
    shown = len(lab.canvas.marks)
    lab.set(predict=True)
    lab.wait()
    assert len(lab.canvas.marks) == 1
    assert lab.table.value == ""
    assert "where will it end" in lab.status.text
    lab.answer(int(lab._samples["teacher"].status))
    lab.wait()
    assert len(lab.canvas.marks) == shown
    assert "Right" in lab.prediction.question.value
    lab.canvas.released += 1
    lab.wait()
    lab.answer(Ending.NOT_CROSSED if int(lab._samples["teacher"].status) else Ending.TARGET)
    lab.wait()
    assert "No: look" in lab.prediction.question.value
    assert "1 of 2" in lab.prediction.question.value


def test_a_point_outside_the_window_of_other_data_is_brought_back() -> None:
    lab = BoundaryLab("spirals:n=200")
    try:
        _, x1, _, y1 = lab.wait().canvas.frame["area"]
        lab.attack(x1, y1)
        lab.set(problem="circles", classes=2, epochs=2).wait()
        x, y = lab.canvas.point
        left, right, low, high = lab.canvas.frame["area"]
        assert left <= x <= right < x1
        assert low <= y <= high < y1
        assert lab._samples["teacher"].origin[0].tolist() == pytest.approx([x, y])
    finally:
        lab.close()


def test_the_epochs_of_the_student_are_scrubbed(lab: BoundaryLab) -> None:
    lab.set(epochs=4).wait()
    last, run = lab.maps.maps["student"].winner.copy(), lab.run
    assert run is not None
    assert list(lab.controls["epoch"].options) == run.snapshots() == [0, 1, 2, 3, 4]
    lab.set(epoch=1).wait()
    shown = lab.maps.maps["student"]
    assert (shown.winner == exact_map(run.student(1), window(lab._data), len(shown.winner)).winner).all()
    assert [m["note"] for m in lab.canvas.frame["maps"]] == ["", "epoch 1 of 4"]
    assert "student = run.student(1)" in lab.code()
    lab.set(epoch=4).wait()
    assert (lab.maps.maps["student"].winner == last).all()
    assert "run.student(1)" not in lab.code()


def test_the_attack_is_told_step_by_step(lab: BoundaryLab) -> None:
    lab.attack(0.4, -0.9)
    frame, found = lab.walk.frame, lab._samples["teacher"]
    assert (frame["steps"], lab.walk.step) == (int(found.steps), int(found.steps))
    assert found.path is not None
    z = lab._nets["teacher"](found.path[: frame["steps"] + 1, 0])
    gap = np.frombuffer(frame["gap"], "<f4").reshape(2, -1)[0, :-1]
    np.testing.assert_allclose(gap, (z[:, int(found.base)] - z[:, int(found.target)]).detach().numpy(), atol=1e-4)
    assert frame["size"] == [0, 0, 0]
    before = np.frombuffer(frame["p"], "<f4")
    lab.set(temperature=4.0).wait()
    assert np.frombuffer(lab.walk.frame["p"], "<f4").max() < before.max()


def test_points_that_are_added_train_both_nets() -> None:
    lab = BoundaryLab("spirals:n=200", num_train=20)
    try:
        before, teacher = lab.wait().maps.maps["student"].winner.copy(), lab.maps.maps["teacher"].winner.copy()
        assert lab.run is not None
        first = lab.run.recipe
        x0, x1, y0, y1 = lab.canvas.frame["area"]
        corner = x0 + 0.1 * (x1 - x0), y0 + 0.1 * (y1 - y0)
        k = 1 if (lab._nets["student"](torch.tensor([corner])).argmax(1) != 1).all() else 0
        for n in range(6):
            lab.add_point(corner[0] + 0.02 * n, corner[1], k)
        assert [point[2] for point in lab.canvas.own] == [k] * 6
        assert lab["extra"].count("+") == 5
        assert lab.wait().run.recipe == first  # until Retrain is pressed
        assert lab.stale
        assert lab._stale.layout.display is None
        assert all("stale" in dict(fact["rows"]) for fact in lab.canvas.facts)
        lab.retrain()
        assert not lab.wait().stale
        assert lab.run.recipe == lab.recipe
        training, student = lab.run.recipe.load().train, lab.run.dataset().train
        assert (len(training), len(student)) == (179 + 6, 20 + 6)
        np.testing.assert_allclose(student.x[-6:], np.array(lab.canvas.own)[:, :2], atol=1e-6)
        assert (lab.maps.maps["student"].winner != before).any()
        assert (lab.maps.maps["teacher"].winner != teacher).any()
        here = torch.tensor([[point[:2] for point in lab.canvas.own]])[0]
        assert (lab._nets["teacher"](here).argmax(1) == k).all()
        words = [dict(fact["rows"])["trained with"] for fact in lab.canvas.facts]
        assert "all samples and 6 added points" in words[0]
        assert "20 labelled and 6 added points" in words[1]
        assert "n=200; " in words[0]
        view = lab.view()
        assert view is not None
        assert "6 training points added by hand" in view.caption
        names: dict[str, Any] = {}
        exec(compile(lab.code(), "shown", "exec"), names)
        theirs = exact_map(names["student"], window(lab._data), len(before))
        assert (theirs.winner == lab.maps.maps["student"].winner).all()
        drawn = lab.still()
        lab.reset_controls("extra")
        assert lab.wait().still() != drawn
        assert lab.canvas.own == []
        lab.undo()  # the reset
        assert len(lab.wait().canvas.own) == 6
        assert not lab.stale
        lab.undo()
        assert len(lab.wait().canvas.own) == 5
    finally:
        lab.close()


def test_points_are_taken_away_undone_and_kept_by_problem_and_session(
    lab: BoundaryLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lab.add_point(0.5, 0.25, 1)
    lab.canvas.own = [*lab.canvas.own, [-0.5, 0.125, 2]]  # as a click does
    assert lab["extra"] == "0.5/0.25/1+-0.5/0.125/2"
    lab.canvas.own = lab.canvas.own[1:]
    assert lab["extra"] == "-0.5/0.125/2"
    for text in ("0.5/0.25/1+-0.5/0.125/2", "0.5/0.25/1"):  # one click at a time, however fast
        lab.undo()
        lab.wait()
        assert lab["extra"] == text
    assert lab.canvas.own == [[0.5, 0.25, 1]]
    assert "Retrain" in lab.status.text
    again = BoundaryLab(Session.open(lab.save_session(tmp_path / "points.json"))).wait()
    assert (again["extra"], again.canvas.own, again.stale) == ("0.5/0.25/1", [[0.5, 0.25, 1]], True)
    again.close()
    lab.set(problem="moons", classes=2, epochs=2).wait()
    assert lab.canvas.own == []
    lab.set(problem="spirals", classes=3).wait()
    assert lab.canvas.own == [[0.5, 0.25, 1]]
    assert "extra=0.5/0.25/1" in lab.run.recipe.dataset  # any training has them
    lab.set(extra="").wait()


def test_points_that_cannot_be_are_refused_in_a_sentence(lab: BoundaryLab, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    lab.wait().add_point(0.5, 0.25, 1)
    with pytest.raises(InputError, match=r"must lie on the map, x1 from -.*, got \(99, 0\)"):
        lab.add_point(99, 0, 0)
    with pytest.raises(InputError, match="must have classes from 0 to 2, got 3"):
        lab.add_point(0, 0, 3)
    with pytest.raises(InputError, match="must give X1/X2/CLASS"):
        lab.add_point(0, float("nan"), 0)
    with pytest.raises(InputError, match="must give X1/X2/CLASS"):
        lab.set(extra="here")
    for text, words in (("0/99/0", "must lie on the map"), ("0/0/7", "got 7"), ("there", "X1/X2/CLASS")):
        lab.controls["extra"].value = text  # as a person types it
        lab.wait()
        assert words in lab.status.text
        assert lab.status.kind == "error"
        assert (lab["extra"], lab.canvas.own) == ("0.5/0.25/1", [[0.5, 0.25, 1]])
    session = lab.session()
    assert session is not None
    for text, words in (("0/0/7", "got 7"), ("0/99/0", "on the map"), (7, "extra does not take 7")):
        bad = Session(session.panel, session.folder, session.recipe, {**session.state, "controls": {"extra": text}})
        with pytest.raises(InputError, match=words):
            BoundaryLab(bad)
    with pytest.raises(InputError, match="on the map"):
        BoundaryLab("spirals:extra=0/99/0")
    lab.set(classes=2).wait()
    lab.add_point(0.25, 0.25, 1)
    lab.set(extra="", classes=3).wait()


def test_newer_settings_stop_a_training_and_a_point_does_not_wait_for_it() -> None:
    lab = BoundaryLab(PROBLEM)
    try:
        trained = lab.wait().run
        assert trained is not None
        lab.set(epochs=200, num_train=160)
        until(lambda: lab.status.text.startswith("Training the student"))
        lab.canvas.point = [0.3, 0.3]
        until(lambda: lab._samples["teacher"].origin[0].tolist() == pytest.approx([0.3, 0.3]))
        assert lab.job is not None
        job = lab.job
        assert job.state == "running"
        assert "epochs=200" not in lab.code()  # the nets on show are those of the last whole training
        lab.set(noise=0.2, epochs=3)
        assert lab.wait().run is not trained
        assert job.state == "idle"
        assert lab.run is not None
        assert lab.run.recipe == lab.recipe
        assert lab.run.recipe.epochs == 3
        assert "noise=0.2" in lab.run.recipe.dataset
        assert not trained.path.exists()  # it was in the panel's own folder
    finally:
        lab.close()
    assert not lab.run.path.exists()


def test_cancel_ends_a_training(lab: BoundaryLab) -> None:
    shown = lab.run
    lab.set(epochs=200)
    until(lambda: lab.status.cancellable)
    lab.status.cancelled += 1
    lab.wait()
    assert lab.run is shown
    assert "Cancelled" in lab.status.text


def test_the_attack_that_is_looked_at_trains_nothing() -> None:
    lab = BoundaryLab(PROBLEM)
    try:
        lab.set(epochs=5).wait()
        assert lab.run is not None
        before, recipe = lab.maps.maps["student"].winner.copy(), lab.run.recipe
        lab.set(step_size=0.2, attack_steps=3, step_rule="gap").wait()
        assert lab.recipe == recipe
        lab.set(noise=0.3).wait()
        assert (lab.maps.maps["student"].winner != before).any()
        lab.set(noise=0.1).wait()
        assert lab.run.recipe == recipe
        assert (lab.maps.maps["student"].winner == before).all()
        lab.set(train_step_size=0.2, train_step_rule="gap").wait()
        assert (lab.run.recipe.step_size, lab.run.recipe.step_rule) == (0.2, "gap")
        assert (lab.maps.maps["student"].winner != before).any()
        teacher, student = (dict(fact["rows"])["trained with"] for fact in lab.canvas.facts)
        assert teacher == "spirals: noise=0.1, classes=3, n=200; mlp, 60 epochs, all samples"
        assert student == "amkd; mlp-small, 5 epochs, 100 labelled; attack: gap step 0.20, 20 at most"
    finally:
        lab.close()


def test_what_is_cancelled_leaves_the_nets_of_the_run_marked_as_stale(lab: BoundaryLab) -> None:
    before, run = lab.maps.maps["student"].winner.copy(), lab.run
    assert lab._stale.layout.display == "none"
    lab.set(epochs=200, noise=0.2)
    until(lambda: lab.canvas.frame["maps"][-1]["note"].startswith("epoch "))
    assert "200 epochs" in lab.canvas.facts[1]["rows"][0][1]
    with pytest.raises(InputError, match="being trained"):
        lab.view()
    lab.status.cancelled += 1
    lab.wait()
    assert lab.run is run
    assert (lab.maps.maps["student"].winner == before).all()
    assert [m["note"] for m in lab.canvas.frame["maps"]] == ["", ""]
    assert lab._stale.layout.display is None
    assert all("stale" in dict(fact["rows"]) for fact in lab.canvas.facts)
    assert "noise=0.1" in lab.code()
    assert lab.view() is not None
    lab.set(epochs=3).wait()
    assert lab._stale.layout.display == "none"
    lab.set(epochs=200)
    until(lambda: lab.status.cancellable)
    lab.status.cancelled += 1
    lab.wait()
    assert ["stale" in dict(fact["rows"]) for fact in lab.canvas.facts] == [False, True]
    lab.set(epochs=3).wait()
    assert not lab.stale
    lab.controls["epochs"].value = 4
    lab.wait()
    lab.retrain()
    assert lab.wait().run is not None
    assert lab.run.recipe.epochs == 4


def test_a_failed_training_is_a_sentence(lab: BoundaryLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise InputError("No folder today.")

    monkeypatch.setattr(Run, "create", fail)
    lab.set(epochs=7).wait()
    assert (lab.status.text, lab.status.kind) == ("No folder today.", "error")


def test_maps_that_gave_way_to_a_training_that_fails_are_drawn(lab: BoundaryLab, monkeypatch: Any) -> None:
    lab.wait()
    assert lab.run is not None
    with monkeypatch.context() as patch:
        patch.setattr(lab.compute, "waits", lambda *keys: "nets" in keys)
        lab._take(lab.run, lab._trained)
        assert lab._logits == {}
    lab._back("No.")
    assert {name: len(found) for name, found in lab._logits.items()} == {"teacher": 200, "student": 200}
    assert lab.wait().canvas.frame["side"] == 200


def test_a_session_keeps_the_run_of_the_nets_on_show(lab: BoundaryLab, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    lab.set(attack_steps=7, target=1)
    lab.attack(0.4, -0.9)
    session = Session.open(lab.save_session(tmp_path / "one.json"))
    kept = session.open_run(lab)
    assert kept.path.parent.name == "runs"
    assert lab.run is not None
    assert lab.run.path.resolve() == kept.path
    assert "Run.open" in lab.code()
    again = BoundaryLab(session).wait()
    assert again["attack_steps"] == 7
    assert int(again._samples["teacher"].target) == 1
    assert again.canvas.point == lab.canvas.point
    assert again.maps.maps["student"].winner.tolist() == lab.maps.maps["student"].winner.tolist()
    again.close()
    lab.set(epochs=2).wait()  # trained in the panel's folder again
    assert kept.path.exists()
    assert "Run.open" not in lab.code()


def test_its_code_runs_and_attacks_the_same_point(lab: BoundaryLab, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    lab.attack(0.4, -0.9)
    names: dict[str, Any] = {}
    exec(compile(lab.code(), "shown", "exec"), names)
    assert names["x"].tolist() == [[pytest.approx(0.4), pytest.approx(-0.9)]]
    assert int(names["samples"]["teacher"].base) == int(lab._samples["teacher"].base)


def test_export_writes_a_page(lab: BoundaryLab, tmp_path: Path) -> None:
    assert lab.export(tmp_path / "map.html").stat().st_size > 10_000


def test_images_are_sent_elsewhere() -> None:
    with pytest.raises(InputError, match="use SampleLab"):
        BoundaryLab("digits")


def test_a_net_that_says_the_target_already_is_called_so(lab: BoundaryLab) -> None:
    assert lab._data is not None
    x = torch.tensor([[0.4, -0.9]])
    with torch.no_grad():
        own = lab._nets["teacher"](x).argmax(1)
    found = bss(lab._nets["teacher"], x, own, keep_path=True)
    assert "already there" in attack_table({"teacher": found}, {"teacher": []}, lab._data.classes)


def test_an_export_has_each_net_s_own_way(lab: BoundaryLab) -> None:
    lab.set(target="drawn").wait()
    lab.attack(0.4, -0.9)
    view = lab.view()
    assert view is not None
    assert "1 boundary sample of the teacher" in view.caption
    assert "1 boundary sample of the student" in view.caption
    drawn = [t for t in view.figure.data if t.type == "scatter" and not t.showlegend]
    ends = [t for t in drawn if t.marker.symbol == "circle-open"]
    assert [[float(t.x[0]), float(t.y[0])] for t in ends] == [
        pytest.approx(found.x[0].tolist()) for found in lab._samples.values()
    ]


# in a page

CELL = f"from amkd_viz.panels import BoundaryLab\np = BoundaryLab({PROBLEM!r})\np"
MAPS = "document.querySelector('.amkd-maps').dataset"
HASH = "() => [...document.querySelectorAll('.amkd-map canvas')].map(c => c.toDataURL()).join()"
BURST = """(label) => {
    const handle = document.querySelector(`.noUi-handle[aria-label="${label}"]`);
    const press = (key) => handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    press("Home");
    for (let i = 0; i < 50; i++) press("ArrowRight");
}"""


def begin(notebook: Any) -> None:
    notebook.run()
    notebook.settled("towards")
    notebook.page.wait_for_function(f"{MAPS}.side === '200'")


def at(page: Any, share_x: float, share_y: float) -> tuple[float, float]:
    """Return the page coordinates of a place in the first map, counted from its lower left corner."""
    box = page.locator(".amkd-map canvas").first.bounding_box()
    size = box["width"] - 40
    return box["x"] + 34 + share_x * size, box["y"] + 4 + (1 - share_y) * size


def point(notebook: Any) -> list[float]:
    """Return the kernel's point once the page sends no newer one."""
    seen: list[list[float]] = [[], notebook.ask("print(p.wait().canvas.point)")]
    while seen[-1] != seen[-2]:
        notebook.page.wait_for_timeout(300)
        seen.append(notebook.ask("print(p.wait().canvas.point)"))
    return seen[-1]


@pytest.mark.browser
@pytest.mark.slow
def test_page_shows_three_maps_and_names_its_controls(notebook: Any) -> None:
    page = notebook.page
    assert page.locator(".amkd-map canvas").count() == 3
    titles = page.locator(".amkd-map figcaption b").all_inner_texts()
    assert titles == ["teacher", "student", "disagreement"]
    assert page.locator(".noUi-handle[aria-label='temperature']").count() == 1
    assert page.locator(".amkd-map canvas").first.get_attribute("role") == "img"
    assert page.locator(".amkd-keys:not(.amkd-signs) span").all_inner_texts() == ["spiral 1", "spiral 2", "spiral 3"]


@pytest.mark.browser
@pytest.mark.slow
def test_a_dragged_point_is_attacked_where_it_was_let_go(notebook: Any) -> None:
    page = notebook.page
    page.locator(".amkd-maps").scroll_into_view_if_needed()
    page.mouse.move(*at(page, 0.5, 0.5))
    page.mouse.down()
    for share in (0.55, 0.6, 0.65, 0.7):
        page.mouse.move(*at(page, share, 0.3))
    page.mouse.up()
    x, y = point(notebook)
    x0, x1, y0, y1 = notebook.ask("print(p.canvas.frame['area'])")
    assert (x - x0) / (x1 - x0) == pytest.approx(0.7, abs=0.01)
    assert (y - y0) / (y1 - y0) == pytest.approx(0.3, abs=0.01)
    page.wait_for_function(f"{MAPS}.marks > 4")
    assert notebook.ask("print(p._samples['teacher'].origin.tolist()[0])") == pytest.approx([x, y], abs=1e-5)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    moved = point(notebook)
    assert moved[0] - x == pytest.approx(0.01 * (x1 - x0), rel=1e-3)
    assert moved[1] - y == pytest.approx(0.05 * (y1 - y0), rel=1e-3)
    assert page.locator(".amkd-read").first.inner_text() != ""


@pytest.mark.browser
@pytest.mark.slow
def test_the_slider_of_the_epochs_says_which_one_is_on_show(notebook: Any) -> None:
    readout = notebook.page.locator(".amkd-scrubber .widget-readout").first
    notebook.until(lambda: readout.inner_text() == "60")
    notebook.ask("p.set(epoch=7).wait()")
    notebook.until(lambda: readout.inner_text() == "7")
    notebook.ask("p.set(epoch=60).wait()")
    notebook.until(lambda: readout.inner_text() == "60")


@pytest.mark.browser
@pytest.mark.slow
def test_a_click_adds_a_point_of_the_chosen_class_and_another_one_removes_it(notebook: Any) -> None:
    page, before = notebook.page, point(notebook)
    panel = page.locator(".amkd-panel").first
    panel.locator("select", has_text="adds: spiral 2").select_option("adds: spiral 2")
    page.wait_for_selector(".amkd-map canvas.amkd-adding")
    page.locator(".amkd-maps").scroll_into_view_if_needed()
    shares = [(0.2, 0.8), (0.3, 0.8), (0.4, 0.8)]
    for share in shares:
        page.mouse.click(*at(page, *share))  # faster than the kernel answers
    page.wait_for_function(f"{MAPS}.own === '3'")
    x0, x1, y0, y1 = notebook.ask("print(p.canvas.frame['area'])")
    notebook.until(lambda: len(notebook.ask("print(p.wait().canvas.own)")) == 3)
    for (x, y, k), (u, v) in zip(notebook.ask("print(p.canvas.own)"), shares, strict=True):
        assert ((x - x0) / (x1 - x0), (y - y0) / (y1 - y0), k) == pytest.approx((u, v, 1), abs=0.01)
    assert point(notebook) == before  # the blue point stays
    assert "added by hand" in page.locator(".amkd-signs").first.inner_text()
    page.mouse.click(*at(page, 0.31, 0.8))
    page.wait_for_function(f"{MAPS}.own === '2'")
    canvas = page.locator(".amkd-map canvas").first
    canvas.focus()
    page.keyboard.press("Enter")  # one where the blue point is
    page.wait_for_function(f"{MAPS}.own === '3'")
    notebook.until(lambda: notebook.ask("print(p.canvas.own[-1][:2])") == pytest.approx(before, abs=6e-4))
    page.keyboard.press("Enter")
    page.wait_for_function(f"{MAPS}.own === '2'")
    panel.get_by_role("button", name="Undo").click()
    page.wait_for_function(f"{MAPS}.own === '3'")
    panel.get_by_role("button", name="Undo").click()
    page.wait_for_function(f"{MAPS}.own === '2'")
    panel.get_by_role("button", name="Retrain").click()
    notebook.until(lambda: notebook.ask("p.wait(); print('extra=' in p.run.recipe.dataset, p.stale)") == "True False")
    notebook.ask("p.set(extra='', adds=-1).wait(); p.retrain(); p.wait()")


@pytest.mark.browser
@pytest.mark.slow
def test_a_burst_in_the_page_costs_few_evaluations(notebook: Any) -> None:
    notebook.ask("own = p._attack; seen = []\ndef count():\n    own(); seen.append(p['step_size'])\np._attack = count")
    notebook.page.evaluate(BURST, "step size")
    notebook.until(lambda: notebook.ask("print(p.wait()['step_size'])") == 0.104)
    seen = notebook.ask("p.wait(); print(seen)")
    notebook.ask("p._attack = own")
    assert seen[-1] == 0.104
    assert len(seen) <= 5, seen


@pytest.mark.browser
@pytest.mark.slow
def test_predicting_hides_the_path_until_answered(notebook: Any) -> None:
    page = notebook.page
    page.get_by_label("What will happen? Ask me first").check()
    page.wait_for_function(f"{MAPS}.marks === '1'")
    notebook.settled("where will it end")
    page.get_by_role("button", name="not across").click()
    page.wait_for_function(f"{MAPS}.marks > 1")
    notebook.until(lambda: "of 1 so far" in page.locator(".amkd-pictures").inner_text())
    page.get_by_label("What will happen? Ask me first").uncheck()


@pytest.mark.browser
@pytest.mark.slow
def test_temperature_and_theme_change_the_picture(notebook: Any) -> None:
    page = notebook.page
    before, serial = page.evaluate(HASH), page.evaluate(f"{MAPS}.serial")
    notebook.ask("p.set(temperature=5.0)")
    page.wait_for_function(f"{MAPS}.serial !== '{serial}'")
    warm = page.evaluate(HASH)
    assert warm != before
    notebook.theme("dark")
    notebook.until(lambda: page.evaluate(HASH) != warm)
    notebook.theme("light")


@pytest.mark.browser
@pytest.mark.slow
def test_a_reloaded_page_finds_the_panel_and_a_cell_run_again_replaces_its_own(notebook: Any) -> None:
    page, before = notebook.page, point(notebook)
    notebook.ask("p.set(temperature=2.0)")
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    notebook.ready()
    page.wait_for_selector(".amkd-map canvas", timeout=60_000)
    assert point(notebook) == before
    readout = page.locator(".widget-slider", has=page.locator("[aria-label='temperature']")).locator(".widget-readout")
    notebook.until(lambda: readout.inner_text() == "2.0")
    serial = page.evaluate(f"{MAPS}.serial")
    notebook.ask("p.set(temperature=3.0)")  # and it is alive
    page.wait_for_function(f"{MAPS}.serial !== '{serial}'")
    notebook.ask(CELL.replace("p = ", "q = "))  # another panel, of no cell
    for _ in range(2):
        notebook.run()
    notebook.settled("towards")
    notebook.until(lambda: page.locator(".amkd-panel").count() == 1)
    assert notebook.ask("q.attack(0.1, 0.2); print(p.wait().canvas.point == q.canvas.point, q.closed)") == "False False"
    notebook.ask("q.close()")
    threads = "import threading; print(sum(t.name.startswith('BoundaryLab') for t in threading.enumerate()))"
    notebook.until(lambda: notebook.ask(threads) == 3)  # compute, paint, slow
