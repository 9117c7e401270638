"""Files that anybody may have changed: every door opens them, or refuses them with an InputError and nothing else."""

from __future__ import annotations

import html
import importlib
import json
import os
import re
import shutil
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recipes import POINTS

from amkd_viz.core.errors import InputError
from amkd_viz.models import load_teacher, save_classifier
from amkd_viz.panels.distill_lab import DistillLab
from amkd_viz.panels.session import Session
from amkd_viz.runs import Run, distill, fork, format_table, reading, replay, resume, table
from amkd_viz.runs import run as run_module
from amkd_viz.runs.run import finished_run
from amkd_viz.runs.sound import opened
from amkd_viz.training import EpochEnded, Stepped
from amkd_viz.views import write_report

report_module = importlib.import_module("amkd_viz.views.report")
SMALL = POINTS.replace(dataset="spirals:n=60", method="bss", epochs=2, teacher_epochs=1, num_train=32, magsim_samples=5)
DEEP: Any = 0
for _ in range(60):
    DEEP = [DEEP]
ODD = (
    *(None, True, False, "", [], {}, DEEP, [None], {"a": None}, [[0, 0], 1], {"epoch": 1}),
    *(0, -1, 1, 2, 10_000, 10_001, 2**31, 2**53, 2**63, 10**400, 0.5, -0.5, 1e308, 1e-308),
    *(float("nan"), float("inf"), float("-inf"), "x" * 5000, "\0", "\ud800", "é\n\x1b[31m", "nan", "0", "1.0"),
    *(
        "../..",
        "/",
        "~",
        "mlp",
        "mlp+mlp",
        "resnet8",
        "cnn",
        "wrn40-10",
        "torchvision:vit_h_14",
        "spirals:n=2000000000",
    ),
    *("moons", "digits", "folder:/", "folder:x", "folder:", "x.safetensors", "amkd", "ce", "newton", "cuda", "meta"),
)
values = st.one_of(
    st.sampled_from(ODD),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    st.lists(st.integers(-2, 9), max_size=4),
    st.dictionaries(st.sampled_from(["epoch", "text", "kind", "kd.scale", "learning_rate"]), st.integers(), max_size=3),
)
WAYS = ("replace", "replace", "replace", "delete", "rename", "double", "wrap", "swap", "flip", "cut", "put", "empty")
mutations = st.lists(
    st.tuples(st.integers(0, 99), st.sampled_from(WAYS), st.integers(0, 10**6), values), min_size=1, max_size=2
)


class Stop(Exception):
    """Ends a training after its first batch."""


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of everything in a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def mutated_json(content: bytes, way: str, place: int, new: Any) -> bytes:
    """Change the structure of one JSON value."""
    whole = {"": json.loads(content)}
    where = list(places(whole))
    inside, key = where[place % len(where)]
    if way == "replace":
        inside[key] = new
    elif way == "delete" and key != "":
        del inside[key]
    elif way == "wrap":
        for _ in range(1 + place % 60):
            inside[key] = [inside[key]]
    elif way == "swap":
        other, name = where[(place // 7) % len(where)]
        if key != "" and name != "":
            inside[key], other[name] = json.loads(json.dumps([other[name], inside[key]]))
    elif way == "rename" and isinstance(inside, dict) and key != "":
        inside[new if isinstance(new, str) else str(new)[:20]] = inside.pop(key)
    text = dumped(whole[""])
    if way == "double" and isinstance(inside, dict) and key != "":
        entry = f"{json.dumps(key)}: {json.dumps(inside[key])}".encode()
        text = text.replace(entry, entry + b", " + entry, 1)
    return text


def mutated(path: Path, content: bytes, way: str, place: int, new: Any) -> bytes:
    """Change a file: a JSON value, a line of JSON, the header of safetensors or the JSON in it, or bytes."""
    if way == "empty":
        return b""
    if way == "cut":
        return content[: place % (len(content) + 1)]
    if way == "put":
        at = place % (len(content) + 1)
        return content[:at] + dumped(new) + content[at:]
    if way == "flip" and content:
        at = place % len(content)
        return content[:at] + bytes([content[at] ^ (1 << place % 8)]) + content[at + 1 :]
    try:
        if path.suffix == ".json":
            return mutated_json(content, way, place, new)
        if path.suffix == ".jsonl":
            lines = content.splitlines()
            at = place % len(lines)
            lines[at] = mutated_json(lines[at], way, place // 3, new)
            return b"\n".join(lines) + b"\n"
        if path.suffix == ".safetensors":
            length = int.from_bytes(content[:8], "little")
            header, body = content[8 : 8 + length], content[8 + length :]
            if place % 2:
                about = json.loads(header)
                about["__metadata__"]["amkd_viz"] = mutated_json(
                    about["__metadata__"]["amkd_viz"].encode(), way, place // 2, new
                ).decode()
                header = dumped(about)
            else:
                header = mutated_json(header, way, place // 2, new)
            return struct.pack("<Q", len(header)) + header + body
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError):  # mutated before
        pass
    return content


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run, one that stopped in its second epoch with an override, a fork, a session and a teacher."""
    folder = tmp_path_factory.mktemp("originals")
    finished = distill(SMALL, folder / "finished")

    def stop(event: object) -> None:
        if isinstance(event, EpochEnded):
            raise Stop

    with pytest.raises(Stop):
        distill(SMALL, folder / "stopped", listen=stop)
    Run.open(folder / "stopped").log({"kind": "intervention", "epoch": 1, "batch": 1, "changes": {"kd.scale": 0.5}})
    fork(finished, 1, folder / "fork")
    session = Session.of(object.__new__(DistillLab), finished, epoch=1).save(folder / "session.json")
    teacher = finished.teacher()
    return {
        "finished": finished.path,
        "stopped": folder / "stopped",
        "fork": folder / "fork",
        "session": session,
        "teacher": save_classifier(teacher, folder / "teacher.safetensors", recipe=SMALL.to_json(), val_accuracy=0.5),
    }


def one_batch(event: object) -> None:
    if isinstance(event, Stepped):
        raise Stop


def read_table(folder: Path, good: Path) -> None:
    runs, _ = opened([folder, good])
    rows = table(runs)
    assert rows[-1].label in format_table(rows)
    reading(rows)
    if folder in [run.path for run in runs]:
        _ = [runs[0].epochs_done, runs[0].lines(), runs[0].metrics(), runs[0].snapshots(), repr(runs[0])]


def draw(folder: Path, good: Path) -> None:
    """Report a good run and an odd one: the good one is always shown."""
    runs, left_out = opened([folder, good])
    finished = [run for run in runs if run.finished]
    page = write_report(finished, folder.parent / "report.html", left_out).read_text()
    assert "came out highest" in page or "% test accuracy" in page


def open_session(folder: Path, good: Path) -> None:
    Session.open(folder / "session.json").open_run(object.__new__(DistillLab))


DOORS: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "table": ("finished", read_table),
    "resume": ("stopped", lambda folder, good: resume(Run.open(folder), listen=one_batch)),
    "resume a fork": ("fork", lambda folder, good: resume(Run.open(folder), listen=one_batch)),
    "replay": ("stopped", lambda folder, good: replay(Run.open(folder), folder.parent / "again", listen=one_batch)),
    "session": ("session", open_session),
    "load_teacher": ("teacher", lambda folder, good: load_teacher(folder / "teacher.safetensors")),
    "write_report": ("finished", draw),
}


SHARES = {"table": 10, "write_report": 5, "load_teacher": 25}  # percent of the tries; 15 for each other door


def refuse_only(door: str, originals: dict[str, Path], place: Path, changes: list[tuple[int, str, int, Any]]) -> None:
    """Change a copy of what a door opens, and open it: nothing but InputError and Stop may come out."""
    original, go = DOORS[door]
    source, folder = originals[original], place / "x" / "run"
    shutil.rmtree(place / "x", ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, folder)
    else:
        folder.mkdir(parents=True)
        content = source.read_bytes()
        (folder / source.name).write_bytes(content.replace(b'"folder": "finished"', dumped_folder(originals)))
    for number, way, at, new in changes:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
        path = files[number % len(files)]
        path.write_bytes(mutated(path, path.read_bytes(), way, at, new))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(InputError, Stop):
            go(folder, originals["finished"])


def dumped_folder(originals: dict[str, Path]) -> bytes:
    return b'"folder": ' + dumped(str(originals["finished"]))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No teacher is trained, and maps are coarse."""
    real_map = report_module.boundary_map

    def trained_before(path: Path, *args: Any, **named: Any) -> Run:
        if not (path / "summary.json").exists():
            raise Stop
        return finished_run(path, *args, **named)

    monkeypatch.setattr(run_module, "finished_run", trained_before)
    monkeypatch.setattr(report_module, "boundary_map", lambda *a, **k: real_map(*a, **k, resolution=8))
    monkeypatch.setattr(report_module, "figure_block", lambda view: view.caption)


def go(door: str, count: int, originals: dict[str, Path], place: Path) -> None:
    """Try ``count`` changes at one door."""

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), database=None)
    @given(changes=mutations)
    def run(changes: list[tuple[int, str, int, Any]]) -> None:
        refuse_only(door, originals, place, changes)

    run()


def test_an_odd_run_is_left_out_with_a_sentence_and_the_others_are_shown(originals, quick, call, tmp_path):
    good, odd = (shutil.copytree(originals["finished"], tmp_path / "all" / name) for name in ("good", "odd"))
    (odd / "summary.json").write_text('{"test_accuracy": "0.9"}')
    why = "test_accuracy must be a number from 0 to 1, got '0.9'"
    sentence = f"Left out: {odd}: {odd / 'summary.json'} is not a valid summary: {why}"
    with pytest.warns(UserWarning, match=re.escape(sentence)):
        (row,) = table([Run.open(odd), Run.open(good)])
    assert row.numbers["test_accuracy"] == (Run.open(good).summary["test_accuracy"], None)
    status, out, err = call("report", tmp_path / "all")
    assert (status, err) == (0, "")
    assert html.escape(sentence) in (tmp_path / "all" / "report.html").read_text()
    (odd / "config.json").write_text("[]")
    status, out, _ = call("report", tmp_path / "all")
    assert (status, out.splitlines()[0]) == (
        0,
        f"Left out: {odd}: {odd / 'config.json'} is not a valid run: it must be an object, got [].",
    )
    assert "is not a valid run" in (tmp_path / "all" / "report-2.html").read_text()
    status, _, err = call("report", odd)
    assert (status, err.count("\n")) == (2, 1)
    (good / "student.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"^None of the runs can be shown. Left out: .*student.safetensors is not a"):
        write_report([Run.open(good)], tmp_path / "none.html")


@pytest.mark.parametrize("door", DOORS)
def test_a_changed_file_is_opened_or_refused(door, originals, quick, tmp_path_factory):
    """AMKD_VIZ_FUZZ=5000 tries that many in all."""
    count = int(os.environ.get("AMKD_VIZ_FUZZ", 170)) * SHARES.get(door, 15) // 100
    go(door, count, originals, tmp_path_factory.getbasetemp() / "changed")
