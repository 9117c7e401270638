"""What a panel shows, in one small file: the folder of its run or race, and the state of the panel."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import claim, readable, write_atomic
from amkd_viz.core.parse import checked, read
from amkd_viz.runs import Race, Run

__all__ = ["Session", "opened"]

FORMAT = 2
SESSION = {"panel": str, "folder": str, "recipe": str, "state": object}
Shown = TypeVar("Shown", Run, Race)


@dataclass(frozen=True)
class Session:
    """Opened by the panel that wrote it, a session shows the same again.

    Attributes:
        panel: name of the panel.
        folder: of the run or race that it showed.
        recipe: hash of its recipe: another run in that folder is refused.
        state: what the panel needs to show the same: a JSON object.

    Raises:
        InputError: the state is not a JSON object.
    """

    panel: str
    folder: Path
    recipe: str
    state: Mapping[str, Any]

    def __post_init__(self) -> None:
        try:
            if not isinstance(self.state, Mapping):
                raise TypeError("not a mapping")
            json.dumps(dict(self.state), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"The state of a session must be a JSON object, got {self.state!r}: {error}.") from error

    @classmethod
    def of(cls, panel: object, shown: Run | Race, **state: Any) -> Session:
        """Return the session of a panel that shows a run or a race."""
        return cls(type(panel).__name__, shown.path, shown.recipe.hash, state)

    @classmethod
    def open(cls, path: str | Path) -> Session:
        """Read a session file; its folder is relative to the file.

        Raises:
            InputError: no session there, damaged, or of another format.
        """
        path = Path(path)
        missing = "give the path of a file that a panel saved"
        content = read(path, "session", SESSION, format=FORMAT, missing=missing)
        with readable(path):
            folder = (path.parent / content["folder"]).resolve()
        return cls(content["panel"], folder, content["recipe"], content["state"])

    @classmethod
    def files(cls, folder: str | Path, panel: object) -> list[Path]:
        """Return the sessions of a kind of panel in a folder, by name; other files are left out."""
        paths = []
        for path in sorted(Path(folder).glob("*.json")):
            with suppress(InputError):
                if cls.open(path).panel == type(panel).__name__:
                    paths.append(path)
        return paths

    def save(self, path: str | Path) -> Path:
        """Write the session, whole or not at all; an earlier session there is replaced, another file is not.

        The folder is named relative to the file: a directory that holds both can be copied.

        Raises:
            InputError: another file is there, or the disk is full.
        """
        path = Path(path)
        folder, here = self.folder.resolve(), path.parent.resolve()
        content = {
            "format": FORMAT,
            "panel": self.panel,
            "folder": Path(os.path.relpath(folder, here)).as_posix() if folder.anchor == here.anchor else str(folder),
            "recipe": self.recipe,
            "state": dict(self.state),
        }
        return write_atomic(claim(path, replace=Session.open), json.dumps(content, indent=2) + "\n")

    def open_run(self, panel: object) -> Run:
        """Return the run, for ``panel`` to show.

        Raises:
            InputError: another kind of panel wrote the session, the run does not exist, or it has another recipe.
        """
        return self._open_shown(panel, Run)

    def open_race(self, panel: object) -> Race:
        """Return the race, for ``panel`` to show; raises as ``open_run``."""
        return self._open_shown(panel, Race)

    def _open_shown(self, panel: object, kind: type[Shown]) -> Shown:
        if self.panel != type(panel).__name__:
            raise InputError(f"This session was saved by {self.panel} and opens there, not in {type(panel).__name__}.")
        try:
            checked(dict(self.state), getattr(panel, "kept", {}), "the state")
        except ValueError as error:
            raise InputError(f"This session is not a valid one of {self.panel}: {error}.") from error
        shown = kind.open(self.folder)
        if shown.recipe.hash != self.recipe:
            hashes = f"{shown.recipe.hash}, not {self.recipe}"
            raise InputError(f"The run in {self.folder} has another recipe than this session ({hashes}).")
        return shown


def opened(what: Any, panel: object, *kinds: type) -> Any:
    """Return the session, run or race at a path, or what is given as it is: a text may be another name.

    Args:
        panel: which is to show it. kinds: of objects that it takes beside sessions and texts.

    Raises:
        InputError: nothing that the panel takes is there, or another object is given.
    """
    found = what
    if isinstance(what, str | Path):
        path = Path(what)
        if path.suffix == ".json":
            found = Session.open(path)
        elif (path / "race.json").is_file():
            found = Race.open(path)
        elif isinstance(what, Path) or (path / "config.json").is_file():
            found = Run.open(path)
    if not isinstance(found, (str, Session, *kinds)):
        names = [kind.__name__ for kind in kinds if kind is not type(None)]
        takes = f"a {' or '.join(name.lower() for name in names)}, the path of one or of a session, or a name"
        raise InputError(f"{type(panel).__name__} takes {takes}; got {what!r}.")
    return found
