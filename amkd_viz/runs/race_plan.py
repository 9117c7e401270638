"""All that a race follows from, in one small file: opened elsewhere it goes as it went, by-hand changes included."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import claim, parsed, write_atomic
from amkd_viz.runs.grid import entrants
from amkd_viz.training.events import Changed
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import changed

__all__ = ["RacePlan"]

FORMAT = 1


@dataclass(frozen=True)
class RacePlan:
    """What :class:`Race` takes.

    Attributes:
        recipe, methods, overrides: as of ``Race``.
        planned: what was changed while the race was on, and where.

    Raises:
        InputError: see ``Race``.
    """

    recipe: Recipe
    methods: Sequence[str]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    planned: Sequence[Changed] = ()

    def __post_init__(self) -> None:
        for name in ("methods", "planned"):  # lists, where they come from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        entrants(self.recipe, self.methods, self.overrides)
        for change in self.planned:
            changed(self.recipe, {key: value for key, value in change.changes.items() if "." not in key})
            # a term that only some methods have is checked with theirs
            entrants(self.recipe, self.methods, {key: v for key, v in change.changes.items() if "." in key})

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: no race there, damaged, or of another format.
        """
        path = Path(path)
        with parsed(path, "race", "give the path of a file that MethodRace saved"):
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["race"] != FORMAT:
                raise InputError(f"{path} has race format {found['race']}, but this version reads {FORMAT}.")
            planned = [Changed(**change) for change in found["planned"]]
            return cls(Recipe.from_json(found["recipe"]), found["methods"], found["changes"], planned)

    def save(self, path: str | Path) -> Path:
        """Write it, whole or not at all; an earlier race there is replaced, nothing else is.

        Raises:
            InputError: another file is there, or the disk is full.
        """
        content = {
            "race": FORMAT,
            "recipe": self.recipe.to_json(),
            "methods": list(self.methods),
            "changes": dict(self.overrides),
            "planned": [asdict(change) for change in self.planned],
        }
        return write_atomic(claim(Path(path), self.open), json.dumps(content, indent=2) + "\n")
