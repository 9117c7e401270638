"""Grids and trials on Ray: a real one on this machine, a worker that is killed, one sentence for what cannot work."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from recipes import POINTS
from test_grid import students, writer

from amkd_viz.core.errors import InputError
from amkd_viz.runs import Run, compare
from amkd_viz.runs import cluster as cluster_module
from amkd_viz.runs.cluster import Cluster
from amkd_viz.runs.grid import Unfinished
from amkd_viz.runs.tune import tune
from amkd_viz.training import EpochEnded

ray = pytest.importorskip("ray", reason="the extra 'cluster' (Ray) is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.processes]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
EPOCHS = 200  # seconds of training, so that a listener meets runs that are not at their end
RECIPE = POINTS.replace(epochs=EPOCHS, magsim_samples=0)


def test_a_killed_worker_costs_no_cell(cluster: Cluster, tmp_path: Path) -> None:
    out, killed, heard = tmp_path / "out", [], []

    def kill(event: object) -> None:
        heard.append(event)
        if isinstance(event, EpochEnded) and not killed:
            for run in sorted(config.parent for config in out.glob("*/config.json")):
                if not killed and len(Run.open(run).metrics()) > 1 and (process := writer(run)):
                    assert process != os.getpid()
                    os.kill(process, signal.SIGKILL)
                    killed.append(run.name)

    runs = compare(RECIPE, ["ce", "kd", "amkd"], 1, out, engine=cluster, listen=kill)
    assert killed
    assert [run.path.name for run in runs] == ["ce-seed0", "kd-seed0", "amkd-seed0"]
    assert [[line["epoch"] for line in run.metrics()] for run in runs] == [list(range(1, EPOCHS + 1))] * 3
    assert sorted(file.name for file in out.iterdir()) == ["amkd-seed0", "ce-seed0", "kd-seed0"]
    assert students(runs) == students(compare(RECIPE, ["ce", "kd", "amkd"], 1, tmp_path / "here", jobs=1))
    assert sum(isinstance(event, EpochEnded) for event in heard) > 4
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
    assert len(compare(RECIPE, ["ce", "kd", "amkd"], 1, out, engine=cluster)) == 3
    assert {file: file.stat().st_mtime_ns for file in before} == before


@LINUX
def test_trials_are_those_of_one_process_also_when_a_worker_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    killed: list[int] = []

    def kill(method: str, count: int) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if not killed and (process / "cmdline").read_bytes().startswith(b"ray::train_here"):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))

    tuned = tune(RECIPE, ["ce", "kd"], 5, tmp_path / "out", engine=cluster, listen=kill)
    assert killed
    assert tuned == tune(RECIPE, ["ce", "kd"], 5, tmp_path / "here", jobs=1)
    names = [f"{method}-{n:04d}.json" for method in ("ce", "kd") for n in range(5)]
    assert sorted(file.name for file in (tmp_path / "out" / "trials").iterdir()) == names


@LINUX
def test_a_full_disk_of_one_worker_costs_one_sentence_and_no_run(cluster: Cluster, tmp_path: Path) -> None:
    """A worker that may write no larger files stands for a full disk: the system's error is of the same kind."""
    import resource

    out, full = tmp_path / "out", []

    def fill(event: object) -> None:
        if isinstance(event, EpochEnded) and not full and (process := writer(out / "kd-seed0")):
            assert process != os.getpid()
            resource.prlimit(process, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            full.append(process)

    with pytest.raises(Unfinished) as error:
        compare(RECIPE, ["ce", "kd"], 1, out, engine=cluster, listen=fill)
    resource.prlimit(full[0], resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert re.fullmatch(
        r"1 of 2 runs did not finish \(kd-seed0: Cannot write \S+/kd-seed0/\S+: File too large; free some space or "
        r"choose another folder\); the same command goes on with them\.",
        str(error.value),
    )
    assert [run.path.name for run in error.value.runs] == ["ce-seed0"]
    runs = compare(RECIPE, ["ce", "kd"], 1, out, engine=cluster)
    assert [[line["epoch"] for line in run.metrics()] for run in runs] == [list(range(1, EPOCHS + 1))] * 2
    assert students(runs) == students(compare(RECIPE, ["ce", "kd"], 1, tmp_path / "here", jobs=1))


@LINUX
def test_a_folder_that_workers_do_not_see(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # each process has its own /proc/self/cwd
    with pytest.raises(
        InputError, match=r"Workers on 127\.0\.0\.1 do not see /proc/self/cwd/out; give a folder on a d"
    ):
        compare(RECIPE, ["ce"], 1, "/proc/self/cwd/out", engine=cluster)
    assert list((tmp_path / "out").iterdir()) == []
    pytest.importorskip("optuna")
    with pytest.raises(InputError, match=r"Workers on 127\.0\.0\.1 do not see /proc/self/cwd/out; give a folder"):
        tune(RECIPE, ["ce"], 1, "/proc/self/cwd/out", engine=cluster)
    assert list((tmp_path / "out").iterdir()) == []


def test_more_gpus_than_there_are(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gpus_per_cell must be at most 0, the GPUs of the largest node, got 64"):
        compare(RECIPE, ["ce"], 1, tmp_path / "out", engine=Cluster(gpus_per_cell=64))
    assert not (tmp_path / "out").exists()
    for share in (-1.0, 1.5, math.nan, math.inf):  # Ray gives a part of one GPU, or whole ones
        with pytest.raises(InputError, match="gpus_per_cell must be a share from 0 to 1, or a whole number, got"):
            Cluster(gpus_per_cell=share)


@LINUX
def test_ray_listens_on_the_loopback_interface_alone(cluster: Cluster) -> None:
    sockets = {line.split()[9] for name in ("tcp", "tcp6") for line in _listening(name)}
    owners = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if b"/ray/" in command or command.startswith(b"ray::") or process.name == str(os.getpid()):
                links = [os.readlink(link) for link in (process / "fd").iterdir()]
                owners |= {link[8:-1]: process.name for link in links if link.startswith("socket:[")}
        except OSError:
            continue
    ours = [line for name in ("tcp", "tcp6") for line in _listening(name) if line.split()[9] in owners]
    assert sockets
    open_to_all = [line for line in ours if set(line.split()[1].partition(":")[0]) == {"0"}]
    assert open_to_all == []


def _listening(name: str) -> list[str]:
    return [line for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:] if line.split()[3] == "0A"]


class Silent(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize("command", ["compare", "tune"])
def test_no_cluster_at_an_address(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster_module, "CONNECT", 0.3)
    with (
        socket.socket() as free,
        socket.socket() as silent,
        ThreadingHTTPServer(("127.0.0.1", 0), Silent) as other,
    ):
        free.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        threading.Thread(target=other.serve_forever, daemon=True).start()
        ports = [one.getsockname()[1] for one in (free, silent, other.socket)]
        reasons = ("Connection refused", "timed out", "what listens there is not Ray")
        known = [(f"127.0.0.1:{port}", why) for port, why in zip(ports, reasons, strict=True)]
        for address, why in (*known, ("127.0.0.1", "invalid literal")):
            words = ("--dataset", "moons", "--engine", "ray", "--address", address, "--out", tmp_path / "out")
            status, _, err = call(command, *words)
            assert (status, err.count("\n")) == (2, 1)
            assert f"No Ray cluster answers at {address} (" in err
            assert why in err
        other.shutdown()
    assert not (tmp_path / "out").exists()


def test_a_ray_that_does_not_start_is_tried_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def init(**_: object) -> None:
        started.append(1)
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(InputError, match=r"Ray does not start on this machine \(The current node timed out during st"):
        compare(RECIPE, ["ce"], 1, tmp_path / "out", engine=Cluster())
    assert len(started) == 2
    assert not (tmp_path / "out").exists()


def test_a_cluster_at_an_address(cluster: Cluster, tmp_path: Path) -> None:
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    cluster_module._knock(host, int(port))  # raises where Ray does not answer as it should
