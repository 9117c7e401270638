"""Many runs at a glance, in a terminal and in a panel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from recipes import POINTS

from amkd_viz.core.errors import InputError
from amkd_viz.panels import FleetView
from amkd_viz.runs import Run, distill
from amkd_viz.runs import fleet as module
from amkd_viz.runs.fleet import Fleet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a finished run, one that trains, one that was stopped, and a damaged one."""
    folder = tmp_path_factory.mktemp("fleet")
    distill(POINTS, folder / "grid" / "done")
    half = Run.create(folder / "grid" / "half", POINTS.replace(epochs=10, batch_size=16))
    for epoch in range(1, 5):
        half.log({"kind": "epoch", "epoch": epoch, "step": 3 * epoch, "images_per_s": 96.0, "val_accuracy": epoch / 10})
    half.log({"kind": "note", "text": "a note"})
    shutil.copytree(half.path, folder / "stopped")
    with (folder / "stopped" / "metrics.jsonl").open("a") as log:
        log.write('{"kind": "epoch", "epoch": 5, "val_acc')
    (folder / "wrong").mkdir()
    (folder / "wrong" / "config.json").write_text("{")
    return folder


def test_each_run_has_its_state_epoch_curve_and_time_left(folder: Path) -> None:
    fleet = Fleet(folder)
    with Run.open(folder / "grid" / "half").writing():
        done, half, stopped, wrong = fleet.look()
    assert (done.name, done.state, done.epoch, done.epochs) == ("grid/done", "finished", 4, 4)
    assert done.accuracy == tuple(line["val_accuracy"] for line in Run.open(done.path).metrics())
    assert (half.state, half.epoch, half.epochs, half.accuracy) == ("training", 4, 10, (0.1, 0.2, 0.3, 0.4))
    assert half.left == 6 * 3 * 16 / 96.0
    assert (stopped.name, stopped.state, stopped.epoch) == ("stopped", "stopped", 4)
    assert wrong.state == "damaged"
    with pytest.raises(InputError, match="There is no folder"):
        Fleet(folder / "nowhere")


def test_a_look_reads_only_what_has_changed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(folder / "grid", tmp_path / "grid")
    fleet, reads = Fleet(copy), []
    real = module._seen
    monkeypatch.setattr(module, "_seen", lambda path, *more: reads.append(path.name) or real(path, *more))
    fleet.look()
    assert reads == ["done", "half"]
    fleet.look()
    assert len(reads) == 2
    with (copy / "half" / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"kind": "epoch", "epoch": 5, "val_accuracy": 0.7}) + "\n")
    assert fleet.look()[1].accuracy[-1] == 0.7
    assert reads[2:] == ["half"]
    for epoch in range(6, 500):
        with (copy / "half" / "metrics.jsonl").open("a") as log:
            log.write(json.dumps({"kind": "epoch", "epoch": epoch, "val_accuracy": epoch / 1000}) + "\n")
    found = fleet.look()[1]
    assert (found.epoch, len(found.accuracy), found.accuracy[-1]) == (499, module.POINTS, 0.499)


def test_the_command_line_lists_runs(folder: Path, call: object) -> None:
    status, out, err = call("report", "--live", folder)  # type: ignore[operator]
    assert (status, err) == (0, "")
    head, *lines = out.splitlines()
    assert head.split() == ["run", "state", "epochs", "val", "acc", "curve", "left"]
    assert head.index("state") == lines[0].index("finished")
    assert [line.split()[:2] for line in lines[:4]] == [
        ["grid/done", "finished"],
        ["grid/half", "stopped"],
        ["stopped", "stopped"],
        ["wrong", "damaged"],
    ]
    assert lines[1].split()[2:] == ["4/10", "40.0", "%", "▁▃▆█", "3", "s"]
    assert lines[-1] == "4 runs: 1 damaged, 1 finished, 2 stopped"


@pytest.fixture
def panel(folder: Path) -> Iterator[FleetView]:
    made = FleetView(folder)
    made.wait()
    yield made
    made.close()


def test_a_click_opens_a_run(panel: FleetView, folder: Path) -> None:
    labels = [label for label, _ in panel.controls["run"].options]
    assert [label.split()[1] for label in labels] == ["finished", "stopped", "stopped", "damaged"]
    assert panel["run"] is None
    assert panel.status.text == "4 runs: 1 damaged, 1 finished, 2 stopped. Choose a run to open it."
    assert panel._head.value.split()[1:3] == ["state", "epochs"]
    assert panel._list.rows == 4
    panel.set(show="finished").wait()
    assert len(panel.controls["run"].options) == 1
    panel.set(run=str(folder / "grid" / "done")).wait()
    lab = panel.lab
    assert lab is not None
    lab.wait()
    assert lab.run is not None
    assert lab.run.path == folder / "grid" / "done"
    assert panel._below.children == (lab.widget,)
    panel.look()
    panel.wait()
    assert panel["run"] == str(folder / "grid" / "done")
    panel.close()
    assert lab.closed
