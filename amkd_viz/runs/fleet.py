"""Many runs at a glance: state, epoch, accuracy and time left of each run below a folder, read again as they change."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable
from amkd_viz.core.locks import held
from amkd_viz.core.parse import SHARE, Between, parse, read
from amkd_viz.runs.follow import EPOCHS
from amkd_viz.runs.remote import OWNER, Remote

__all__ = ["Fleet", "Seen", "sparkline"]

POINTS = 16  # of a sparkline
BARS = "▁▂▃▄▅▆▇█"
CONFIG = {
    "recipe": {"dataset": str, "method": str, "seed": range(2**63), "epochs": EPOCHS, "batch_size?": range(2**31)}
}
LINE = {"kind?": str, "epoch?": EPOCHS, "step?": range(2**40), "val_accuracy?": (None, SHARE)}
LINE |= {"images_per_s?": (None, Between(0))}


@dataclass(frozen=True)
class Seen:
    """A run as it was when it was last read.

    Attributes:
        state: "finished", "training", "stopped", or "damaged".
        accuracy: validation accuracy in [0, 1] at ``POINTS`` epochs at most, oldest first.
        left: seconds that are left of its training steps; NaN where that is not known.
    """

    path: Path
    name: str
    state: str
    epoch: int = 0
    epochs: int = 0
    accuracy: tuple[float, ...] = ()
    left: float = math.nan


class Fleet:
    """The runs below a folder. ``look`` reads what has changed since the last look, of each log a few lines.

    Args:
        folder: of runs, or of folders of runs; or its URL, see ``remote``.

    Raises:
        InputError: the folder does not exist, or nothing answers at the URL.
    """

    def __init__(self, folder: str | Path) -> None:
        self._remote = Remote.of(folder)
        self.folder = Path(folder) if self._remote is None else self._remote.pull(light=True)
        if not self.folder.is_dir():
            raise InputError(f"There is no folder {folder}; give one that holds run folders.")
        self._seen: dict[Path, tuple[object, Seen]] = {}

    def look(self) -> list[Seen]:
        """Return all runs, in the order of their paths.

        Raises:
            InputError: a folder cannot be read.
        """
        found = {}
        if self._remote is not None:
            self._remote.pull(light=True)
        with readable(self.folder):
            for base, folders, files in os.walk(self.folder):
                folders.sort()
                if "config.json" in files:
                    folders.clear()  # nothing below a run is one
                    path = Path(base)
                    taken = OWNER in files or held(path / "lock")
                    state = "finished" if "summary.json" in files else "training" if taken else "stopped"
                    stamp = (state, _stamp(path / "metrics.jsonl"))
                    before = self._seen.get(path)
                    found[path] = before if before and before[0] == stamp else (stamp, _seen(path, state, self.folder))
        self._seen = found
        return [seen for _, seen in found.values()]


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        about = file.stat()
    except OSError:
        return (0, 0, 0)
    return about.st_ino, about.st_size, about.st_mtime_ns


def _seen(path: Path, state: str, folder: Path) -> Seen:
    name = str(path.relative_to(folder)) if path != folder else path.name
    try:
        recipe = read(path / "config.json", "run", CONFIG)["recipe"]
        lines = _some_lines(path / "metrics.jsonl")
    except InputError:
        return Seen(path, name, "damaged")
    last = lines[-1] if lines else {}
    epoch, epochs = last.get("epoch", 0), recipe["epochs"]
    curve = tuple(line["val_accuracy"] for line in lines if line.get("val_accuracy") is not None)
    left = 0.0 if state == "finished" else math.nan
    if state != "finished" and last.get("images_per_s") and last.get("step"):
        images = last["step"] / epoch * recipe.get("batch_size", 0)
        left = (epochs - epoch) * images / last["images_per_s"]
    return Seen(path, name, state, epoch, epochs, curve, left)


def _some_lines(log: Path) -> list[dict[str, Any]]:
    """Return ``POINTS`` whole lines of epochs at most, evenly spaced, the last one among them."""
    with readable(log):
        content = log.read_bytes() if log.exists() else b""
    whole = [line for line in content[: content.rfind(b"\n") + 1].splitlines() if b'"epoch": ' in line[:40]]
    count = len(whole)
    chosen = sorted({count - 1 - count * k // POINTS for k in range(POINTS)}) if count else []
    found = []
    for place in chosen:
        try:
            line = parse(whole[place], LINE)
        except ValueError:
            continue
        if line.get("kind", "epoch") == "epoch" and line.get("epoch"):
            found.append(line)
    return found


def sparkline(values: tuple[float, ...]) -> str:
    """Return numbers as bars from the lowest to the highest.

    >>> sparkline((0.1, 0.5, 0.9))
    '▁▅█'
    """
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[int((value - low) * scale + 0.5)] for value in values)
