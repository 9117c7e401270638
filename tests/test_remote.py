"""Runs at a URL: an S3 server and a Ray of this machine, killed workers, one sentence for what cannot work."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from recipes import POINTS
from test_grid import students

from amkd_viz.core.errors import InputError
from amkd_viz.data.where import cache_folder
from amkd_viz.runs import Run, compare
from amkd_viz.runs import remote as remote_module
from amkd_viz.runs import run as run_module
from amkd_viz.runs.cluster import Cluster
from amkd_viz.runs.grid import Unfinished
from amkd_viz.runs.remote import Remote, Taken, Work, nearby, worked_on
from amkd_viz.runs.tune import confirm, tune
from amkd_viz.training import EpochEnded

ray = pytest.importorskip("ray", reason="the extra 'cluster' (Ray) is not installed")
s3fs = pytest.importorskip("s3fs", reason="the extra 's3' (s3fs) is not installed")
pytest.importorskip("moto", reason="moto, an S3 server, is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.processes]
EPOCHS = 200
RECIPE = POINTS.replace(epochs=EPOCHS, magsim_samples=0)
SMALL = POINTS.replace(epochs=5, magsim_samples=0)


class Server:
    """moto's S3 server in a thread, which tells what it is asked for.

    Attributes:
        asked: method, path and whether it must be new, of each request.
        after: called with method and path when a request has been answered.
        down: whether it refuses all requests.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Silent(WSGIRequestHandler):
            def log(self, *_: object) -> None: ...

        self._answer = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._application, threaded=True, request_handler=Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.reset()

    def reset(self) -> None:
        self.asked: list[tuple[str, str, bool]] = []
        self.after: Callable[[str, str], None] = lambda method, path: None
        self.down = False

    def _application(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if self.down:
            start("500 Down", [])
            return [b""]
        self.asked.append((method, path, environ.get("HTTP_IF_NONE_MATCH") == "*"))
        answer = list(self._answer(environ, start))
        self.after(method, path)
        return answer

    def puts(self, ending: str = "") -> list[str]:
        return [path for method, path, _ in self.asked if method == "PUT" and path.endswith(ending)]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[Server]:
    made = Server()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("ENDPOINT_URL", made.url)):
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.delenv("AWS_PROFILE", raising=False)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        s3fs.S3FileSystem.clear_instance_cache()
        yield made
        s3fs.S3FileSystem.clear_instance_cache()
    made.close()


@pytest.fixture
def bucket(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """Make a bucket of this test, and return its URL."""
    name = f"b{abs(hash(request.node.name))}"
    s3fs.S3FileSystem().mkdir(name)
    server.reset()
    yield f"s3://{name}"
    server.reset()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send after every event, with a checkpoint after every epoch; only in this process."""
    monkeypatch.setattr(remote_module, "EVERY", 0.0)
    monkeypatch.setattr(remote_module, "COST", 0.0)
    monkeypatch.setattr(remote_module, "AGAIN", 0.0)
    monkeypatch.setattr(run_module, "EPOCH_SECONDS", 0.0)


def forget() -> None:
    """Remove what this machine keeps of any URL."""
    for name in ("remote", "scratch"):
        shutil.rmtree(cache_folder() / name, ignore_errors=True)


def kill_at_a_checkpoint(server: Server, cell: str) -> list[int]:
    """Kill the worker of a cell when the server has its first checkpoint; return what will hold its process id."""
    lock, killed = cache_folder() / "scratch" / f"{remote_module._digest(cell)}.lock", list[int]()

    def kill(method: str, path: str) -> None:
        if method == "PUT" and path.endswith(".pt") and path.startswith(cell.removeprefix("s3:/")) and not killed:
            killed.append(int(lock.read_text()))
            os.kill(killed[0], signal.SIGKILL)

    server.after = kill
    return killed


# on Ray


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_worker_of_a_grid_in_a_bucket_costs_no_cell(
    cluster: Cluster, server: Server, bucket: str, tmp_path: Path
) -> None:
    out, heard = f"{bucket}/one/grid", []
    killed = kill_at_a_checkpoint(server, f"{out}/kd-seed0")
    runs = compare(RECIPE, ["ce", "kd", "amkd"], 1, out, engine=cluster, listen=heard.append)
    assert killed
    assert killed[0] != os.getpid()
    assert [run.path.name for run in runs] == ["ce-seed0", "kd-seed0", "amkd-seed0"]
    assert [[line["epoch"] for line in run.metrics()] for run in runs] == [list(range(1, EPOCHS + 1))] * 3
    assert students(runs) == students(compare(RECIPE, ["ce", "kd", "amkd"], 1, tmp_path / "here", jobs=1))
    begun = [path for method, path, new in server.asked if new and path.endswith("/kd-seed0/config.json")]
    assert len(begun) == 1  # the same run went on
    assert any(method == "GET" and path.endswith(".pt") for method, path, _ in server.asked)
    assert any(isinstance(event, EpochEnded) for event in heard)
    names = Remote(out).names()
    assert {name.partition("/")[0] for name in names} == {"ce-seed0", "kd-seed0", "amkd-seed0"}
    assert not any(name.endswith((remote_module.OWNER, "lock")) for name in names)
    assert not any(path.is_dir() for path in (cache_folder() / "scratch").iterdir())  # locks stay
    # a finished grid is read, not trained
    server.reset()
    forget()
    again = compare(RECIPE, ["ce", "kd", "amkd"], 1, out, engine=cluster)
    assert students(again) == students(runs)
    assert [path for path in server.puts() if ".seen-" not in path] == []


def test_trials_in_a_bucket_are_those_of_one_process(cluster: Cluster, bucket: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    tuned = tune(SMALL, ["ce", "kd"], 5, f"{bucket}/tuning", engine=cluster)
    assert tuned == tune(SMALL, ["ce", "kd"], 5, tmp_path / "here", jobs=1)
    names = [f"trials/{method}-{n:04d}.json" for method in ("ce", "kd") for n in range(5)]
    assert sorted(Remote(f"{bucket}/tuning").names()) == [*names, "tuning.json"]
    forget()
    heard: list[int] = []
    assert tune(SMALL, ["ce", "kd"], 5, f"{bucket}/tuning", jobs=1, listen=lambda _, n: heard.append(n)) == tuned
    assert heard == []  # the trials are there
    with pytest.raises(InputError, match=rf"{bucket}/tuning holds the trials of another recipe; choose another folder"):
        tune(SMALL.replace(epochs=4), ["ce", "kd"], 5, f"{bucket}/tuning", jobs=1)
    runs = confirm(tuned, 1, Path(f"{bucket}/tuning") / "confirmed", jobs=1)  # as the command line joins paths
    assert [run.finished for run in runs] == [True, True]
    assert "confirmed/kd-seed1000/summary.json" in Remote(f"{bucket}/tuning").names()


def test_a_store_that_workers_do_not_see(cluster: Cluster) -> None:
    with pytest.raises(
        InputError, match=r"^Workers on 127\.0\.0\.1 do not see memory://mine/grid: what this machine wr"
    ):
        compare(SMALL, ["ce"], 1, "memory://mine/grid", engine=cluster)
    assert Remote("memory://mine/grid").names() == {}


# in this process, with several kinds of storage


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_half_grid_goes_on_from_what_was_sent(
    jobs: int, server: Server, bucket: str, tmp_path: Path, at_once: None
) -> None:
    def stop(event: object) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 3:
            raise KeyboardInterrupt

    out, whole = f"{bucket}/grid", compare(SMALL, ["kd", "ce"], 1, tmp_path / "here", jobs=1)  # and the teacher
    with pytest.raises(KeyboardInterrupt):
        compare(SMALL, ["kd"], 1, out, jobs=1, listen=stop)
    assert "kd-seed0/checkpoints/epoch-0002.pt" in Remote(out).names()
    assert "kd-seed0/checkpoints/epoch-0003.pt" not in Remote(out).names()
    forget()  # another machine goes on
    heard: list[Any] = []
    runs = compare(SMALL, ["kd", "ce"], 1, out, jobs=jobs, listen=heard.append)
    epochs = sorted(event.epoch for event in heard if isinstance(event, EpochEnded))
    assert epochs == [1, 2, 3, 3, 4, 4, 5, 5]
    assert students(runs) == students(whole)
    assert [line["epoch"] for line in runs[0].metrics()] == [1, 2, 3, 4, 5]


def test_a_log_is_sent_before_the_checkpoint_that_goes_on_from_it(server: Server, bucket: str, at_once: None) -> None:
    (run,) = compare(SMALL, ["kd"], 1, f"{bucket}/grid", jobs=1)
    puts = [path.partition("/kd-seed0/")[2] for path in server.puts()]
    assert puts[:2] == ["owner.json", "config.json"]
    assert puts[-2:] == ["student.safetensors", "summary.json"]
    for epoch in range(1, 6):
        names = [f"checkpoints/epoch-{epoch:04d}.{ending}" for ending in ("sha256", "pt")]
        place = puts.index(names[0])
        assert puts[place - 2 : place + 2] == ["metrics.jsonl", f"snapshots/epoch-{epoch:04d}.safetensors", *names]
    kept = [name for name in Remote(f"{bucket}/grid").names() if name.endswith(".pt")]
    assert kept == [f"kd-seed0/checkpoints/epoch-{epoch:04d}.pt" for epoch in (4, 5)]
    assert not (run.path / "checkpoints").exists()  # a copy has no use for them


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_process_of_a_grid_in_a_bucket_is_named_and_its_run_goes_on(
    server: Server, bucket: str, tmp_path: Path
) -> None:
    out = f"{bucket}/grid"
    killed = kill_at_a_checkpoint(server, f"{out}/kd-seed0")
    with pytest.raises(Unfinished, match=r"1 of 2 runs did not finish \(kd-seed0: its process was killed by SIGKILL\)"):
        compare(SMALL, ["ce", "kd"], 1, out, jobs=2)
    assert killed[0] != os.getpid()
    forget()  # another machine goes on
    runs = compare(SMALL, ["ce", "kd"], 1, out, jobs=2)
    assert students(runs) == students(compare(SMALL, ["ce", "kd"], 1, tmp_path / "here", jobs=1))
    assert [[line["epoch"] for line in run.metrics()] for run in runs] == [[1, 2, 3, 4, 5]] * 2
    assert len([path for _, path, new in server.asked if new and path.endswith("/kd-seed0/config.json")]) == 1


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_a_worker_may_be_killed_after_each_of_its_writes(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    recipe = SMALL.replace(epochs=2)
    whole = students(compare(recipe, ["kd"], 1, tmp_path / "here", jobs=1))
    write, left = Remote.write, [0]

    def stopping(self: Remote, *values: Any, **options: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        write(self, *values, **options)

    states = set()
    for count in range(0, 100, 1 if scheme == "memory" else 5):
        out = f"{scheme}://{tmp_path}/{count}"
        left[0] = count
        monkeypatch.setattr(Remote, "write", stopping)
        try:
            runs = compare(recipe, ["kd"], 1, out, jobs=1)
        except KeyboardInterrupt:
            monkeypatch.setattr(Remote, "write", write)
            forget()
            if "kd-seed0/config.json" in Remote(out).names():
                run = Run.open(f"{out}/kd-seed0")
                states.add(run.epochs_done)
                assert not run.finished
            runs = compare(recipe, ["kd"], 1, out, jobs=1)
            assert students(runs) == whole
            assert [line["epoch"] for line in runs[0].metrics()] == [1, 2]
            assert [line for line in runs[0].lines() if line.get("kind") == "note"] == []  # nothing was damaged
            continue
        break
    assert students(runs) == whole
    assert states == {0, 1, 2} or scheme == "file"
    assert count > 10


def test_a_store_that_is_down_for_a_while_costs_nothing(
    server: Server, bucket: str, tmp_path: Path, at_once: None
) -> None:
    def fall(event: object) -> None:
        if isinstance(event, EpochEnded):
            server.down = event.epoch in (2, 3)

    whole = compare(SMALL, ["kd"], 1, tmp_path / "here", jobs=1)  # and the teacher
    runs = compare(SMALL, ["kd"], 1, f"{bucket}/grid", jobs=1, listen=fall)
    assert students(runs) == students(whole)
    names = [path.rpartition("/")[2] for path in server.puts(".pt")]
    assert names == ["epoch-0001.pt", "epoch-0003.pt", "epoch-0004.pt", "epoch-0005.pt"]


def test_a_store_that_stays_down_ends_the_cell_with_a_sentence(
    server: Server, bucket: str, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compare(SMALL, ["kd"], 1, tmp_path / "here", jobs=1)  # and the teacher
    monkeypatch.setattr(remote_module, "PATIENCE", -1.0)
    out = f"{bucket}/grid"

    def fall(event: object) -> None:
        server.down = server.down or (isinstance(event, EpochEnded) and event.epoch == 3)

    with pytest.raises(InputError, match=rf"{out} cannot be used \(\w+: .*\); check the address and whether the store"):
        compare(SMALL, ["kd"], 1, out, jobs=1, listen=fall)
    server.down = False
    assert students(compare(SMALL, ["kd"], 1, out, jobs=1)) == students(whole)


def test_who_begins_a_cell_last_owns_it(server: Server, bucket: str, tmp_path: Path, at_once: None) -> None:
    out, taken = f"{bucket}/grid", []
    compare(SMALL, ["kd"], 1, tmp_path / "here", jobs=1)  # the teacher

    def take(event: object) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 3:
            taken.append(Work(Remote(f"{out}/kd-seed0"), tmp_path / "other"))

    with pytest.raises(Unfinished, match=rf"kd-seed0: {out}/kd-seed0 was begun again by [\w.-]+\); the same command"):
        compare(SMALL, ["kd"], 1, out, jobs=1, listen=take)
    (other,) = taken
    assert "kd-seed0/owner.json" in Remote(out).names()  # the second one's
    assert (tmp_path / "other" / "checkpoints" / "epoch-0002.pt").exists()
    sentence = f"The run {out}/kd-seed0 is being written by process {os.getpid()}"  # on one machine the first stays
    with worked_on(f"{out}/kd-seed0"), pytest.raises(InputError, match=sentence), worked_on(f"{out}/kd-seed0"):
        raise AssertionError
    with pytest.raises(Taken):
        other.send(last=True)


# reading


def test_reports_of_a_bucket(
    server: Server,
    bucket: str,
    tmp_path: Path,
    call: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = f"{bucket}/grid"
    words = [
        "--dataset",
        "blobs",
        "--teacher",
        "mlp-small",
        "--student",
        "mlp-tiny",
        "--epochs",
        "2",
        "--num-train",
        "48",
    ]
    words += [
        "--batch-size",
        "16",
        "--teacher-epochs",
        "5",
        "--teacher-batch-size",
        "16",
        "--device",
        "cpu",
        "--seeds",
        "1",
    ]
    status, said, err = call("compare", *words, "--methods", "ce,kd", "--jobs", "1", "--out", out)
    assert status == 0, err
    assert f"The report is {out}/report.html." in said
    forget()  # another machine reads
    status, said, err = call("report", out)
    assert status == 0, err
    assert f"The report is {out}/report-2.html." in said
    first, second = (Remote(out).read(name) for name in ("report.html", "report-2.html"))
    assert first
    assert second
    assert len(second) > 100_000
    status, said, err = call("report", "--live", out)
    assert status == 0, err
    assert [line.split()[0] for line in said.splitlines() if "-seed0" in line] == ["ce-seed0", "kd-seed0"]
    assert "finished" in said
    assert call("report", out, "--out", tmp_path / "mine.html")[0] == 0
    assert (tmp_path / "mine.html").read_bytes()[:15].lower() == b"<!doctype html>"
    run = Run.open(f"{out}/kd-seed0")
    assert (
        run.summary["test_accuracy"]
        == Run.open(cache_folder() / "remote" / out.replace("://", "/") / "kd-seed0").summary["test_accuracy"]
    )
    # what has gone there goes here; what was added here stays
    (run.path / "measures.json").write_text("{}")
    Remote(out).remove("kd-seed0/summary.json")
    assert not Run.open(f"{out}/kd-seed0").finished
    assert (run.path / "measures.json").exists()
    status, _, err = call("distill", "--resume", f"{out}/kd-seed0")
    assert (status, err.count("\n")) == (2, 1)
    assert f"kd-seed0 is a copy of {out}/kd-seed0; the command that began that run goes on with it." in err


def test_a_name_in_a_store_never_leads_out_of_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    remote = Remote("memory://hostile/grid")
    names = ["config.json", "../../../../../out.json", "ce/../../../../../../out.json"]
    monkeypatch.setattr(remote, "names", lambda: dict.fromkeys(names, "1"))
    monkeypatch.setattr(remote, "read", lambda name: b"{}")
    remote.pull()
    found = sorted(file.name for file in tmp_path.rglob("*.json"))
    assert found == sorted(["config.json", remote._stamps.name])
    work = Work(remote, tmp_path / "scratch" / "cell")
    assert sorted(file.name for file in (tmp_path / "scratch").rglob("*.json")) == ["config.json"]
    assert work.path.is_dir()
    for url in ("memory://", "s3://", "s3://bucket/../other", "s3://bucket\\grid"):
        with pytest.raises(InputError, match="is not a folder of a store; write SCHEME://BUCKET/FOLDER"):
            Remote(url)


# bad input


def test_what_is_there_already_stays(server: Server, bucket: str) -> None:
    out = f"{bucket}/grid"
    compare(SMALL, ["ce"], 1, out, jobs=1)
    before = Remote(out).names()
    with pytest.raises(InputError, match=rf"{out}/ce-seed0 holds a run of another recipe and is never overwritten"):
        compare(SMALL.replace(epochs=4), ["ce"], 1, out, jobs=1)
    assert Remote(out).names() == before
    Remote(f"{bucket}/own").write("notes.txt", b"mine")
    with pytest.raises(InputError, match=rf"{bucket}/own holds other files and is never overwritten; choose another"):
        compare(SMALL, ["ce"], 1, f"{bucket}/own", jobs=1)
    Remote(out).write("kd-seed0/notes.txt", b"mine")
    with pytest.raises(Unfinished, match=rf"kd-seed0: {out}/kd-seed0 holds other files and is never overwritten"):
        compare(SMALL, ["ce", "kd"], 1, out, jobs=1)
    assert Remote(out).read("kd-seed0/notes.txt") == b"mine"
    with pytest.raises(InputError, match=rf"{out}/ce-seed0/config\.json exists and is never overwritten"):
        Remote(out).write("ce-seed0/config.json", b"other", new=True)


BAD = {
    "foo://bucket/grid": r"Unknown scheme 'foo'; .*Allowed: s3, gs, abfs, ",
    "gs://bucket/grid": r"gs:// needs a package \(.*\); install it with 'pip install gcsfs'\.",
    "s3://no-such-bucket/grid": r"s3://no-such-bucket/grid cannot be used \(FileNotFoundError: The specified bucket",
    "s3://": r"s3:// is not a folder of a store; write SCHEME://BUCKET/FOLDER\.",
}


@pytest.mark.parametrize("url", BAD)
@pytest.mark.parametrize("words", [("compare", "--out"), ("tune", "--out"), ("report",), ("report", "--live")])
def test_a_url_that_cannot_be(
    url: str,
    words: tuple[str, ...],
    tmp_path: Path,
    call: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    data = () if words[0] == "report" else ("--dataset", "blobs")
    status, _, err = call(words[0], *data, *words[1:], url)
    assert (status, err.count("\n")) == (2, 1)
    assert re.search(BAD[url], err), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["no credentials", "wrong credentials", "connection refused"])
def test_a_store_that_refuses(
    what: str, server: Server, call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "no credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        wanted = "NoCredentialsError: Unable to locate credentials); give this machine the store's credentials"
    elif what == "wrong credentials":
        monkeypatch.setattr(remote_module, "_opened", lambda scheme, url: (Refusing(), "bucket/grid"))
        wanted = "PermissionError: Forbidden); give this machine the store's credentials, such as AWS_ACCESS_KEY_ID"
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        wanted = "EndpointConnectionError: Could not connect to the endpoint URL"
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        status, _, err = call("compare", "--dataset", "blobs", "--out", "s3://bucket/grid")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
    assert (status, err.count("\n")) == (2, 1)
    assert f"s3://bucket/grid cannot be used ({wanted}" in err


class Refusing:
    def invalidate_cache(self) -> None: ...

    def find(self, *_: object, **__: object) -> None:
        raise PermissionError("Forbidden")


def test_commands_that_need_a_folder_here_say_so(
    tmp_path: Path, call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("distill", "--dataset", "blobs"), ("import", "net.pth")):
        status, _, err = call(*words, "--out", "s3://bucket/run")
        assert (status, err.count("\n")) == (2, 1)
        assert "s3://bucket/run is not on this machine; only 'compare' and 'tune' train into a URL" in err
    assert list(tmp_path.iterdir()) == []
    assert nearby("runs/one") == Path("runs/one")
