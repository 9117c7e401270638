"""One kind of registry for everything that has a name: methods, terms, samplers, nets and data sets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar, overload

from amkd_viz.core.errors import InputError, unknown

__all__ = ["Registry"]

V = TypeVar("V")
T = TypeVar("T")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Registry(dict[str, V]):
    """A dict from names to things of one kind; ``registry[name]`` offers the nearest names where there is none.

    Args:
        kind: what a name stands for, for error messages: "method".
        check: called with the name and what is registered; returns what is kept, or raises ``InputError``.
        how: the function that registers, for error messages: "methods.register".

    >>> colours = Registry("colour")
    >>> @colours.register("red")
    ... def red():
    ...     "The first colour of a rainbow."
    >>> colours(), colours.about("red")
    (['red'], 'The first colour of a rainbow.')
    >>> colours["rod"]
    Traceback (most recent call last):
    amkd_viz.core.errors.InputError: Unknown colour 'rod'; did you mean 'red'? Allowed: red.
    """

    def __init__(self, kind: str, check: Callable[[str, Any], V] | None = None, how: str = "") -> None:
        super().__init__()
        self.kind = kind
        self._check = check
        self._how = how
        self._library: set[str] = set()

    def add(self, name: str, thing: V) -> V:
        """Add an entry of the library itself, which ``register`` refuses to replace."""
        self._library.add(name)
        self[name] = thing
        return thing

    @overload
    def register(self, name: str) -> Callable[[T], T]: ...

    @overload
    def register(self, name: str, thing: T) -> T: ...

    def register(self, name: str, thing: Any = None) -> Any:
        """Register ``thing`` under ``name`` for this process; without ``thing``, return a decorator.

        Registering your own name again replaces the entry, so that a notebook cell can run twice.

        Raises:
            InputError: ``name`` is not a letter followed by letters, digits, - and _; the library uses it already; or
                ``thing`` is not of this kind.
        """
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(f"A {self.kind}'s name must be a letter, then letters, digits, - and _, got {name!r}.")
        if name in self._library:
            raise InputError(f"{name!r} is a {self.kind} of amkd_viz; choose another name.")

        def keep(thing: T) -> T:
            self[name] = self._check(name, thing) if self._check else thing  # type: ignore[assignment]
            return thing

        return keep if thing is None else keep(thing)

    @property
    def registered(self) -> set[str]:
        """The names that ``register`` has added to this process."""
        return self.keys() - self._library

    def forget(self, name: str) -> None:
        """Remove an entry that ``register`` added; entries of the library stay."""
        if name not in self._library:
            self.pop(name, None)

    def __missing__(self, name: str) -> V:
        raise self.unknown(name)

    def unknown(self, name: object, what: str = "") -> InputError:
        """Return the error for a name that is not here, nearest names first; ``what`` stands for the kind."""
        error = unknown(what or self.kind, name, self)
        return InputError(f"{error} Add your own by {self._how}({name!r}).") if self._how else error

    def __call__(self) -> list[str]:
        """Return the names, in the order in which they were added."""
        return list(self)

    def about(self, name: str) -> str:
        """Return the first line of the entry's docstring."""
        return (self[name].__doc__ or "").strip().partition("\n")[0]
