"""Random numbers without state: every seed is made from names and positions, so that a run resumes exactly."""

from __future__ import annotations

import hashlib
import json
import operator
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

__all__ = ["defaults_seeded", "generator", "mix"]

_one_by_one = threading.RLock()


def mix(*parts: int | str) -> int:
    """Return a 63-bit seed made from ``parts``: the same in every process, machine and Python version.

    Nearby parts give unrelated seeds, and ``1`` and ``"1"`` differ.

    >>> mix(0, "order", 3) == mix(0, "order", 3)
    True
    >>> mix(0, "order", 3) == mix(0, "order", 4)
    False
    """
    plain = [part if isinstance(part, str) else operator.index(part) for part in parts]
    digest = hashlib.blake2b(json.dumps(plain).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(device: torch.device | str, *parts: int | str) -> torch.Generator:
    """Return a fresh generator on ``device``, seeded by ``mix(*parts)``."""
    return torch.Generator(device).manual_seed(mix(*parts))


@contextmanager
def defaults_seeded(seed: int, generators: Sequence[torch.Generator] = (torch.default_generator,)) -> Iterator[None]:
    """Seed PyTorch's default generators, from which layers draw, in this context; restore them afterwards.

    They belong to the whole process, so one thread at a time is within.
    """
    with _one_by_one:
        kept = [own.get_state() for own in generators]
        try:
            for own in generators:
                own.manual_seed(seed)
            yield
        finally:
            for own, state in zip(generators, kept, strict=True):
                own.set_state(state)
