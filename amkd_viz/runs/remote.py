"""Runs that are kept at a URL, such as ``s3://BUCKET/FOLDER`` or any other that fsspec opens.

A worker trains in a scratch folder of its own machine: it takes what the URL has, and sends what has changed. This
machine keeps a copy in its cache, which tables and reports read. A store replaces files whole, but has no locks: who
begins a cell last owns it, as its ``owner.json`` says, and the one before stops at its next sending with a sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.files import PART, address, explained, files_below, write_atomic
from amkd_viz.core.parse import read
from amkd_viz.data.where import cache_folder
from amkd_viz.runs.follow import locked

__all__ = ["OWNER", "Remote", "Taken", "Work", "nearby", "origin", "patiently", "worked_on"]

EVERY = 1.0  # seconds between two sendings at least
COST = 10.0  # times as long as the last one took, at least: sending takes a tenth of the time at most
PATIENCE = 300.0  # seconds for which a store may not answer, while workers go on training
AGAIN = 5.0  # seconds until it is asked again
OWNER = "owner.json"
EXTRAS = {"s3": "amkd-viz[s3]", "s3a": "amkd-viz[s3]", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
S3 = {"connect_timeout": 5, "read_timeout": 15, "retries": {"max_attempts": 1}}  # botocore's own are minutes


class Taken(InputError):
    """Another worker has begun the same cell, or written the same file."""


class Remote:
    """A folder at a URL.

    Attributes:
        copy: where this machine keeps a copy; its path has the parts of the URL.

    Raises:
        InputError: fsspec does not know the scheme, or a package for it is missing.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        scheme, _, rest = self.url.partition("://")
        parts = [part for part in rest.split("/") if part]
        if not parts or ".." in parts or "\\" in rest:
            raise InputError(f"{url} is not a folder of a store; write SCHEME://BUCKET/FOLDER.")
        self.copy = _copies() / scheme / Path(*parts)
        self._stamps = _copies() / f"{_digest(self.url)}.json"  # of the files that the copy has
        self._store, self._root = _opened(scheme, self.url)

    @classmethod
    def of(cls, path: str | Path) -> Remote | None:
        """Return the remote folder that ``path`` names as a URL or is the copy of; None for another path."""
        url = address(path) or origin(Path(path))
        return None if url is None else cls(url)

    def url_of(self, path: Path) -> str:
        """Return the URL of a path in the copy."""
        return f"{self.url}/{path.relative_to(self.copy).as_posix()}"

    # the store

    def names(self) -> dict[str, str]:
        """Return each file below the folder, with what tells its content from an earlier one.

        Raises:
            InputError: the store refuses, or does not answer.
        """
        with self._answers():
            self._store.invalidate_cache()
            found = self._store.find(self._root, detail=True)
        return {
            path[len(self._root) :].lstrip("/"): str(info.get("ETag") or [info["size"], *_times(info)])
            for path, info in found.items()
            if info["type"] == "file" and not path.endswith("/")
        }

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is no such file."""
        with self._answers():
            try:
                content: bytes = self._store.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None
        return content

    def write(self, name: str, content: bytes, new: bool = False) -> None:
        """Write a file whole.

        Args:
            new: refuse to replace one, even one that another process is writing at this moment (where the store can
                tell, as S3, GCS and drives can).
        """
        path = f"{self._root}/{name}"
        with self._answers():
            if not self._store.async_impl:  # a drive has folders; an object store may take this for a new bucket
                self._store.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                self._store.pipe_file(path, content, mode="create" if new else "overwrite")
            except FileExistsError as error:
                if self.read(name) != content:  # else it was written, and only the answer was lost
                    raise Taken(f"{self.url}/{name} exists and is never overwritten.") from error

    def remove(self, name: str) -> None:
        with self._answers(), suppress(FileNotFoundError):
            self._store.rm_file(f"{self._root}/{name}")

    def add(self, stem: str, suffix: str, content: bytes) -> str:
        """Write a file by the first of the names STEM, STEM-2, ... that is free; return its URL."""
        names, number, name = self.names(), 2, stem + suffix
        while name in names:
            name, number = f"{stem}-{number}{suffix}", number + 1
        self.write(name, content, new=True)
        return f"{self.url}/{name}"

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn whatever a store raises, each its own kinds, into one sentence."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            kind, why = type(error).__name__, " ".join(str(error).split())[:150].rstrip(".")
            if isinstance(error, FileNotFoundError):
                advice = "make the bucket first, or mend its name"
            elif isinstance(error, PermissionError) or "Credential" in kind:
                advice = "give this machine the store's credentials, such as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
            else:
                advice = "check the address and whether the store is up; the same command goes on"
            raise InputError(f"{self.url} cannot be used ({kind}: {why}); {advice}.") from error

    # the copy

    def pull(self, light: bool = False) -> Path:
        """Bring the copy up to date, without checkpoints; return its path. What this machine added there stays.

        Args:
            light: settings, logs and summaries alone, without the nets.
        """
        known: dict[str, str] = {}
        with suppress(InputError):  # there is none yet, or it is damaged
            known = read(self._stamps, "list", {str: str})
        names = _wanted(self.names())
        for name in known.keys() - names:
            (self.copy / name).unlink(missing_ok=True)
        kept = {name: stamp for name, stamp in known.items() if name in names}
        for name in sorted(names, key=_turn):
            here = self.copy / name
            if (light and here.suffix == ".safetensors") or not here.resolve().is_relative_to(self.copy.resolve()):
                continue
            if kept.get(name) == names[name] and here.exists():
                continue
            if (content := self.read(name)) is not None:  # else it has gone since
                write_atomic(here, content, flush=False)
                kept[name] = names[name]
        if kept != known:
            write_atomic(self._stamps, json.dumps(kept), flush=False)
        return self.copy

    def claim(self) -> None:
        """Refuse a folder that holds anything.

        Raises:
            InputError: see there, or the store does not answer.
        """
        if any(not name.endswith(OWNER) for name in self.names()):  # of a worker that was killed at once
            raise InputError(f"{self.url} holds other files and is never overwritten; choose another name.")


class Work:
    """A scratch folder whose files belong at a URL."""

    def __init__(self, remote: Remote, path: Path) -> None:
        self.path, self._remote = path, remote
        self._token = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "token": uuid.uuid4().hex})
        self._sent: dict[str, tuple[int, ...]] = {}  # name -> state of the file when it was sent
        self._next = 0.0
        self._failing: float | None = None  # since when nothing can be sent
        remote.write(OWNER, self._token.encode())
        for name in remote.names():
            if name != OWNER and (path / name).resolve().is_relative_to(path.resolve()):
                write_atomic(path / name, remote.read(name) or b"", flush=False)
                self._sent[name] = _state(path / name)

    def send(self, last: bool = False) -> None:
        """Send what has changed, if the last time is long enough ago; ``last``: in any case, patiently.

        Raises:
            Taken: another worker has begun the same cell.
            InputError: nothing could be sent for ``PATIENCE`` seconds.
        """
        begun = time.monotonic()
        if last:
            patiently(self._send)
        elif begun >= self._next:
            try:
                self._send()
                took = time.monotonic() - begun
                self._next, self._failing = begun + took + max(EVERY, COST * took), None
            except Taken:
                raise
            except InputError:
                self._next, self._failing = time.monotonic() + AGAIN, self._failing or begun
                if time.monotonic() - self._failing > PATIENCE:
                    raise

    def _send(self) -> None:
        if (owner := self._remote.read(OWNER)) != self._token.encode():
            host = re.search(rb'"host": "([\w.-]+)"', owner or b"")
            raise Taken(f"{self._remote.url} was begun again by {host[1].decode() if host else 'another worker'}.")
        here = {path.relative_to(self.path).as_posix(): path for path in files_below(self.path)}
        files = {name: path for name, path in here.items() if name != "lock" and not name.endswith(PART)}
        for name in sorted(files, key=_turn):
            state = _state(files[name])
            if self._sent.get(name) != state:
                self._remote.write(name, files[name].read_bytes(), new=name == "config.json" and name not in self._sent)
                self._sent[name] = state
        for name in self._sent.keys() - files:
            self._remote.remove(name)
            del self._sent[name]

    def leave(self) -> None:
        """Take the owner's name away."""
        with suppress(InputError):
            if self._remote.read(OWNER) == self._token.encode():
                self._remote.remove(OWNER)


@contextmanager
def worked_on(url: str) -> Iterator[Work]:
    """Give a scratch folder with what a URL has; it is removed in the end, or by the next worker of the same cell.

    Raises:
        Held: another process of this machine works on the same cell.
        InputError: the store does not answer, or the scratch folder cannot be written.
    """
    folder = cache_folder() / "scratch" / _digest(url)
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock"), f"The run {url}"):
        shutil.rmtree(folder, ignore_errors=True)  # of a worker that was killed
        try:
            work = Work(Remote(url), folder)
            try:
                yield work
            finally:
                work.leave()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def patiently(call: Callable[[], object]) -> None:
    """Ask a store again and again while it does not answer.

    Raises:
        InputError: it has not answered for ``PATIENCE`` seconds; or see ``Taken``.
    """
    begun = time.monotonic()
    while True:
        try:
            call()
            return
        except Taken:
            raise
        except InputError:
            if time.monotonic() - begun > PATIENCE:
                raise
            time.sleep(AGAIN)


def origin(path: Path) -> str | None:
    """Return the URL that ``path`` is a copy of, or None."""
    return address(path.relative_to(_copies()).as_posix().replace("/", ":/", 1)) if _copies() in path.parents else None


def nearby(path: str | Path) -> Path:
    """Return ``path``; in place of a URL the copy of what is there."""
    url = address(path)
    return Path(path) if url is None else Remote(url).pull()


def _copies() -> Path:
    return cache_folder() / "remote"


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _opened(scheme: str, url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs
    from fsspec.registry import known_implementations

    options: dict[str, Any] = {"config_kwargs": S3} if scheme in ("s3", "s3a") else {}
    try:
        store, root = url_to_fs(url, use_listings_cache=False, **options)
    except ValueError as error:
        raise unknown("scheme", scheme, ["s3", "gs", "abfs", *sorted(known_implementations)]) from error
    except ImportError as error:
        package = EXTRAS.get(scheme, error.name or "its package")
        raise InputError(f"{scheme}:// needs a package ({error}); install it with 'pip install {package}'.") from error
    if hasattr(store, "retries"):
        store.retries = 1
    return store, root.rstrip("/")


def _times(info: dict[str, Any]) -> list[str]:
    return [str(info[key]) for key in ("mtime", "LastModified", "last_modified", "updated", "created") if key in info]


def _state(path: Path) -> tuple[int, ...]:
    about = path.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


def _wanted(names: dict[str, str]) -> dict[str, str]:
    """Return the files of runs and tunings, without checkpoints."""
    runs = {PurePosixPath(name).parent for name in names if PurePosixPath(name).name in ("config.json", "tuning.json")}
    return {
        name: stamp
        for name, stamp in names.items()
        if "/checkpoints/" not in f"/{name}" and not runs.isdisjoint(PurePosixPath(name).parents)
    }


def _turn(name: str) -> tuple[int, str]:
    """Return when a file of a run is sent: a log before the checkpoint that goes on from it, a summary last."""
    path = PurePosixPath(name)
    order = [path.name == "config.json", path.suffix == ".jsonl", "snapshots" in path.parts, path.suffix == ".sha256"]
    order += [path.suffix == ".pt", path.name != "summary.json"]
    return next((place for place, true in enumerate(order) if true), len(order)), name
