"""A session opens elsewhere with the same maps, and its recording plays without torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from amkd_viz import replay_view
from amkd_viz.boundary import bss, fgsm
from amkd_viz.core.errors import InputError
from amkd_viz.panels.session import Session, ViewState
from amkd_viz.runs import Run, distill
from amkd_viz.training import Recipe
from amkd_viz.views import boundary_map, plane_map
from amkd_viz.views.planes import Plane

ROOT = Path(__file__).parents[1]
SMALL = Recipe(
    dataset="moons",
    teacher="mlp-small",
    student="mlp-tiny",
    method="kd",
    epochs=2,
    teacher_epochs=2,
    num_train=40,
    batch_size=20,
    teacher_batch_size=20,
    magsim_samples=0,
    device="cpu",
)


BSS = {"net": "teacher", "sampler": "bss", "target": 3}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMKD_VIZ_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def moons(home: Path) -> Run:
    return distill(SMALL, home / "kept" / "moons")


@pytest.fixture(scope="module")
def digits(home: Path) -> Run:
    recipe = SMALL.replace(dataset="digits", teacher="cnn-tiny", student="cnn-tiny", teacher_epochs=1, epochs=1)
    return distill(recipe, home / "kept" / "digits")


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(found[k].dtype == v.dtype and found[k].tobytes() == v.tobytes() for k, v in wanted.items())


def test_everything_comes_back(moons, home):
    session = Session.of(
        moons, samples=(3, 1), epoch=1, theme="dark", resolution=20, palette=["#000000"], camera={"z": 1}
    )
    assert session.view.palette == ("#000000",)
    path = session.save(home / "kept" / "session.json")
    found = Session.open(path)
    assert (found.recipe, found.view, found.run.resolve()) == (session.recipe, session.view, moons.path.resolve())
    assert Session.open(path.parent) == found
    content = json.loads(path.read_text())
    assert content["run"] == "moons"  # relative to the file: the folder can be copied
    assert {"torch", "python"} <= set(content["versions"])
    newer = Session.of(moons, epoch=2)
    newer.save(path)  # its own kind is replaced
    assert Session.open(path).view == newer.view


def test_maps_are_those_of_the_views(moons, digits):
    session = Session.of(moons, epoch=1, resolution=24)
    nets = {"teacher": moons.teacher(), "student": moons.student(1)}
    assert same(session.maps(), boundary_map(nets, moons.dataset(), resolution=24).arrays)
    last = Session.of(moons, resolution=24).maps()
    assert not same(last, {"student.confidence": session.maps()["student.confidence"]})
    assert same(last, {"teacher.confidence": session.maps()["teacher.confidence"]})

    data = digits.dataset()
    chosen = data.test.index[[4, 9, 30]].tolist()  # published indices, not positions
    assert chosen != [4, 9, 30]
    session = Session.of(digits, samples=chosen, resolution=24)
    nets = {"teacher": digits.teacher(), "student": digits.student()}
    wanted = plane_map(nets, data.test.floats([4, 9, 30]), data.classes, resolution=24).arrays
    assert same(session.maps(), {k: v for k, v in wanted.items() if not k.endswith("evaluated")})
    other = Session.of(digits, samples=chosen, anchors=chosen[::-1], resolution=24).maps()
    assert not np.array_equal(other["anchors"], wanted["anchors"])


CODE = """
import sys, hashlib, torch
torch.set_num_threads(1)
from amkd_viz.panels.session import Session
maps = Session.open(sys.argv[1]).maps()
parts = [name.encode() + value.dtype.str.encode() + value.tobytes() for name, value in sorted(maps.items())]
print(hashlib.sha256(b"".join(parts)).hexdigest())
print(len(maps))
"""


@pytest.mark.slow
def test_opened_elsewhere_in_another_process_the_maps_are_the_same_bytes(moons, home, tmp_path):
    Session.of(moons, epoch=1, resolution=40).save(home / "kept" / "moons.json")
    copy = shutil.copytree(home / "kept", tmp_path / "a copy")
    (tmp_path / "elsewhere").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = []
    for where, file in ((home, "kept/moons.json"), (tmp_path / "elsewhere", copy / "moons.json")):
        command = [sys.executable, "-c", CODE, str(file)]
        done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=True)
        said.append(done.stdout.split())
    assert said[0] == said[1]
    assert said[0][1] == "8"


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ({"samples": (-1,)}, "samples must be indices from 0, not (-1,)."),
        ({"anchors": (1, 2)}, "anchors must be three indices"),
        ({"area": (0, 0, 0, 1)}, "area must be x0 < x1 and y0 < y1"),
        ({"area": (0.0, float("nan"), 0, 1)}, "area must be"),
        ({"resolution": 1}, "resolution must be 2 to 2000, not 1."),
        ({"resolution": True}, "resolution must be"),
        ({"epoch": 1.5}, "epoch must be a whole number from 0, not 1.5."),
        ({"samples": (10**30,)}, "samples must be indices from 0"),
        ({"area": (0, True, 0, 1)}, "area must be"),
        ({"area": (0, 10**400, 0, 1)}, "area must be"),
        ({"theme": ["light"]}, "Unknown theme \"['light']\"; did you mean 'light'?"),
        ({"camera": {"eye": object()}}, "camera must be a JSON object"),
        ({"attack": BSS | {"step_size": "0.3"}}, "attack's step_size must be a number, not '0.3'."),
        ({"attack": BSS | {"step_size": float("nan")}}, "attack's step_size must be a number, not nan."),
        ({"attack": BSS | {"steps": 2.5}}, "attack's steps must be a whole number, not 2.5."),
        ({"attack": BSS | {"steps": -1}}, "attack's steps must be a whole number, not -1."),
        ({"attack": BSS | {"step_rule": ["gap"]}}, "attack's step_rule must be a text, not ['gap']."),
        ({"attack": BSS | {"space": None}}, "attack's space must be a text, not None."),
        ({"attack": BSS | {"sampler": "fgsm", "epsilon": None}}, "attack's epsilon must be a number, not None."),
        ({"theme": "drak"}, "Unknown theme 'drak'; did you mean 'dark'"),
        ({"palette": ("red",)}, "palette must be colours like #3f90da"),
        ({"camera": [1]}, "camera must be a JSON object"),
        ({"attack": [1]}, "attack must be a JSON object"),
        ({"attack": BSS | {"net": "pupil"}}, "Unknown net of the attack 'pupil'"),
        ({"attack": BSS | {"sampler": "bs"}}, "Unknown sampler of the attack 'bs'; did you mean 'bss'"),
        ({"attack": BSS | {"target": -1}}, "attack's target must be a class, not -1."),
        ({"attack": BSS | {"model": 1}}, "Unknown field of the attack 'model'"),
    ],
)
def test_view_states_that_are_refused(view, said):
    with pytest.raises(InputError) as error:
        ViewState(**view)
    assert said in str(error.value)


def test_files_that_are_refused(moons, home, tmp_path):
    with pytest.raises(InputError, match="Session not found"):
        Session.open(tmp_path / "session.json")
    path = Session.of(moons).save(tmp_path / "session.json")
    good = json.loads(path.read_text())
    for change, said in (
        ({"format": 2}, "has session format 2, but this version reads 1"),
        ({"view": {"zoom": 1}}, "Unknown view field 'zoom'"),
        ({"run": None}, "is not a valid session"),
        ({"run": "\0"}, "is not a valid session"),
    ):
        path.write_text(json.dumps(good | change))
        with pytest.raises(InputError, match=said):
            Session.open(path)
    with pytest.raises(InputError, match="Unknown view field 'zoom'"):
        Session.of(moons, zoom=1)
    path.write_text("my own notes")
    with pytest.raises(InputError, match="never overwritten"):
        Session.of(moons).save(path)
    assert path.read_text() == "my own notes"

    with pytest.raises(InputError, match="of another recipe"):
        Session(SMALL.replace(seed=1), moons.path).maps()
    with pytest.raises(InputError, match="has no snapshot of epoch 7"):
        Session.of(moons, epoch=7).maps()


def test_images_need_three_samples_that_are_there(digits):
    with pytest.raises(InputError, match="needs three chosen samples, not 0"):
        Session.of(digits).maps()
    with pytest.raises(InputError, match="has no test sample 99999"):
        Session.of(digits, samples=(99999, 1, 2)).maps()


def test_a_plane_across_the_boundary_is_made_again(digits, tmp_path):
    """Its second anchor is no sample of the data: the attack makes it, with whatever sampler."""
    data, teacher = digits.dataset(), digits.teacher()
    one, other = (int(i) for i in data.test.index[:2])
    x = data.test.floats([0])
    target = (int(teacher(x).argmax()) + 1) % 10
    for own, found in (
        (
            {"step_size": 0.4, "steps": 5, "step_rule": "newton"},
            bss(teacher, x, torch.tensor([target]), step_size=0.4, steps=5, step_rule="newton"),
        ),
        ({"sampler": "fgsm", "epsilon": 0.1}, fgsm(teacher, x, torch.tensor([target]), epsilon=0.1)),
    ):
        attack = BSS | {"target": target} | own
        path = Session.of(digits, samples=(one, other), attack=attack, resolution=20).save(tmp_path)
        maps = Session.open(path).maps()
        plane = Plane.through(torch.stack([x[0], found.x[0], data.test.floats([1])[0]]))
        np.testing.assert_allclose(maps["anchors"], plane.anchors, atol=1e-4)
        told = teacher(plane.images(np.asarray(maps["anchors"]))).argmax(1)
        assert told[:2].tolist() == [int(found.base[0]), int(found.logits[0].argmax())]
    assert len(Session.open(path).record(tmp_path / "digits.npz").read_bytes()) > 1000
    with pytest.raises(InputError, match="needs two chosen samples, not 1"):
        Session.of(digits, samples=(one,), attack=attack).maps()
    with pytest.raises(InputError, match="has no class 99"):
        Session.of(digits, samples=(one, other), attack=attack | {"target": 99}).maps()
    with pytest.raises(InputError, match="step_size"):
        Session.of(digits, samples=(one, other), attack=BSS | {"step_size": -1.0}).maps()


def test_a_recording_shows_every_epoch(moons, tmp_path):
    session = Session.of(moons, resolution=16, palette=["#123456"])
    path = session.record(tmp_path / "moons.npz")
    with np.load(path, allow_pickle=False) as found:
        assert found["epoch"].tolist() == moons.snapshots() == [0, 1, 2]
        assert found["student.winner"].shape == (3, 16, 16)
        wanted = Session.of(moons, resolution=16, epoch=1).maps()
        assert np.array_equal(found["student.winner"][1], wanted["student.winner"])
        assert np.array_equal(found["teacher.winner"], wanted["teacher.winner"])
        apart = found["student.confidence"][1] / 255 - wanted["student.confidence"]
        assert np.abs(apart).max() < 0.003
        same_class = [float((winner == found["teacher.winner"]).mean()) for winner in found["student.winner"]]
        assert json.loads(str(found["about"]))["colours"] == ["#123456", "#ffa90e"]
    figure = replay_view(path)
    assert isinstance(figure, go.Figure)
    assert [frame.name for frame in figure.frames] == ["0", "1", "2"]
    assert [step.args[0][0] for step in figure.layout.sliders[0].steps] == ["0", "1", "2"]
    for frame, share in zip(figure.frames, same_class, strict=True):
        assert f"epoch {frame.name}  agrees on {100 * share:.1f} %" in frame.layout.annotations[-1].text
        assert len(frame.layout.images) == 2
        assert frame.layout.annotations[0].text == "<b>teacher</b>"
        assert frame.layout.images[0].xref == "x"
        assert frame.layout.images[1].xref == "x2"
    assert (figure.layout.yaxis.scaleanchor, figure.layout.yaxis2.scaleanchor) == ("x", "x2")  # squares, both
    assert figure.layout.annotations[1].text == figure.frames[-1].layout.annotations[1].text
    assert figure.layout.images[-1].source == figure.frames[-1].layout.images[-1].source
    assert figure.frames[0].layout.images[1].source != figure.frames[-1].layout.images[1].source
    with pytest.raises(InputError, match="never overwritten"):
        session.record(path)


def test_a_recording_of_images_says_what_lies_outside_the_box(digits, tmp_path):
    chosen = digits.dataset().test.index[:3].tolist()
    session = Session.of(digits, samples=chosen, resolution=16)
    figure = replay_view(session.record(tmp_path / "digits.npz"))
    outside = 1 - session.maps()["inside"].mean()
    assert 0 < outside < 1
    assert f"{100 * outside:.0f} % outside the pixel box" in figure.layout.title.text
    assert len(figure.layout.images) == 1 + 3 + 1  # the teacher's map, three pictures, the student's map


def test_a_classroom_machine_needs_no_torch(moons, tmp_path):
    path = Session.of(moons, resolution=16).record(tmp_path / "moons.npz")
    code = """
import sys
for name in ("torch", "sklearn", "umap", "ipywidgets"):
    sys.modules[name] = None  # importing it raises ImportError
import amkd_viz
figure = amkd_viz.replay_view(sys.argv[1])
assert not [name for name in sys.modules if name.startswith(("torch.", "amkd_viz.views", "amkd_viz.training"))]
print(len(figure.frames), len(figure.to_html(include_plotlyjs=False)) > 10_000)
"""
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["3", "True"], done.stderr


def test_recordings_of_images_that_are_refused(digits, tmp_path):
    path = Session.of(digits, samples=digits.dataset().test.index[:3].tolist(), resolution=8).record(tmp_path / "a.npz")
    with np.load(path) as found:
        good = dict(found)
    about = json.loads(str(good["about"]))
    wrong: list[dict[str, Any]] = [
        {"pictures": good["pictures"][..., :0]},
        {"pictures": good["pictures"] / 255},
        {"pictures": good["pictures"][:2]},
        {"box": good["box"][:, :1]},
        {"inside": good["inside"][1:]},
        {"about": np.array(json.dumps(about | {"names": about["names"][:1]}))},
    ]
    for number, change in enumerate(wrong):
        np.savez(bad := tmp_path / f"{number}.npz", **(good | change))
        with pytest.raises(InputError, match="its parts do not fit together"):
            replay_view(bad)
    np.savez(bad, **(good | {"box": good["box"][:0]}))  # a map that lies outside of it
    assert replay_view(bad).frames


def test_recordings_that_are_refused(moons, tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        replay_view(tmp_path / "none.npz")
    path = Session.of(moons, resolution=8).record(tmp_path / "moons.npz")
    with np.load(path) as found:
        good = dict(found)
    about = json.loads(str(good["about"]))
    wrong: list[dict[str, Any]] = [
        {"student.winner": good["student.winner"][:1]},
        {"epoch": np.array([object()])},  # a pickle
        {"about": np.array(json.dumps(about | {"colours": ["javascript:", "#ffffff"]}))},
        {"teacher.winner": good["teacher.winner"] + np.int16(50)},
        {"teacher.winner": good["teacher.winner"] - np.int16(500)},
        {"student.winner": good["student.winner"] - np.int16(5)},  # would be drawn in another class's colour
        {"student.winner": good["student.winner"] + 0.5},
        {"teacher.confidence": good["teacher.confidence"] / 255},
        {"label": good["label"] + 9},
        {"label": good["label"][1:]},
        {"points": good["points"][:, :1]},
        {"area": good["area"][::-1]},
        {"area": good["area"] * np.nan},
        {"about": np.array("{")},
    ]
    for number, change in enumerate(wrong):
        bad = tmp_path / f"{number}.npz"
        np.savez(bad, **(good | change))
        with pytest.raises(InputError, match="is no recording of a session, or damaged"):
            replay_view(bad)
    np.savez(bad, **(good | {"about": np.array(json.dumps(about | {"format": 9}))}))
    with pytest.raises(InputError, match="recording format 9"):
        replay_view(bad)
    bad.write_bytes(path.read_bytes()[:400])
    with pytest.raises(InputError, match="damaged"):
        replay_view(bad)
    damaged = 0
    for place in range(30, path.stat().st_size, 97):  # one byte after another
        content = bytearray(path.read_bytes())
        content[place] ^= 0x55
        bad.write_bytes(content)
        try:
            replay_view(bad)
        except InputError:
            damaged += 1
    assert damaged > 10
    shown = tmp_path / "markup.npz"
    np.savez(shown, **(good | {"about": np.array(json.dumps(about | {"title": "<b>x"}))}))
    assert "&lt;b&gt;x" in replay_view(shown).layout.title.text
