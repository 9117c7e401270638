"""The code under "Show code" makes what the panel shows: it is run, and pictures and numbers are compared."""

from __future__ import annotations

import ast
import html
import math
import os
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pytest
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import methods
from amkd_viz.panels import BoundaryLab, DistillLab, EmbeddingLab, MethodRace, SampleLab
from amkd_viz.panels.panel import Panel
from amkd_viz.runs import Run, distill, prepare
from amkd_viz.training import Recipe
from amkd_viz.views import View
from amkd_viz.views.anchors import Anchored
from amkd_viz.views.slices import window
from tests.recipes import IMAGES
from tests.waiting import until

CHANGES = int(os.environ.get("AMKD_VIZ_FUZZ", 24))  # random changes per panel; 500 take some minutes
BURST = 12  # changes between two comparisons
KNOWN = "umap"  # a library whose own warnings are not ours


@pytest.fixture(autouse=True)
def here(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever is changed, no panel meets an error that it does not explain, and nothing warns."""
    unexpected, fail = [], Panel.fail

    def hear(panel: Panel, text: str) -> None:
        unexpected.extend([text] if len(text.strip().splitlines()) > 1 else [])
        fail(panel, text)

    monkeypatch.setattr(Panel, "fail", hear)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    assert unexpected == []
    assert [str(line.message) for line in heard if KNOWN not in line.filename] == []


def bursts(changes: int = CHANGES) -> Iterator[int]:
    """Yield numbers of changes until ``changes`` are made; the pictures are compared after each."""
    for done in range(0, changes, BURST):
        yield min(BURST, changes - done)


def move(
    panel: Panel,
    moves: int,
    draw: random.Random,
    keep: dict[str, list[Any]],
    without: tuple[str, ...] = (),
    hand: Callable[[], None] | None = None,
) -> None:
    """Change controls at random, as a person does, and press buttons.

    Args:
        keep: the values that some controls may take.
        hand: another thing that a person does.
    """
    for _ in range(moves):
        seen = {n: c for n, c in panel.controls.items() if c.layout.display != "none" and not c.disabled}
        movable = [name for name in seen if name not in without]
        if hand is not None and draw.random() < 0.2:
            hand()
        elif draw.random() < 0.2:
            press(panel, draw)
        else:
            name = draw.choice(movable)
            with suppress(InputError if name == "epoch" else ()):  # it may be that of a run before
                panel.set(**{name: draw.choice(keep[name]) if name in keep else value(panel.controls[name], draw)})
        if draw.random() < 0.3:
            panel.paint.wait()
            time.sleep(draw.choice([0, 0.02, 0.3]))


def press(panel: Panel, draw: random.Random) -> None:
    """Press one of the buttons that can be pressed."""
    parts, found = [panel.widget], []
    while parts:
        part = parts.pop()
        if part.layout.display != "none":
            parts += getattr(part, "children", ())
            found += [part] if isinstance(part, widgets.Button) and not part.disabled else []
    button = draw.choice(sorted((b for b in found if b.description != "Export"), key=lambda b: b.description))
    button.click()


def value(control: Any, draw: random.Random) -> Any:
    """Return a value that a person could give a control."""
    if isinstance(control, widgets.Dropdown | widgets.SelectionSlider):
        return draw.choice([option[1] if isinstance(option, tuple) else option for option in control.options])
    if isinstance(control, widgets.Checkbox):
        return draw.random() < 0.5
    low, high = control.min, control.max
    if isinstance(control, widgets.FloatLogSlider):
        return control.base ** draw.uniform(low, high)
    steps = draw.randint(0, round((high - low) / (control.step or 1)))
    return min(low + steps * (control.step or 1), high)


def run_code(code: str) -> tuple[dict[str, Any], list[Any]]:
    """Run code; return its names and the figures and triplets that its expressions are, in order."""
    names: dict[str, Any] = {}
    shown: list[Any] = []
    names["_shown"] = shown
    tree = ast.parse(code)
    for node in tree.body:
        if isinstance(node, ast.Expr):
            node.value = ast.Call(ast.parse("_shown.append").body[0].value, [node.value], [])
    exec(compile(ast.fix_missing_locations(tree), "shown", "exec"), names)
    return names, [value for value in shown if isinstance(value, View | Anchored)]


def same_maps(view: Any, maps: dict[str, Any]) -> None:
    """Check that a figure has the maps of a panel, class by class."""
    for name, found in maps.items():
        assert (view.arrays[f"{name}.winner"] == found.winner).all()
        np.testing.assert_allclose(view.arrays[f"{name}.confidence"], found.confidence, atol=1e-5)


def test_boundary_lab() -> None:
    draw = random.Random(0)
    lab = BoundaryLab("spirals:n=200").wait()
    keep = {"epochs": [2, 3], "num_train": [60, 100], "noise": [0.1, 0.2], "extra": ["", "0.25/0.5/1", "0/0/0+0.1/0/1"]}
    try:
        for changes in bursts():

            def drag() -> None:
                x0, x1, y0, y1 = window(lab._data)
                here = [draw.uniform(x0, x1), draw.uniform(y0, y1)]
                if draw.random() < 0.5:
                    lab.canvas.own = [*lab.canvas.own[draw.randrange(2) :], [*here, draw.randrange(2)]]
                    return
                lab.canvas.point = here
                lab.canvas.released += 1

            move(lab, changes, draw, keep, hand=drag)
            lab.wait().set(predict=False).wait()
            names, (view,) = run_code(lab.code())
            same_maps(view, lab.maps.maps)
            assert (lab.canvas.frame["maps"][1]["note"] == "") == (lab["epoch"] == lab.run.recipe.epochs)
            for name, found in lab._samples.items():
                own = names["samples"][name]
                assert (int(own.target), int(own.steps), int(own.status)) == (
                    int(found.target),
                    int(found.steps),
                    int(found.status),
                )
                torch.testing.assert_close(own.x, found.x)
                torch.testing.assert_close(own.path, found.path)
            dots = next(mark for mark in lab.canvas.marks if mark.kind == "dots")
            drawn = next(t for t in view.figure.data if t.type == "scatter" and t.mode == "markers")
            np.testing.assert_allclose(np.stack([drawn.x, drawn.y], 1), dots.points)
    finally:
        lab.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = IMAGES.replace(epochs=3, num_train=100, batch_size=50, teacher_epochs=4, magsim_samples=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
        return distill(recipe, tmp_path_factory.mktemp("runs") / "one")


def test_sample_lab(run: Run) -> None:
    draw = random.Random(0)
    lab = SampleLab(run, attack_steps=20, step_size=0.2).wait()
    try:
        for changes in bursts():

            def point() -> None:
                kind = draw.choice(["chosen", "chosen", "second", "page", "step", "point"])
                index = int(draw.choice(lab._data.test.index.tolist()))
                lab.thumbs.page = draw.randrange(10) if kind == "page" else lab.thumbs.page
                lab.walk.step = draw.randrange(3) if kind == "step" else lab.walk.step
                lab.canvas.point = [draw.uniform(-1, 3), draw.uniform(-1, 3)] if kind == "point" else lab.canvas.point
                if kind in ("chosen", "second"):
                    setattr(lab.thumbs, kind, index)

            move(lab, changes, draw, {}, hand=point)
            lab.wait().set(predict=False).wait()
            names, views = run_code(lab.code())
            shown = lab._shown
            assert shown is not None
            path = views[0]
            np.testing.assert_allclose(path.arrays["path"], shown.path.path, atol=1e-4)
            for name, logits in shown.path.logits.items():
                own = (logits / lab["temperature"]).softmax(1)
                np.testing.assert_allclose(path.arrays[f"{name}.probabilities"], own, atol=1e-3)
            assert int(names["samples"].status) == int(shown.samples.status)
            for name, found in lab.plane.maps.maps.items():  # the panel's nets are folded: the same to rounding
                other = views[1].arrays
                assert (other[f"{name}.winner"] == found.winner).mean() > 0.995
                assert np.abs(other[f"{name}.confidence"] - found.confidence).mean() < 1e-3
    finally:
        lab.close()


@pytest.mark.parametrize(("how", "changes"), [("pca", CHANGES), ("umap", CHANGES // 12)])
def test_embedding_lab(run: Run, how: str, changes: int) -> None:
    draw = random.Random(0)
    lab = EmbeddingLab(run, how=how, most=150, rings=6).wait()
    try:
        for few in bursts(changes):

            def select() -> None:
                ids = np.frombuffer(lab.map.ids, "<i4").tolist()
                lab.map.select(draw.sample(ids, min(len(ids), draw.randrange(5))), draw.choice(ids))
                lab.map.morph = draw.random()

            move(lab, few, draw, {"how": [how], "most": [100, 150, 200]}, hand=select)
            lab.wait()
            lab.map.picked = draw.choice(np.frombuffer(lab.map.ids, "<i4").tolist())
            lab.wait()
            picture, quality = lab._picture, lab._quality
            assert picture is not None
            assert quality is not None
            _, (view, anchored) = run_code(lab.code())
            for n, name in enumerate(("teacher", "student")):
                np.testing.assert_allclose(view.arrays[f"{name}.low"], picture.laid[n].points, atol=1e-3)
                np.testing.assert_allclose(view.notes[f"{name}.trustworthiness"], quality[n].trustworthiness, atol=1e-6)
                np.testing.assert_allclose(view.notes[f"{name}.triplets"], quality[n].kept, atol=1e-6)
            rows = len(lab.bars.rows)
            assert lab.bars.d_ap == pytest.approx(anchored.d_ap, abs=1e-5)
            np.testing.assert_allclose([row[1] for row in lab.bars.rows], anchored.d_an[:rows], atol=1e-5)
            assert [row[3] for row in lab.bars.rows] == anchored.misleads[:rows].tolist()
    finally:
        lab.close()


SMALL = Recipe(
    dataset="spirals:n=160",
    teacher="mlp-small",
    student="mlp-tiny",
    epochs=3,
    teacher_epochs=3,
    num_train=40,
    batch_size=20,
    max_boundary_samples=4,
    attack_steps=4,
    magsim_samples=0,
    device="cpu",
)
KEPT: dict[str, list[Any]] = {
    "epochs": [2, 3],
    "num_train": [40, 60],
    "student": ["mlp-tiny", "mlp-small"],
    "attack_steps": [2, 5],
    "precision": ["fp32"],
    "batch_size": [20, 32],
    "pace": [math.inf],
    "learning_rate": [0.02, 0.1],
    "noise": [0.1, 0.2],
}


def test_distill_lab() -> None:
    draw = random.Random(0)
    lab = DistillLab(SMALL)
    keep = KEPT | {"teacher": ["mlp-small"], "layout": ["pca"]}
    elsewhere = ("dataset", "device", "earlier", "overlay")
    try:
        for changes in bursts():
            move(lab, changes, draw, keep, elsewhere)
            ended(lab)
            lab.set(epoch=1).wait()
            names, (curves, maps, layout) = run_code(lab.code())
            assert lab.run is not None
            same_maps(maps, lab.pictures.maps.maps)
            assert lab.pictures.maps.canvas.frame["maps"][1]["note"] == f"epoch {lab._back.epoch(lab.run)}"
            ours = names["run"].student().state_dict()
            for name, value in lab.run.student().state_dict().items():
                torch.testing.assert_close(ours[name], value, rtol=0, atol=0)
            mine, theirs = ([m["terms"] for m in r.metrics()] for r in (names["run"], lab.run))
            assert mine == theirs
            assert curves.arrays
            places = np.frombuffer(lab.pictures.scatter.student, "<f4").reshape(-1, 2)
            np.testing.assert_allclose(layout.arrays["student.low"], places, atol=1e-3)
    finally:
        lab.close()


def ended(lab: DistillLab) -> None:
    """Bring a run to its end, whatever was pressed before; what cannot be trained is refused for a good reason."""

    def over() -> bool:
        if lab.state == "paused":  # by a step that was pressed, perhaps after a while
            lab.pause()
        elif lab.state == "failed" or (lab.state == "idle" and lab.run is None):
            begin(lab)
        elif lab.state == "idle" and lab.run is not None and not lab.run.finished:
            lab.resume()
        return lab.state == "done" or lab._followed == "done"

    lab.wait()
    until(lambda: lab.state != "stopping")
    lab.set(layout="pca", pace=math.inf)
    until(over)
    lab.wait()
    until(lambda: lab._state in ("done", "") and lab._buttons["Stop"].disabled)
    lab.wait()


def begin(lab: DistillLab) -> None:
    """Start a run with the settings as they are; another one only where a fresh training is refused as well, or where
    the last one has diverged."""
    if lab.job is not None and lab.job.error is not None and lab.run is not None:
        assert "not finite" in lab.job.error
        lab.set(method="kd", learning_rate=0.02)
    lab.wait()
    try:
        prepare(lab.recipe)
    except InputError as error:
        with pytest.raises(InputError, match=re.escape(str(error))):
            lab.start()
        lab.set(method="kd").wait()
    lab.start()


def test_method_race() -> None:
    draw = random.Random(0)
    lab = MethodRace("spirals:n=160", methods=("kd", "amkd")).wait()
    keep = KEPT | {"problem": ["spirals", "moons"], "classes": [2, 3]}
    fixed = tuple(name for name in methods if name not in ("ce", "bss", "kd", "amkd"))
    try:
        lab.set(epochs=2, num_train=40, pace=math.inf).wait()
        for changes in bursts():
            move(lab, changes, draw, keep, fixed)
            lab.wait().set(predict=False, kd=True, pace=math.inf).wait()
            if lab.state != "done":
                lab.start()
            lab.wait()
            assert lab.state == "done"
            shown = lab.code()
            race, _, seeds = shown.partition("# One seed proves little")
            assert "compare(recipe, methods, seeds=5" in seeds
            names, (maps,) = run_code(race)
            same_maps(maps, lab.pictures.maps.maps)
            assert lab.race is not None
            for name, run in lab.race.runs.items():
                theirs = names["race"].runs[name].summary
                assert theirs["test_accuracy"] == run.summary["test_accuracy"]
        run_code(shown)
    finally:
        lab.close()


def restored(lab: Panel) -> Any:
    """Run the line that ``Copy state`` gives; the other panel has the same controls."""
    names: dict[str, Any] = {}
    exec(lab.wait().copy_state(), names)
    again = names["panel"]
    try:
        again.wait()
        assert again.values == lab.values
        assert lab.wait().status.copied in html.unescape(lab._code.value)
    except BaseException:
        again.close()
        raise
    return again


def test_a_line_of_python_opens_the_same_panel(run: Run) -> None:
    first = BoundaryLab("spirals:n=200", method="kd", epochs=2).wait()
    first.set(noise=0.2, target=2, attack_steps=9, temperature=2.0)
    first.wait().attack(0.3, -0.4)
    other = restored(first)
    assert other.canvas.point == first.canvas.point
    for name, found in first.maps.maps.items():
        assert (other.maps.maps[name].winner == found.winner).all()
    torch.testing.assert_close(other._samples["teacher"].path, first._samples["teacher"].path)
    labs: list[Panel] = [first, other]
    sample = SampleLab(run).wait()
    sample.pick(int(sample._data.test.index[7]))
    sample.set(target=3, step_size=0.25)
    labs += [sample, again := restored(sample)]
    assert again.thumbs.chosen == sample.thumbs.chosen
    assert (again._shown.samples.x == sample._shown.samples.x).all()
    embedding = EmbeddingLab(run, how="pca", most=100, rings=4).wait()
    embedding.set(epoch=1, margin=2.0)
    embedding.map.picked = int(np.frombuffer(embedding.map.ids, "<i4")[5])
    labs += [embedding, again := restored(embedding)]
    assert (again.map.picked, again.bars.rows) == (embedding.map.picked, embedding.bars.rows)
    labs += [distilled := DistillLab(SMALL).set(learning_rate=0.05, epochs=7), again := restored(distilled)]
    assert again.recipe == distilled.recipe
    labs += [distilled := DistillLab(run, epoch=1), again := restored(distilled)]
    assert again.run.path == run.path
    assert (again.pictures.maps.maps["student"].winner == distilled.pictures.maps.maps["student"].winner).all()
    race = MethodRace("moons:n=160", methods=("kd", "amkd"), seed=3).wait()
    race.set(epochs=3, bss=True, kd=False, noise=0.3, **{"boundary_kd.scale": 2.0})
    labs += [race, again := restored(race)]
    assert (again.recipe, again.methods, again.overrides) == (race.recipe, race.methods, race.overrides)
    for lab in labs:
        lab.close()


def test_a_sample_goes_from_the_map_to_its_attack_and_back(run: Run) -> None:
    lab = EmbeddingLab(run, how="pca").wait()
    try:
        ids = [i for i in np.frombuffer(lab.map.ids, "<i4").tolist() if i >= 0]
        lab.map.select([ids[3]], ids[3])
        guest: Any = lab.open_sample()
        lab.wait()
        assert lab._below.children == (guest.widget,)
        assert int(guest.attack().base) >= 0
        assert guest.thumbs.chosen == ids[3]
        guest.choose(ids[8])
        guest.wait()
        assert guest.open_embedding() is lab
        assert (lab.map.picked, lab.selection) == (ids[8], [ids[8]])
        lab.map.select([ids[5]], ids[5])
        assert lab.open_sample() is guest
        assert guest.wait().thumbs.chosen == ids[5]
        lab.map.picked = None
        with pytest.raises(InputError, match="Pick a sample"):
            lab.open_sample()
        with pytest.raises(InputError, match="not among the samples"):
            lab.pick(10**6)
    finally:
        lab.close()
    assert guest.closed
    above = SampleLab(run).wait()
    below: Any = above.open_embedding()
    below.set(how="pca").wait()
    assert below.map.picked == above.thumbs.chosen
    above.close()
