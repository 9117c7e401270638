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
from PIL import Image
from torch import Tensor

from tests.waiting import until

pytest.importorskip("anywidget")

from amkd_viz import Recipe, Run, load
from amkd_viz.core.errors import InputError
from amkd_viz.objectives import Step, Term, ce, methods
from amkd_viz.panels import DistillLab, distill_lab, slice_maps
from amkd_viz.panels.distill_words import done_share, words
from amkd_viz.panels.live import DutyCycle, LiveStudent
from amkd_viz.panels.preview import is_quick
from amkd_viz.panels.session import Session
from amkd_viz.runs import Job, distill, prepare
from amkd_viz.training import EpochEnded, Started, Training, suggested
from amkd_viz.training.examples import fitted
from amkd_viz.views.labels import percent
from amkd_viz.views.slices import exact_map, window
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
Make = Callable[..., DistillLab]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lab() -> Iterator[Make]:
    made: list[DistillLab] = []

    def make(*args: Any, **about: Any) -> DistillLab:
        made.append(DistillLab(*args, **about))
        return made[-1]

    yield make
    for panel in made:
        panel.close()


def ended(panel: DistillLab) -> Run:
    until(lambda: panel.state in ("done", "failed", "idle"))
    until(lambda: panel.status.kind in ("done", "error") or panel.status.text.startswith("Stopped"))
    panel.wait()
    assert panel.run is not None
    return panel.run


def drawn(panel: DistillLab) -> DistillLab:
    """Wait for the maps that stay."""
    until(lambda: panel.pictures.maps.canvas.frame.get("side") == 160)
    return panel.wait()  # type: ignore[return-value]


def shown(panel: DistillLab) -> Any:
    """The classes in the student's map."""
    frame = panel.pictures.maps.canvas.frame
    return np.frombuffer(frame["maps"][1]["winner"], np.uint8).reshape(frame["side"], frame["side"])


def overrides(panel: DistillLab) -> dict[str, Any]:
    """What has been overridden by now, each number's last value."""
    lines = panel.run.interventions() if panel.run is not None else []
    return {key: value for line in lines for key, value in line["changes"].items()}


def test_what_a_step_notes_is_shown_while_it_trains(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Training.step

    def step(self: Training, *batch: Any) -> Any:
        if (self.epoch, self.batch) == (0, 1):
            self.notes.append("Steps are <slow>.")
        return usual(self, *batch)

    monkeypatch.setattr(Training, "step", step)
    panel = lab(TINY.replace(epochs=200))
    panel.start()
    until(lambda: "note: Steps are &lt;slow&gt;." in panel.pictures.log.value)
    assert panel.state == "running"
    assert panel.pictures.log.value.count("slow") == 1


def test_before_start_there_are_data_teacher_and_an_untrained_student(lab: Make) -> None:
    panel = lab(TINY)

    def notes() -> list[str]:
        return [m["note"] for m in panel.pictures.maps.canvas.frame.get("maps", [])]

    until(lambda: notes() == ["", "untrained"])
    first = prepare(TINY)
    area = window(load(TINY.dataset))
    assert (shown(panel) == exact_map(first.student.eval(), area, 160).winner).all()
    assert len(panel.pictures.maps.canvas.marks[0].points) == 300
    until(lambda: (panel.status.text, panel.status.kind) == ("Ready: press Start.", "idle"))  # after the pictures
    assert panel.run is None
    panel.set(student="mlp", method="kd")
    until(lambda: (shown(panel) == exact_map(prepare(TINY.replace(student="mlp")).student, area, 160).winner).all())
    panel.start()
    ended(panel)
    assert notes() == ["", "epoch 4"]


def test_the_empty_maps_say_whether_they_come_before_start(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(distill_lab, "first_training", lambda *given: go_on.wait() and None)  # given up
    panel = lab(TINY)
    canvas = panel.pictures.maps.canvas
    until(lambda: canvas.empty == "Data and teacher are being loaded.")
    go_on.set()
    panel.wait()
    assert canvas.empty == "Teacher, student and where they disagree: after Start."


def test_a_teacher_that_takes_long_is_not_trained_before_start(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Recipe(dataset="cifar10", teacher="resnet26", student="resnet8")
    assert not is_quick(own)
    assert is_quick(own.replace(teacher="mine.safetensors"))
    assert is_quick(own.replace(dataset="moons:noise=0.2", teacher="mlp"))
    assert not is_quick(own.replace(teacher=""))
    monkeypatch.setattr(Path, "exists", lambda self: self.name == "summary.json")
    assert is_quick(own)


def test_start_does_not_wait_for_the_preview(lab: Make) -> None:
    panel = lab(TINY.replace(teacher_epochs=4000))
    until(lambda: panel.status.text.startswith("Training the teacher once: epoch 2"))
    assert panel.status.kind == "busy"
    panel.start()
    until(lambda: panel._live.teaching is not None and not panel.slow._busy)
    assert panel.state == "running"
    panel.stop()


def test_a_run_from_start_to_end(lab: Make) -> None:
    panel = lab(TINY)
    panel.start()
    run = ended(panel)
    assert (panel.state, run.finished, run.recipe) == ("done", True, TINY)
    assert "test accuracy" in panel.status.text
    frame = panel.pictures.maps.canvas.frame
    assert [m["title"] for m in frame["maps"]] == ["teacher", "student"]
    assert (frame["maps"][1]["note"], frame["side"]) == ("epoch 4", 160)
    area = window(load(TINY.dataset))  # of all points, so that maps of several subsets can be compared
    assert (shown(panel) == exact_map(run.student(), area, 160).winner).all()
    titles = {axis["title"] for axis in panel.pictures.curves.axes}
    assert titles >= {"cross-entropy with labels", "validation accuracy"}
    assert np.frombuffer(panel.pictures.curves.series[0]["x"], np.float32).tolist() == [1, 2, 3, 4]
    assert panel.pictures.scatter.student
    assert panel.pictures.log.value.startswith("<pre>epoch 4: ")


def test_the_batch_at_which_it_is_paused_is_drawn(lab: Make) -> None:
    panel = lab(TINY.replace(epochs=2000))
    panel.start()
    until(lambda: panel._live.epoch > 3)
    panel.pause()
    until(lambda: panel.state == "paused")
    panel.step()  # a pause may come within a step, whose batch statistics are not the last picture's
    assert panel.job is not None
    assert panel.job.settle(30) == "paused"
    note = f"epoch {panel._live.epoch + 1}, batch {panel._live.batch}"
    until(lambda: [m["note"] for m in panel.pictures.maps.canvas.frame.get("maps", [])][1:] == [note])
    panel.wait()
    student = panel._live.copy_now()
    assert student is not None
    frame = panel.pictures.maps.canvas.frame
    assert (shown(panel) == exact_map(student, tuple(frame["area"]), frame["side"]).winner).all()
    assert not panel._buttons["Stop"].disabled
    assert panel._buttons["Resume"].disabled  # "Go on" is the one
    panel._back._sent.clear()  # as two seconds later: the next value is not an echo of a page
    panel._back._sent.append((panel["epoch"], 0.0))
    panel.set(epoch=1)
    until(lambda: "You look back at epoch 1" in panel.status.text)


def test_a_pace_makes_a_training_rest_and_a_button_ends_the_rest(lab: Make) -> None:
    panel = lab(TINY.replace(epochs=20), pace=1e-4)
    assert panel["pace"] == 1e-4
    panel.start()
    until(lambda: panel._pace.resting)  # for hours
    epoch = panel._live.epoch
    panel.step()
    until(lambda: panel.state == "paused" and panel._live.epoch == epoch + 1)
    panel.set(pace=float("inf"))
    panel.pause()
    ended(panel)
    assert panel.state == "done"
    with pytest.raises(InputError, match="pace must be above 0"):
        DistillLab(TINY, pace=0)


def test_the_word_on_an_override_outlives_those_of_the_training(lab: Make) -> None:
    panel = lab(TINY.replace(epochs=2000))
    panel.start()
    until(lambda: panel._live.epoch > 1)
    words: list[str] = []
    panel.status.observe(lambda change: words.append(change["new"]), names="text")
    panel.set(**{"boundary_triplet.margin": 0.25})
    panel.paint.wait(5)
    for _ in range(3):
        panel._catch_up()
    panel.paint.wait(5)
    assert words == ["boundary_triplet margin: 0.25 from the next batch on."]


def test_its_code_is_that_of_the_run_on_show(lab: Make) -> None:
    run = distill(TINY)
    panel = lab(run).wait()
    assert "fork" not in panel.code()
    assert "another run" not in panel.code()
    panel.set(seed=7)
    first, _, other = panel.code().partition("# Start, with the controls as they stand now")
    assert "seed=7" not in first
    assert "seed=7" in other
    panel.set(epoch=2, learning_rate=0.02)
    panel.fork()
    child = ended(panel)
    code = panel.code()
    assert f"fork(Run.open({str(run.path.resolve())!r}), epoch=2" in code
    names: dict[str, Any] = {}
    exec(compile(code, "shown", "exec"), names)
    assert names["run"].recipe == child.recipe


def test_a_slow_picture_does_not_lock_out_the_others() -> None:
    duty = DutyCycle(share=0.1, least=0.0)
    duty.spent(50.0)  # the first sets libraries up
    assert not duty.due()
    until(duty.due, 5)
    duty = DutyCycle(share=0.1, least=0.0)
    for seconds in (0.01, 50.0):  # the second counts as 0.02
        duty.spent(seconds)
        assert not duty.due()
        until(duty.due, 5)
    for _ in range(9):
        duty.spent(50.0)
    assert not duty.due()


def test_a_run_at_full_speed_sends_curves_within_a_budget_and_all_of_them_at_its_end(
    lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = lab(TINY.replace(epochs=12))
    own, sent = panel.pictures.draw_log, []
    monkeypatch.setattr(DutyCycle, "due", lambda self: False)
    monkeypatch.setattr(panel.pictures, "draw_log", lambda *given: (sent.append(1), own(*given)))
    panel.start()
    ended(panel)
    panel.wait()
    assert 1 <= len(sent) <= 3
    assert max(len(curve["x"]) // 4 for curve in panel.pictures.curves.series) == 12  # float32


def test_pause_step_override_stop_resume(lab: Make) -> None:
    panel = lab(TINY.replace(epochs=40))
    for batch in (1, 2):
        panel.step()
        until(lambda: panel._live.batch == batch and panel.state == "paused")  # noqa: B023
    until(lambda: not panel._buttons["Stop"].disabled)
    assert panel.controls["dataset"].disabled
    assert not panel.controls["boundary_triplet.margin"].disabled
    panel.set(**{"boundary_triplet.margin": 0.25, "learning_rate": 0.05, "boundary_triplet.mining": "hard"}).wait()
    panel.pause()  # paused: goes on
    expected = {"boundary_triplet.margin": 0.25, "learning_rate": pytest.approx(0.05)}
    expected["boundary_triplet.mining"] = "hard"
    until(lambda: overrides(panel) == expected)
    panel.stop()
    stopped = ended(panel)
    assert (panel.state, stopped.finished) == ("idle", False)
    assert "boundary_triplet.margin → 0.25" in [e["text"] for e in panel.pictures.curves.events]
    assert "replay" in panel.code()
    panel.resume()
    assert ended(panel).path == stopped.path
    assert panel.state == "done"


def test_a_burst_of_a_slider_is_a_few_overrides_and_the_last_counts(lab: Make) -> None:
    panel = lab(TINY.replace(epochs=60))
    panel.step()
    until(lambda: panel.state == "paused")
    panel.wait()
    for n in range(50):
        panel.set(**{"kd.scale": 0.5 + n / 50})
    panel.wait()
    panel.step()
    until(lambda: overrides(panel) == {"kd.scale": pytest.approx(1.48)})
    assert panel.run is not None
    assert len(panel.run.interventions()) <= 10


def test_umap_holds_up_no_other_picture(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = drawn(lab(distill(TINY)))
    asked, go_on = threading.Event(), threading.Event()
    usual = panel.pictures.joint.places

    def slow(student: object, how: str = "pca") -> object:
        if how == "umap":
            asked.set()
            go_on.wait(30)
        return usual(student, "pca")  # type: ignore[arg-type]

    monkeypatch.setattr(panel.pictures.joint, "places", slow)
    layouts: list[object] = []
    monkeypatch.setattr(panel.pictures, "show_joint", layouts.append)
    panel.set(layout="umap")
    assert asked.wait(10)
    panel.set(epoch=2)  # while UMAP is still computing
    until(lambda: panel.pictures.maps.canvas.frame["maps"][1]["note"] == "epoch 2" and len(layouts) == 2)
    until(lambda: panel.status.text == "UMAP of epoch 2 ...")
    go_on.set()
    panel.wait()
    assert len(layouts) == 3  # the first UMAP is not shown any more
    assert panel.status.text.endswith("the student after epoch 2.")
    asked.clear()
    go_on.clear()
    panel.set(epoch=1)
    assert asked.wait(10)
    panel.status.cancelled += 1  # as the button does
    until(lambda: panel["layout"] == "pca" and panel.status.text.endswith("the student after epoch 1."))
    go_on.set()
    panel.wait()
    assert len(layouts) == 5  # PCA, and PCA again


def test_a_method_of_ones_own_has_its_controls(lab: Make) -> None:
    methods.register("quiet")(lambda: ce() + quiet())
    try:
        panel = lab(TINY.replace(method="quiet", epochs=2))
        panel.set(**{"quiet.strength": 0.5, "quiet.norm": "max", "quiet.power": 3}).wait()
        assert panel.recipe.overrides == {"quiet.strength": 0.5, "quiet.norm": "max", "quiet.power": 3}
        panel.start()
        assert ended(panel).config["objective"] == "ce() + quiet(strength=0.5, norm=max, power=3)"
    finally:
        methods.forget("quiet")


@dataclass(frozen=True)
class quiet(Term):
    """Small logits; its fields have no bounds."""

    name: ClassVar[str] = "quiet"
    strength: float = 0.1
    norm: str = "mean"
    power: int = 2

    def __call__(self, step: Step) -> Tensor:
        z = step.outputs().logits.abs() ** self.power
        return self.strength * (z.amax() if self.norm == "max" else z.mean())


def test_what_makes_no_sense_is_refused_in_a_sentence(lab: Make) -> None:
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
    with pytest.raises(InputError, match="margin"):
        panel.set(**{"boundary_triplet.margin": 9})
    with pytest.raises(InputError, match="control of DistillLab"):
        panel.set(magic=1)
    with pytest.raises(InputError, match="dataset"):
        panel.set(dataset="squares")
    panel.close()
    with pytest.raises(InputError, match="DistillLab is closed"):
        panel.start()
    assert panel.job is None


def test_a_method_that_the_nets_do_not_fit_is_refused_at_once(lab: Make) -> None:
    panel = lab(TINY)
    until(lambda: panel.pictures.maps.ready)
    panel.start()
    run = ended(panel)
    reason = "fitnet cannot be trained with these nets: layer of student must be between -1 and -1 for mlp-tiny"
    panel.set(method="fitnet").wait()
    assert panel.status.text.startswith(reason)
    assert panel.status.kind == "error"
    for action in (panel.start, panel.fork):
        with pytest.raises(InputError, match=reason):
            action()
    assert (panel.run.path, panel.pictures.maps.ready) == (run.path, True)  # it stays on show
    assert len(list(Path("runs").iterdir())) == 1
    panel.set(student="mlp").wait()
    assert panel.status.text.endswith("layer -2 of the student is (128,); choose a convolutional net.")
    panel.set(method="kd").wait()
    assert panel.status.text == f"kd: {methods.about('kd')}"
    fresh = lab(TINY.replace(method="fitnet"))
    until(lambda: fresh.status.kind == "error")
    fresh.set(method="kd")
    until(lambda: fresh.pictures.maps.ready)
    assert fresh.wait().status.text == f"kd: {methods.about('kd')}"


def test_a_failure_is_shown_in_the_panel(lab: Make) -> None:
    panel = lab(TINY.replace(dataset="cifar10", teacher="resnet8", student="resnet8", root="nowhere"))
    panel.start()
    until(lambda: panel.status.kind == "error")
    assert "cifar" in panel.status.text.lower()
    assert len(panel.status.text.splitlines()) == 1
    assert panel.state == "failed"
    until(lambda: not panel._buttons["Start"].disabled)


@pytest.mark.usefixtures("checkpoint_each_epoch")
def test_a_training_that_diverged_goes_on_with_the_slider_that_was_moved(lab: Make) -> None:
    panel = lab(TINY)
    panel.step_epoch()
    until(lambda: panel.state == "paused")
    panel.wait()
    next(panel._live.training.student.parameters()).data[0] = float("nan")  # type: ignore[union-attr]
    panel.pause()  # paused: goes on
    run = ended(panel)
    assert panel.state == "failed"
    assert "not finite in epoch 2" in panel.status.text
    assert "lower learning_rate=0.1 or the weights of the terms and resume the run" in panel.status.text
    panel.set(**{"learning_rate": 0.05, "kd.scale": 1.5, "student": "mlp"}).wait()
    assert panel.status.text == "student: mlp; Start begins a new run with it."
    panel.set(**{"kd.scale": 1.25}).wait()
    assert panel.status.text.endswith(": 1.25; Resume goes on with it, Start begins a new run with it.")
    panel.resume()
    assert ended(panel).path == run.path
    assert run.finished
    (change,) = run.interventions()
    assert (change["epoch"], change["batch"]) == (1, 0)
    assert change["changes"] == {"learning_rate": pytest.approx(0.05), "kd.scale": 1.25}
    panel.set(learning_rate=0.02).wait()
    assert panel.status.text == "learning rate: 0.02; Start begins a new run with it."  # it is finished


def test_where_no_image_moves_there_is_no_map_and_one_sentence(lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    usual = slice_maps.telling_triple
    monkeypatch.setattr(slice_maps, "telling_triple", lambda *a, **b: tried.append(1) or usual(*a, **b))
    monkeypatch.setattr(distill_lab, "is_quick", lambda recipe: False)  # the start would try it, too
    nets = {"teacher": "cnn-tiny", "student": "cnn-tiny", "teacher_epochs": 1, "teacher_batch_size": 100}
    panel = lab(TINY.replace(dataset="digits", step_size=0.001, attack_steps=1, **nets))
    panel.start()
    until(lambda: panel.status.kind == "done")
    run = ended(panel)
    assert run.finished
    assert "Done: test accuracy" in panel.status.text
    sentence = "There is no map: an attack with step_size=0.001 and attack_steps=1 moves no image away from itself; "
    assert panel.pictures.maps.canvas.note == f"{sentence}raise one of them."
    assert len(panel.pictures.curves.series) > 1  # the rest is there
    for _ in range(3):
        panel._beat()
        panel.wait()
    assert len(tried) == 1
    panel.open(run)
    panel.wait()
    assert len(tried) == 2
    assert panel.pictures.maps.canvas.note.startswith("There is no map: ")
    assert len(panel.pictures.curves.series) > 1


def test_the_line_says_when_it_tests() -> None:
    live = LiveStudent()
    training = prepare(TINY)
    live.hear(Started(training))
    live.batches = 3
    assert words(live, "running", None) == "Training epoch 1."
    live.hear(EpochEnded(4, {}))
    count = len(training.dataset.test)
    assert words(live, "running", None) == f"Testing on {count:,} points ..."
    assert done_share(live, "running") == ("busy", -1.0)


def test_a_run_that_something_else_trains_is_followed_to_its_end(lab: Make) -> None:
    """Maps, words and buttons follow the log, as for a run of the panel's own."""
    other = Job(TINY.replace(epochs=30, evaluate_every=1))
    other.step_epoch()
    assert other.settle(60) == "paused"
    assert other.run is not None
    panel = drawn(lab(other.run))
    until(lambda: not panel._buttons["Fork from here"].disabled)
    assert panel._buttons["Resume"].disabled
    assert panel._buttons["Step"].disabled
    with pytest.raises(InputError, match="Another process trains"):
        panel.resume()
    panel._buttons["Resume"].click()  # as a page that is behind does
    until(lambda: panel.status.kind == "error")
    notes: list[str] = []
    panel.pictures.maps.canvas.observe(lambda c: notes.append(c["new"]["maps"][1]["note"]), names="frame")
    for _ in range(3):
        before = panel.log.done if panel.log else 0
        other.step_epoch()
        assert other.settle(60) == "paused"
        until(lambda before=before: panel.log is not None and panel.log.done > before)
        panel.wait()
        assert "Another process trains" in panel.status.text  # the refusal stays
        assert panel.status.kind == "error"
    until(lambda: "epoch 4" in notes)
    panel.set(layout="pca", learning_rate=0.2)  # an action
    until(lambda: panel.status.kind != "error")
    other.resume()
    assert other.wait(120) == "done"
    until(lambda: panel.status.kind == "done")
    assert f"Done: test accuracy {percent(other.run.summary['test_accuracy'])}" in panel.status.text
    until(lambda: panel._buttons["Resume"].disabled and not panel._buttons["Start"].disabled)
    assert (panel["epoch"], notes[-1]) == (30, "epoch 30")
    final = exact_map(other.run.student(), window(load(TINY.dataset)), 160).winner
    assert (shown(panel) == final).all()


def test_a_run_that_was_left_can_be_resumed_once_nobody_trains_it(lab: Make) -> None:
    other = Job(TINY.replace(epochs=30))
    other.step_epoch()
    assert other.settle(60) == "paused"
    assert other.run is not None
    panel = drawn(lab(other.run))
    other.stop()
    other.wait(60)
    until(lambda: not panel._buttons["Resume"].disabled)
    until(lambda: "Resume goes on" in panel.status.text)


def test_look_back_fork_and_session(lab: Make) -> None:
    run = distill(TINY)
    panel = drawn(lab(run))
    panel.set(epoch=2).wait()
    assert panel.pictures.maps.canvas.frame["maps"][1]["note"] == "epoch 2"
    path = panel.save_session()
    assert Session.open(path).state == {"epoch": 2}
    again = drawn(lab(Session.open(path)))
    assert (shown(again) == shown(panel)).all()
    panel.wait()
    assert (f"session {path.stem}", str(path)) in panel.controls["earlier"].options
    page = panel.export().read_text()
    assert page.count("<figure>") == 3
    assert "<h1>spirals, amkd: the student after epoch 2</h1>" in page
    view = panel.view()
    assert view is not None
    assert (view.arrays["student.winner"].ravel() == shown(panel).ravel()).all()  # the same picture
    panel.set(epoch=4).wait()
    panel.set(earlier=str(path), overlay=str(run.path)).wait()
    assert panel.pictures.maps.canvas.frame["maps"][1]["note"] == "epoch 2"
    panel.set(**{"boundary_triplet.margin": 0.5}).wait()
    panel.fork()
    child = ended(panel)
    assert child.config["parent"]["epoch"] == 2
    assert child.recipe.overrides == {"boundary_triplet.margin": 0.5}
    assert child.finished
    assert run.path != child.path
    panel.set(overlay=str(run.path)).wait()  # faintly behind the fork's curves
    assert {s["faint"] for s in panel.pictures.curves.series} == {True, False}


def test_controls_follow_the_recipe_and_the_method(lab: Make) -> None:
    recipe = TINY.replace(method="bss", overrides={"kd.weight": 2.0, "boundary_kd.scale": 0.5, "kd.temperature": 4.0})
    panel = lab(recipe)
    panel.wait()
    assert panel.recipe == recipe
    assert "boundary_triplet.margin" not in panel.values  # nothing has needed it
    with pytest.raises(InputError, match=r"did you mean 'boundary_triplet\.margin'"):
        panel.set(**{"boundary_triplet.margine": 0.5})
    assert panel["boundary_triplet.margin"] == 1
    assert panel.controls["boundary_triplet.margin"].layout.display == "none"
    panel.set(epochs=3, method="bss", dataset="digits", **{"kd.temperature": 5.0}).wait()
    own = {"epochs": 3, "method": "bss", "overrides": {"kd.temperature": 5.0}}
    assert panel.recipe == suggested("digits").replace(device="cpu", **own)  # data and method come first
    panel.undo()
    assert panel.recipe == suggested("digits").replace(device="cpu", epochs=3, method="bss")
    panel.set(method="amkd").wait()
    assert panel.controls["boundary_triplet.margin"].layout.display is None
    panel.set(dataset="spirals").wait()
    assert panel.recipe == suggested("spirals").replace(device="cpu")
    assert "distill(recipe)" in panel.code()


def test_the_run_on_show_goes_when_the_data_change(lab: Make) -> None:
    panel = lab(TINY)
    panel.start()
    ended(panel)
    assert not panel._buttons["Fork from here"].disabled
    panel.set(dataset="blobs")
    until(lambda: panel.run is None)
    panel.wait()
    assert panel._buttons["Fork from here"].disabled
    until(lambda: panel.status.text == "Ready: press Start.")
    canvas = panel.wait().pictures.maps.canvas
    assert canvas.frame["maps"][1]["note"] == "untrained"
    assert canvas.names == list(load("blobs").classes)
    assert panel.pictures.curves.series == []


def test_earlier_runs_are_a_table_from_which_one_is_opened(lab: Make) -> None:
    first = distill(TINY, "runs/first")
    job = Job(TINY.replace(method="kd", epochs=2000), "runs/second")
    job.start()
    until(lambda: job.run is not None and job.run.epochs_done > 0)
    panel = lab(TINY)
    until(lambda: len(panel.table.rows) == 2)
    rows = {row["name"]: row for row in panel.table.rows}
    about = ("data", "method", "epochs", "accuracy", "state")
    assert [rows["first"][name] for name in about] == [
        "spirals",
        "amkd",
        [4, 4],
        first.summary["test_accuracy"],
        "done",
    ]
    assert [rows["second"][name] for name in ("method", "accuracy", "state")] == ["kd", None, "training"]
    assert abs(rows["first"]["date"] - time.time()) < 600
    job.stop()
    job.wait()
    panel.table.chosen = str(Path("runs/first"))
    until(lambda: panel.run is not None)
    assert panel.wait().table.shown == str(Path("runs/first"))
    assert {row["name"]: row["state"] for row in panel.table.rows}["second"] == "stopped"
    words = next(text for text, path in panel.controls["overlay"].options if path == str(Path("runs/first")))
    assert words.startswith(f"first · spirals · amkd · 4/4 epochs · {100 * first.summary['test_accuracy']:.1f} %")


def hinted(panel: DistillLab) -> list[str]:
    panel.wait()
    return [getattr(part, "description", "") or part.value for part in panel.hint.row.children]


def test_a_poor_teacher_comes_with_a_button_that_trains_it_longer(lab: Make) -> None:
    panel = lab(TINY.replace(teacher_epochs=1))
    until(lambda: panel.status.text == "Ready: press Start.")
    text, label, _ = hinted(panel)
    assert "of its training samples correctly" in text
    assert label == "Train it for 4 epochs"
    before = panel.pictures.maps.teacher
    panel.hint.row.children[1].click()
    until(lambda: panel.pictures.maps.ready and panel.pictures.maps.teacher is not before)
    assert panel.recipe.teacher_epochs == 4
    panel.start()
    assert ended(panel).recipe.teacher_epochs == 4
    other = lab(TINY.replace(teacher_epochs=1, step_size=0.01, attack_steps=1))
    other.start()
    ended(other)
    assert hinted(other)[1] == "Train it for 4 epochs"  # before the attack, which reaches nothing either


def test_an_attack_that_reaches_nothing_comes_with_a_longer_one(lab: Make) -> None:
    panel = lab(TINY.replace(step_size=0.01, attack_steps=1, teacher_epochs=30))
    panel.start()
    ended(panel)
    text, label, _ = hinted(panel)
    assert (text.split("</b>")[0], label) == (
        "<b>0 % of the boundary samples reached their target class.",
        "Take longer steps",
    )
    panel.hint.row.children[1].click()
    until(lambda: panel["attack_steps"] == 2)
    assert panel["step_size"] == pytest.approx(0.02)
    assert hinted(panel) == []


def test_a_folder_of_few_images_is_suggested_small_nets_and_enough_steps(lab: Make, here: Path) -> None:
    for k in range(3):
        (here / f"few/{k}").mkdir(parents=True)
        for i in range(30):
            Image.new("RGB", (16, 16), (80 * k, 2 * i, 0)).save(here / f"few/{k}/{i}.png")
    recipe = lab(f"folder:{here / 'few'}").recipe
    assert (recipe.teacher, recipe.student, recipe.num_train) == ("cnn", "cnn-small", None)
    assert recipe.batch_size == recipe.teacher_batch_size == 11
    assert 250 < recipe.epochs * 90 / recipe.batch_size <= 300
    assert recipe.teacher_epochs == recipe.epochs
    assert fitted("cifar10") == suggested("cifar10")


def test_a_run_of_another_process_is_followed(lab: Make, here: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(event: object) -> None:
        if isinstance(event, EpochEnded):
            began.set()
            if not go_on.is_set():
                time.sleep(0.1)

    thread = threading.Thread(target=lambda: distill(TINY.replace(epochs=12), here / "other", listen=slow))
    thread.start()
    try:
        assert began.wait(60)
        # the first epochs are the teacher's: wait for the run itself
        until(lambda: (here / "other" / "metrics.jsonl").exists() and bool(Run.open(here / "other").snapshots()))
        panel = lab(Run.open(here / "other"))
        until(lambda: panel.log is not None and panel.log.done >= 2)
        with pytest.raises(InputError, match="Another process trains"):
            panel.resume()
    finally:
        go_on.set()
        thread.join(60)
    until(lambda: panel.log is not None and len(panel.log.epochs) == 12)
    assert panel.run is not None
    assert panel.run.finished
    until(lambda: "Done: test accuracy" in panel.status.text)


def test_closing_leaves_no_thread_and_a_checkpoint(lab: Make) -> None:
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

        handle = page.locator(".noUi-handle[aria-label='boundary_triplet margin']:visible")
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
        page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
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
        notebook.page.set_viewport_size({"width": 1000, "height": 900})
        press(notebook, "Start")
        notebook.page.wait_for_selector(".amkd-maps[data-serial]", timeout=60_000)
        sticking_out = """() => {
            const panel = document.querySelector('.amkd-panel'), edge = panel.getBoundingClientRect().right + 2;
            const parts = [...panel.querySelectorAll('*')].filter((e) => e.clientWidth > 0);
            const scrolled = (e) => e.closest('.amkd-runs > div > *');
            return parts.filter((e) => e.getBoundingClientRect().right > edge && !scrolled(e)).map((e) => e.className);
        }"""
        for width in (1000, 420):  # also where JupyterLab's file browser takes half of the window
            notebook.page.set_viewport_size({"width": width, "height": 900})
            notebook.until(lambda: notebook.page.evaluate(sticking_out) == [])
        notebook.ask("lab.close()")
        assert notebook.errors == []
