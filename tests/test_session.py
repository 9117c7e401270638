"""A session: a small file that the panel which wrote it opens again, also elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from amkd_viz import build, load
from amkd_viz.core.errors import InputError
from amkd_viz.models import save_classifier
from amkd_viz.panels import BoundaryLab, DistillLab, EmbeddingLab, MethodRace, SampleLab
from amkd_viz.panels.session import Session
from amkd_viz.runs import Race, Run, distill
from amkd_viz.training import Recipe

SMALL = Recipe(dataset="moons", teacher="mlp-small", student="mlp-tiny", method="kd", epochs=2, device="cpu")


class OneLab:
    """Stands for a panel."""


class OtherLab:
    """Stands for another panel."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "kept" / "moons", SMALL)


def test_everything_comes_back_also_from_a_copy(run: Run, tmp_path: Path) -> None:
    session = Session.of(OneLab(), run, epoch=1, controls={"margin": 0.5}, only=[3, 1])
    path = session.save(tmp_path / "kept" / "session.json")
    assert Session.open(path).state == {"epoch": 1, "controls": {"margin": 0.5}, "only": [3, 1]}
    assert Session.open(path).open_run(OneLab()).path == run.path.resolve()
    assert json.loads(path.read_text())["folder"] == "moons"  # relative to the file
    newer = Session.of(OneLab(), run, epoch=2)
    newer.save(path)  # a session is replaced
    assert Session.open(path).state == newer.state
    copy = shutil.copytree(tmp_path / "kept", tmp_path / "a copy")
    run.path.rename(tmp_path / "moved")
    assert Session.open(copy / "session.json").open_run(OneLab()).path == (copy / "moons").resolve()
    with pytest.raises(InputError, match=r"config\.json"):
        Session.open(path).open_run(OneLab())


def test_each_kind_of_panel_opens_its_sessions(run: Run, tmp_path: Path) -> None:
    one = Session.of(OneLab(), run).save(tmp_path / "sessions" / "one.json")
    other = Session.of(OtherLab(), run).save(tmp_path / "sessions" / "other.json")
    (tmp_path / "sessions" / "notes.json").write_text("{}")
    assert Session.files(tmp_path / "sessions", OneLab()) == [one]
    assert Session.files(tmp_path / "none", OneLab()) == []
    with pytest.raises(InputError, match=r"This session was saved by OtherLab and opens there, not in OneLab\."):
        Session.open(other).open_run(OneLab())


def test_another_run_in_its_folder_is_refused(run: Run, tmp_path: Path) -> None:
    session = Session.of(OneLab(), run)
    shutil.rmtree(run.path)
    Run.create(run.path, SMALL.replace(seed=1))
    with pytest.raises(InputError, match="has another recipe than this session"):
        session.open_run(OneLab())


def test_a_race_has_sessions_too(tmp_path: Path) -> None:
    race = Race.create(SMALL, ["ce", "kd"], tmp_path / "race")
    path = Session.of(OneLab(), race).save(tmp_path / "race.json")
    assert list(Session.open(path).open_race(OneLab()).runs) == ["ce", "kd"]
    with pytest.raises(InputError, match="race"):
        Session.of(OneLab(), Run.create(tmp_path / "run", SMALL)).open_race(OneLab())


@pytest.mark.parametrize(
    ("panel", "state", "words"),
    [
        (DistillLab, {"epoch": "1"}, "epoch must be a whole number from 0 to 10000, got '1'"),
        (DistillLab, {"epoch": 10**9}, "epoch must be a whole number"),
        (EmbeddingLab, {}, "the state must have 'samples'"),
        (EmbeddingLab, {"samples": [1, None]}, "each of samples must be a whole number"),
        (EmbeddingLab, {"samples": [], "morph": 2}, "morph must be a number from 0 to 1, got 2"),
        (BoundaryLab, {"controls": {}, "point": [0, "x"]}, "each of point must be a number, got 'x'"),
        (BoundaryLab, {"controls": [], "point": []}, "controls must be an object"),
        (MethodRace, {"controls": 3}, "controls must be an object, got 3"),
        (SampleLab, {"base": -1}, "base must be a whole number"),
        (SampleLab, {"second": True}, "second must be a whole number"),
    ],
)
def test_a_state_of_another_shape_is_refused_before_a_panel_reads_it(run: Run, panel, state, words) -> None:
    lab = object.__new__(panel)
    with pytest.raises(InputError, match=f"This session is not a valid one of {panel.__name__}: {words}"):
        Session.of(lab, run, **state).open_run(lab)


GOOD = {"format": 2, "panel": "OneLab", "folder": "moons", "recipe": "0123456789", "state": {}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a valid"),
        ("[1]", "is not a valid"),
        (json.dumps({**GOOD, "format": 1, "view": {}}), "has session format 1, but this version reads 2"),
        (json.dumps({**GOOD, "state": [1]}), "must be a JSON object"),
        (json.dumps({**GOOD, "folder": 3}), "is not a valid"),
        ("[" * 100_000, "is not a valid"),
        ("\udcff", "is not a valid"),
    ],
)
def test_files_that_are_refused_and_kept(run: Run, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    before = path.read_bytes()
    with pytest.raises(InputError, match=words):
        Session.open(path)
    with pytest.raises(InputError, match="never overwritten"):
        Session.of(OneLab(), run).save(path)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="Session not found"):
        Session.open(tmp_path / "none.json")


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}, b"x"])
def test_states_that_are_not_json_are_refused(run: Run, value: Any) -> None:
    with pytest.raises(InputError, match="must be a JSON object"):
        Session.of(OneLab(), run, eye=value)


POINTS = Recipe(
    dataset="moons:n=80",
    teacher="mlp-tiny",
    student="mlp-tiny",
    epochs=2,
    num_train=20,
    batch_size=10,
    teacher_epochs=1,
    magsim_samples=0,
    device="cpu",
)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return distill(POINTS, tmp_path / "kept" / "one")


@pytest.mark.parametrize("panel", [BoundaryLab, DistillLab, EmbeddingLab])
def test_a_panel_opens_its_session_file_and_the_folder_of_a_run(trained: Run, tmp_path: Path, panel: Any) -> None:
    """A file or folder may stand wherever a session or run may, as a text or as a path."""
    how = {"how": "pca"} if panel is EmbeddingLab else {}
    first = panel(trained.path, **how).wait()
    path = first.save_session(tmp_path / "session.json")
    first.close()
    for what in (path, str(path), str(trained.path)):
        made = panel(what).wait()
        assert made.run.path.resolve() == trained.path.resolve()
        assert made.status.kind != "error"
        made.close()
    for other in (BoundaryLab, DistillLab, EmbeddingLab, SampleLab, MethodRace):
        if other is not panel:
            with pytest.raises(InputError, match=f"saved by {panel.__name__} and opens there, not in {other.__name__}"):
                other(path)


def test_a_race_opens_by_its_folder(trained: Run, tmp_path: Path) -> None:
    race = Race.create(POINTS, ["ce", "kd"], tmp_path / "race")
    made = MethodRace(str(race.path)).wait()
    assert made.race is not None
    assert list(made.race.runs) == ["ce", "kd"]
    made.close()
    with pytest.raises(InputError, match="MethodRace takes a race, the path of one or of a session, or a name"):
        MethodRace(trained)
    with pytest.raises(InputError, match="BoundaryLab takes a run, the path of one or of a session, or a name"):
        BoundaryLab(race)


@pytest.mark.parametrize(
    ("panel", "what", "words"),
    [
        (SampleLab, "spirals", "SampleLab shows images, not 2-D points like spirals; use BoundaryLab"),
        (SampleLab, "moons:noise=0.2", "use BoundaryLab"),
        (SampleLab, "cifar10", "SampleLab needs nets for cifar10: give a run on it, or teacher= and dataset='cifar10'"),
        (EmbeddingLab, "moons", r"EmbeddingLab shows a run: give one, its folder, or an example \(digits, spirals\)"),
        (BoundaryLab, "digits", "use SampleLab"),
        (MethodRace, "cifar10", "problem of MethodRace"),
        (DistillLab, "moon", "moons"),
        (SampleLab, "sessions/none.json", "Session not found"),
        (DistillLab, Path("nowhere"), "nowhere"),
    ],
)
def test_what_a_panel_does_not_take_is_said_with_what_it_takes(panel: Any, what: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        panel(what)


def test_names_stand_where_nets_and_data_do(tmp_path: Path) -> None:
    digits = load("digits")
    path = save_classifier(build("cnn-tiny", digits), tmp_path / "net.safetensors")
    lab = SampleLab(teacher=str(path), student=path, dataset="digits").wait()
    try:
        assert list(lab._nets) == ["teacher", "student"]
        names: dict[str, Any] = {}
        exec(compile(lab.code(), "shown", "exec"), names)
        assert names["data"].name == "digits"
        assert lab._shown is not None
        assert int(names["samples"].steps) == lab._shown.path.steps
    finally:
        lab.close()
    with pytest.raises(InputError, match="resnet26"):
        SampleLab(teacher="resnet26", dataset="digits")
