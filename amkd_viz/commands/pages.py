"""Find the runs that a person names, and write pages beside them, here or at a URL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from amkd_viz.commands.parser import say
from amkd_viz.core.errors import InputError
from amkd_viz.core.files import address, check_writable, claim, files_below

__all__ = ["fresh", "runs_in", "save_report", "saved"]


def runs_in(path: Path) -> list[Path]:
    """Return the run folders at or below ``path``, in order; of a URL the copies here.

    Raises:
        InputError: there is none.
    """
    from amkd_viz.runs.remote import nearby

    asked, path = address(path) or path, nearby(path)
    if not path.exists():
        raise InputError(f"There is no folder {asked}; give run folders, as 'distill' and 'compare' write them.")
    found = [config.parent for config in files_below(path) if config.name == "config.json"]
    if not found:
        raise InputError(f"There is no run in {asked}: no config.json there or below.")
    return found


def save_report(runs: Sequence[Any], path: Path, left_out: Sequence[str] = ()) -> None:
    """Write the report of finished runs to ``path``, which must be free; ``left_out``: sentences on other runs.

    Raises:
        InputError: ``path`` exists or cannot be written.
    """
    from amkd_viz.views.report import write_report

    if address(path) is None:
        check_writable(claim(path).parent)  # before it is drawn
    say("\nDrawing the report ...")
    say(f"The report is {saved(path, lambda file: write_report(runs, file, left_out))}.")


def saved(path: Path, save: Callable[[Path], object]) -> str:
    """Save a page; beside runs at a URL by a name that is free there. Return where it is."""
    from amkd_viz.runs.remote import Remote

    remote = Remote.of(path.parent)
    if remote is None:
        save(path)
        return str(path)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, path.name)
        save(page)
        return remote.add(path.stem, path.suffix, page.read_bytes())


def fresh(path: Path) -> Path:
    """Return ``path``, or the first of path-2, path-3, ... that does not exist yet."""
    number, found = 2, path
    while found.exists():
        found, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return found
