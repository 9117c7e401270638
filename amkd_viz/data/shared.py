"""Data sets in use: each request for one returns the same tensors, which are freed after their last user."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from torch import Tensor

__all__ = ["Shared", "in_use", "stamp", "versions"]


class Shared:
    """Data sets by key, held by weak references. Thread-safe: of two requests with one key the second waits."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[weakref.ref[Any], tuple[int, ...]]] = {}
        self._locks: weakref.WeakValueDictionary[Hashable, threading.RLock] = weakref.WeakValueDictionary()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the data set of ``key`` if it is still in use as it was made, else the result of ``make``.

        A data set that was written to in place is not shared any more; writing through NumPy goes unnoticed.
        """
        with self._locks.setdefault(key, threading.RLock()):
            reference, before = self._kept.get(key, (None, ()))
            dataset = reference() if reference is not None else None
            if dataset is None or versions(dataset) != before:
                dataset = make()
                reference = weakref.ref(dataset, lambda gone: self._drop(key, gone))
                self._kept[key] = reference, versions(dataset)
            return dataset

    def _drop(self, key: Hashable, gone: weakref.ref[Any]) -> None:
        if self._kept.get(key, (None, ()))[0] is gone:
            self._kept.pop(key, None)


in_use = Shared()


def versions(dataset: Any) -> tuple[int, ...]:
    """Return how often each tensor of a data set was written to in place."""
    values = [
        getattr(part, name) for part in (dataset.train, dataset.val, dataset.test) for name in ("x", "y", "index")
    ]
    return tuple(t._version for t in values if isinstance(t, Tensor) and not t.is_inference())


def stamp(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return 32 hex digits of the names, sizes and times of change of files; a file that cannot be read has none."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            about = os.stat(path)
            numbers = (about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        except OSError:
            numbers = (-1, -1, -1)
        digest.update(f"{os.path.abspath(path)}\0{numbers}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]
