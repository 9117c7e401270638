"""A grid on Ray: a real one on this machine, a worker that is killed, and one sentence for what cannot work."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from recipes import POINTS
from test_grid import students, writer

from amkd_viz.core.errors import InputError
from amkd_viz.runs import Run, compare
from amkd_viz.runs.cluster import Cluster
from amkd_viz.training import EpochEnded

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # as Cluster does before it imports Ray
os.environ.setdefault("RAY_worker_niceness", "0")  # else other programs starve the workers
ray = pytest.importorskip("ray", reason="the extra 'cluster' (Ray) is not installed")
pytestmark = pytest.mark.slow
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
RECIPE = POINTS.replace(epochs=60, magsim_samples=0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start Ray with two workers once for all tests."""
    made = Cluster(jobs=2)
    made.connect(tmp_path_factory.mktemp("first"))
    yield made
    ray.shutdown()


def test_a_killed_worker_costs_no_cell(cluster: Cluster, tmp_path: Path) -> None:
    out, killed, heard = tmp_path / "out", [], []

    def kill(event: object) -> None:
        heard.append(event)
        if isinstance(event, EpochEnded) and not killed:
            for run in sorted(out.iterdir()):
                if not killed and len(Run.open(run).metrics()) > 1 and (process := writer(run)):
                    assert process != os.getpid()
                    os.kill(process, signal.SIGKILL)
                    killed.append(run.name)

    runs = compare(RECIPE, ["ce", "kd", "amkd"], 1, out, engine=cluster, listen=kill)
    assert killed
    assert [run.path.name for run in runs] == ["ce-seed0", "kd-seed0", "amkd-seed0"]
    assert [[line["epoch"] for line in run.metrics()] for run in runs] == [list(range(1, 61))] * 3
    assert sorted(file.name for file in out.iterdir()) == ["amkd-seed0", "ce-seed0", "kd-seed0"]
    assert students(runs) == students(compare(RECIPE, ["ce", "kd", "amkd"], 1, tmp_path / "here", jobs=1))
    assert sum(isinstance(event, EpochEnded) for event in heard) > 4
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
    assert len(compare(RECIPE, ["ce", "kd", "amkd"], 1, out, engine=cluster)) == 3
    assert {file: file.stat().st_mtime_ns for file in before} == before


@LINUX
def test_a_folder_that_workers_do_not_see(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # each process has its own /proc/self/cwd
    with pytest.raises(
        InputError, match=r"Workers on 127\.0\.0\.1 do not see /proc/self/cwd/out; give a folder on a d"
    ):
        compare(RECIPE, ["ce"], 1, "/proc/self/cwd/out", engine=cluster)
    assert list((tmp_path / "out").iterdir()) == []


def test_more_gpus_than_there_are(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gpus_per_cell must be at most 0, the GPUs of the largest node, got 64"):
        compare(RECIPE, ["ce"], 1, tmp_path / "out", engine=Cluster(gpus_per_cell=64))


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


def test_no_cluster_at_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: object) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        words = ("--dataset", "moons", "--engine", "ray", "--address", address, "--out", tmp_path / "out")
        status, _, err = call("compare", *words)  # type: ignore[operator]
    assert (status, err.count("\n")) == (2, 1)
    assert f"No Ray cluster answers at {address} (" in err
    assert not (tmp_path / "out").exists()
