"""What a folder of runs holds, and its removal by one call: never a run that is being written, nor another file."""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import PART, explained, files_below, readable
from amkd_viz.core.locks import held
from amkd_viz.runs.fleet import Fleet
from amkd_viz.runs.follow import locked

__all__ = ["Folders", "Stored", "clear_runs"]

# Every file that the library writes into a run folder; what else lies there belongs to a person.
OWN = re.compile(
    r"(config|summary|measures)\.json|metrics\.jsonl|lock|(student|peer\d*)\.safetensors"
    r"|checkpoints/epoch-[-\d]+\.(pt|sha256)|snapshots/(\w+-)?epoch-\d+\.safetensors"
)


@dataclass(frozen=True)
class Stored:
    """The runs of one training, race or comparison: those below one name of a folder.

    Attributes:
        name: in the folder. runs: how many. bytes: size of their files.
        kept: why they stay, such as "being written"; "" if nothing is in the way.
        removed: whether they have been removed.
    """

    name: str
    runs: int
    bytes: int
    kept: str = ""
    removed: bool = False


class Folders(Sequence[Stored]):
    """A list that prints as a table, with a line on what has been removed or how to do it."""

    def __init__(self, folder: Path, stored: Sequence[Stored], asked: bool) -> None:
        self.folder, self._stored, self._asked = folder, list(stored), asked

    def __getitem__(self, place: int) -> Stored:  # type: ignore[override]
        return self._stored[place]

    def __len__(self) -> int:
        return len(self._stored)

    def __repr__(self) -> str:
        if not self._stored:
            return f"{self.folder}: no runs"
        rows = [("folder", "runs", "MB", "")]
        for own in self._stored:
            word = "removed" if own.removed else f"kept: {own.kept}" if own.kept else ""
            rows.append((own.name, str(own.runs), f"{own.bytes / 1e6:.1f}", word))
        wide, counts, sizes = (max(len(row[place]) for row in rows) for place in range(3))
        lines = [f"{a:{wide}}  {b:>{counts}}  {c:>{sizes}}  {d}".rstrip() for a, b, c, d in rows]
        runs, size = sum(own.runs for own in self._stored), sum(own.bytes for own in self._stored) / 1e6
        if self._asked:
            lines.append(f"{sum(own.runs for own in self._stored if own.removed)} of {runs} runs removed.")
        else:
            lines.append(f"{runs} runs, {size:.1f} MB. Nothing is removed without remove=True.")
        return "\n".join(lines)


def clear_runs(folder: str | Path = "runs", only: str = "*", *, remove: bool = False) -> Folders:
    """List the runs below a folder; with ``remove``, remove them.

    A run, race or comparison stays as a whole if a training, paused or not, still writes a part of it, or if one of its
    run folders contains a file that the library has not written. Everything else in the folder stays too, and so does
    the cache of teachers and examples.

    Args:
        folder: of runs, races and comparisons, such as ``runs/`` beside a notebook.
        only: pattern of names in the folder, such as "spirals-*".
        remove: without it, nothing is removed.

    Raises:
        InputError: the folder does not exist, or is itself a run; or a file cannot be read or removed.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise InputError(f"{folder} is a run; give the folder that holds it, and its name as only={folder.name!r}.")
    groups: dict[str, list[Path]] = {}
    for seen in Fleet(folder).look():
        name = seen.path.relative_to(folder).parts[0]
        if seen.state != "damaged" and fnmatch.fnmatch(name, only):
            groups.setdefault(name, []).append(seen.path)
    return Folders(folder, [_stored(folder, name, paths, remove) for name, paths in groups.items()], remove)


def _stored(folder: Path, name: str, paths: Sequence[Path], remove: bool) -> Stored:
    with readable(folder):
        size = sum(file.lstat().st_size for path in paths for file in files_below(path))
    kept = "; ".join(dict.fromkeys(why for why in map(_stays, paths) if why))  # a race without a method is none
    if kept or not remove:
        return Stored(name, len(paths), size, kept)
    for path in paths:
        _remove(path)
    _leave(folder / name)
    return Stored(name, len(paths), size, removed=True)


def _stays(path: Path) -> str:
    """Return why a run is not removed, or ""."""
    if held(path / "lock"):
        return "being written"
    names = (file.relative_to(path).as_posix() for file in files_below(path))
    other = next((name for name in names if not OWN.fullmatch(name) and not name.endswith(PART)), "")
    return f"it holds {other}" if other else ""


def _remove(path: Path) -> None:
    """Remove a run under its own lock. config.json goes first: what is stopped halfway is not a run."""
    with locked(path / "lock", f"The run {path}"), explained(path):
        (path / "config.json").unlink()
        shutil.rmtree(path)


def _leave(top: Path) -> None:
    """Remove the folder of a race or comparison that holds no run any more, and the file that names its runs."""
    left = files_below(top)
    if [file.relative_to(top).as_posix() for file in left] == ["race.json"]:
        left.pop().unlink()
    if not left:
        with suppress(OSError):
            for below in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                below.rmdir()
            top.rmdir()
