"""Cells as tasks of Ray, on this machine or on a cluster whose workers see the same folders, or the same store."""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import explained
from amkd_viz.data.where import cache_folder
from amkd_viz.runs.engines import RETRIES, Cells, Ended, Hear, Stored, order, train_here
from amkd_viz.runs.remote import Remote
from amkd_viz.runs.run import Run
from amkd_viz.training.events import EpochEnded
from amkd_viz.training.recipe import Recipe

__all__ = ["Cluster"]

LOOK = 0.3  # seconds between two looks at the logs
CONNECT = 10.0  # seconds to wait for a cluster


class Cluster:
    """Trains cells on a Ray cluster: one task per cell, with one CPU thread, which goes on where a worker has died.

    Args:
        address: HOST:PORT of the cluster, or "auto" for the one that runs here; None starts one on this machine, which
            listens on its loopback interface alone and ends with this process.
        jobs: number of cells at once of a cluster that is started here; default: one per core.
        gpus_per_cell: share of a GPU that each cell takes.
    """

    def __init__(self, address: str | None = None, jobs: int | None = None, gpus_per_cell: float = 0.0) -> None:
        if not (0 <= gpus_per_cell <= 1 or (gpus_per_cell > 1 and float(gpus_per_cell).is_integer())):
            raise InputError(f"gpus_per_cell must be a share from 0 to 1, or a whole number, got {gpus_per_cell:g}.")
        self._address, self._jobs, self._gpus = address, jobs, gpus_per_cell
        self._remote: Remote | None = None

    def connect(self, out: Path | Remote) -> None:
        """Connect to the cluster before anything is trained.

        Raises:
            InputError: it cannot be reached, has fewer GPUs than a cell takes, or a node of it does not see ``out``.
        """
        self._remote = out if isinstance(out, Remote) else None
        if self._address is None:  # Ray reads it when it is imported: its processes then listen on loopback alone
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        import ray

        if not ray.is_initialized():
            self._start(ray)
        most = max((node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if self._gpus > most:
            raise InputError(
                f"gpus_per_cell must be at most {most:g}, the GPUs of the largest node, got {self._gpus:g}."
            )
        if isinstance(out, Remote):
            self._check_reached(ray, out)
        else:
            self._check_seen(ray, Path(os.path.abspath(out)))

    def _start(self, ray: Any) -> None:
        own: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
        own["runtime_env"] = {"env_vars": _environment()}
        if self._address is None:
            self._start_here(ray, own)
            return
        try:
            if self._address != "auto":
                host, _, port = self._address.removeprefix("ray://").rpartition(":")
                _knock(host, int(port))
            ray.init(address=self._address, **own)
        except (OSError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())[:120]
            raise InputError(
                f"No Ray cluster answers at {self._address} ({why}); start one with 'ray start --head', or leave the "
                "address out to use this machine."
            ) from error

    def _start_here(self, ray: Any, own: dict[str, Any]) -> None:
        cores = self._jobs or os.cpu_count()
        for again in (True, False):
            try:
                ray.init(num_cpus=cores, include_dashboard=False, _node_ip_address="127.0.0.1", **own)
                return
            except Exception as error:  # its own kind: Ray waits 30 s for its processes, which a busy machine may need
                ray.shutdown()
                if not again:
                    why = " ".join(str(error).split())[:120]
                    raise InputError(
                        f"Ray does not start on this machine ({why}); try again when it is less busy, or leave Ray out "
                        "and use processes."
                    ) from error

    def _check_seen(self, ray: Any, out: Path) -> None:
        """Refuse a folder that a node does not see, or sees as another one."""
        token = out / f".seen-{uuid.uuid4().hex}"
        with explained(out):
            out.mkdir(parents=True, exist_ok=True)
            token.write_bytes(b"")
        try:
            blind = [name for name, seen in _on_each_node(ray, os.path.exists, str(token)).items() if not seen]
        finally:
            with suppress(OSError):
                token.unlink()
        if blind:
            raise InputError(
                f"Workers on {', '.join(blind)} do not see {out}; give a folder on a drive that all share."
            )

    def _check_reached(self, ray: Any, out: Remote) -> None:
        """Refuse a URL that a node does not reach, or that is another store there."""
        token = f".seen-{uuid.uuid4().hex}"
        out.write(token, b"")
        try:
            reasons = _on_each_node(ray, _why_unseen, out.url, token)
        finally:
            out.remove(token)
        for name, reason in reasons.items():
            if reason is not None:
                raise InputError(f"Workers on {name} do not see {out.url}: {reason}")

    def __call__(self, cells: Cells, hear: Hear) -> None:
        """Train cells; ``hear`` is called in this thread as by ``engines.processes``."""
        import ray

        task = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=RETRIES)(train_here)
        waiting = {task.remote(os.path.abspath(path), order(cell)): path for path, cell in cells.items()}
        inner = {path: cell.cell if isinstance(cell, Stored) else cell for path, cell in cells.items()}
        logs = {path: (Run.follow_at(path), 0) for path, cell in inner.items() if isinstance(cell, Recipe)}
        following = 0.0
        try:
            while waiting:
                ended, _ = ray.wait(list(waiting), timeout=LOOK)
                if self._remote is not None and logs and (begun := time.monotonic()) > following:
                    with suppress(InputError):  # progress may wait until the store answers again
                        self._remote.pull(light=True)
                    following = time.monotonic() + max(LOOK, 10 * (time.monotonic() - begun))
                for path, (follower, last) in list(logs.items()):
                    for line in follower.poll():
                        if line.get("kind", "epoch") == "epoch" and line["epoch"] > last:  # a run may go back
                            last = line["epoch"]
                            hear(path, EpochEnded(last, {"images_per_s": 0.0, **line}))
                    logs[path] = follower, last
                for one in ended:
                    path = waiting.pop(one)
                    logs.pop(path, None)
                    try:
                        reason = ray.get(one)
                    except ray.exceptions.RayError as error:
                        reason = f"its worker has died {RETRIES + 1} times ({type(error).__name__})"
                    hear(path, Ended(reason))
        finally:
            for one in waiting:
                ray.cancel(one, force=True)


def _on_each_node(ray: Any, call: Callable[..., Any], *values: Any) -> dict[str, Any]:
    """Return what a function returns on each node, by its address."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0)(call)
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    asked = {
        name: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(*values)
        for node, name in nodes.items()
    }
    return {name: ray.get(answer) for name, answer in asked.items()}


def _why_unseen(url: str, token: str) -> str | None:
    """Return why this process does not see a file of another one at a URL, or None."""
    try:
        return None if Remote(url).read(token) is not None else "what this machine writes there is not there."
    except InputError as error:
        return str(error)


def _knock(host: str, port: int) -> None:
    """Ask whether a cluster may be there: Ray itself would wait for minutes.

    Raises:
        OSError: nothing answers, or something that is not Ray's kind of server (gRPC, hence HTTP/2).
    """
    with socket.create_connection((host, port), timeout=CONNECT) as connection:
        if os.environ.get("RAY_USE_TLS", "0") == "1":
            return
        # the preface of HTTP/2 and empty settings; a server answers with its settings, frames of type 4 (RFC 9113)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        if connection.recv(9)[3:4] != b"\4":
            raise OSError("what listens there is not Ray")


def _environment() -> dict[str, str]:
    """Return the variables of this process that its workers need."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    kept = {name: os.environ[name] for name in ("AMKD_VIZ_DATA",) if name in os.environ}
    return {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "AMKD_VIZ_CACHE": str(cache_folder().resolve()), **kept}
