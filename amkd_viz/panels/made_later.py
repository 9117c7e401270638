"""The controls of a panel by name; many are made when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["Controls", "MadeLater"]


class MadeLater(dict[str, Any]):
    """Name -> control. Some are made when one of them is first asked for: a page takes milliseconds for each control.

    Args:
        names: of these controls.
        make: returns the controls to add, by name, when the one of this name is asked for.
        above: name -> widget, above all of them.

    Attributes:
        names: of all controls that are made later, whether they are made or not.
        joined: called with the controls that are added.
    """

    def __init__(
        self, names: Iterable[str], make: Callable[[str], dict[str, Any]], above: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(above or {})
        self.names, self._make, self._making = list(names), make, threading.RLock()
        self.joined: Callable[[Mapping[str, Any]], object] = lambda made: None

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.names

    def __missing__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        with self._making:
            if not self.made(name):
                made = self._make(name)
                self.joined(made)
                self.update(made)
        return self[name]

    def made(self, name: str) -> bool:
        """Return whether there is a control of this name already."""
        return super().__contains__(name)

    def unfold(self) -> None:
        """Make what a fold shows when it opens: by default the first one, with all that are made with it."""
        if self.names:
            self[self.names[0]]


class Controls(dict[str, Any]):
    """Name -> control of a panel; those that are made later join when they are first asked for.

    Attributes:
        more: groups of controls that are made later.
    """

    def __init__(self) -> None:
        super().__init__()
        self.more: list[MadeLater] = []

    @property
    def names(self) -> list[str]:
        """Return the names of all controls, made or not."""
        return list(dict.fromkeys([*self, *(name for own in self.more for name in own.names)]))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or any(name in own for own in self.more)

    def __missing__(self, name: str) -> Any:
        for own in self.more:
            if name in own:
                return own[name]  # which adds it here, too
        raise KeyError(name)

    def made(self, name: str) -> bool:
        """Return whether there is a control of this name already."""
        return super().__contains__(name)
