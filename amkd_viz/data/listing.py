"""Image files that become a data set: listed at once, decoded once while it is in use."""

from __future__ import annotations

import dataclasses
import hashlib
import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import write_atomic
from amkd_viz.core.memory import check_memory
from amkd_viz.data.alike import alike
from amkd_viz.data.dataset import Dataset, Split
from amkd_viz.data.decode import WHITE, Packed, short_side
from amkd_viz.data.decoded import decoded
from amkd_viz.data.shared import in_use, stamp
from amkd_viz.data.where import cache_folder

__all__ = ["Files", "Listing"]

SIZES = range(8, 1025)  # pixels
LARGEST_DEFAULT = 64  # pixels
SAMPLED = 200  # images whose size is read for the default


@dataclass(frozen=True, eq=False)
class Files:
    """A split that is still on disk: it is divided before its pixels take memory.

    Attributes:
        paths: N image files. y, index: as in :class:`Split`. size: height and width of the decoded images.
        background: grey level behind transparent pixels.
    """

    paths: Sequence[Path | Packed]
    y: Tensor
    index: Tensor
    size: int
    background: int = WHITE

    @classmethod
    def labelled(
        cls, paths: Sequence[Path | Packed], y: Tensor, size: int | None = None, background: int = WHITE
    ) -> Files:
        """Return all files of a published split.

        Args:
            size: by default the smaller of 64 and the median short side of a sample of the images, in pixels.

        Raises:
            InputError: a number is out of range, or the size of an image cannot be read.
        """
        if size is not None and size not in SIZES:
            raise InputError(f"size must be a whole number of 8 to 1024 pixels, got {size}.")
        if background not in range(WHITE + 1):
            raise InputError(f"background must be a grey level, a whole number from 0 to {WHITE}, got {background}.")
        if size is None:
            sampled = paths[:: -(-len(paths) // SAMPLED)]
            size = max(SIZES[0], min(LARGEST_DEFAULT, statistics.median_low([short_side(path) for path in sampled])))
        return cls(paths, y, torch.arange(len(y)), size, background)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, positions: Tensor) -> Files:
        """Return the files at ``positions`` (int64)."""
        paths = [self.paths[i] for i in positions.tolist()]
        return dataclasses.replace(self, paths=paths, y=self.y[positions], index=self.index[positions])

    def read(self) -> Split:
        """Decode the images; raises as :func:`decode`."""
        return Split(decoded(self.paths, self.size, self.background), self.y, self.index)


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of a data set, and what :meth:`Dataset.assemble` takes beside them.

    Attributes:
        notes: what a person should know about the files.
    """

    name: str
    classes: tuple[str, ...]
    train: Files
    test: Files | None = None
    val: Files | None = None
    notes: tuple[str, ...] = ()

    def load(self, seed: int) -> Dataset:
        """Decode the files, or return the data set that was made of the same files and is still in use."""
        key = self._key(seed)
        dataset: Dataset = in_use.get(key, lambda: self._decoded(seed))
        self._memo(key, dataset.fingerprint)
        return dataset if dataset.name == self.name else dataclasses.replace(dataset, name=self.name)

    def fingerprint(self, seed: int) -> str:
        """Return ``Dataset.fingerprint`` of what :meth:`load` gives, without decoding where it was loaded before.

        It is kept in the cache folder, over processes, under the files' names, labels, sizes and times of change:
        a file that was touched is decoded again, and one whose bytes changed while all of these stayed goes unnoticed.
        """
        return self._memo(self._key(seed)) or self.load(seed).fingerprint

    @property
    def _parts(self) -> list[Files]:
        return [part for part in (self.train, self.test, self.val) if part is not None]

    def _decoded(self, seed: int) -> Dataset:
        count, size = sum(map(len, self._parts)), self.train.size
        check_memory(3 * count * size**2, f"{count:,} images of {size} x {size}", "choose a smaller size")
        dataset = Dataset.assemble(self.name, self.classes, self.train, self.test, seed=seed, val=self.val)
        return dataclasses.replace(dataset, notes=(*self.notes, *alike(dataset)))

    def _key(self, seed: int) -> str:
        facts = [
            (stamp(part.paths), hashlib.sha256(part.y.numpy().tobytes()).hexdigest(), part.size, *ground(part))
            for part in self._parts
        ]
        return hashlib.sha256(repr((self.classes, seed, facts)).encode()).hexdigest()[:32]

    @staticmethod
    def _memo(key: str, fingerprint: str = "") -> str:
        """Return the fingerprint kept under ``key``, or an empty string; keep ``fingerprint`` if it is given."""
        path = cache_folder() / "fingerprints" / f"{key}.txt"
        with suppress(InputError, OSError, UnicodeDecodeError):
            kept = path.read_text(encoding="ascii").strip() if path.is_file() else ""
            if fingerprint and kept != fingerprint:
                kept = write_atomic(path, fingerprint + "\n").read_text().strip()
            return kept if len(kept) == 10 and set(kept) <= set("0123456789abcdef") else ""
        return ""


def ground(part: Files) -> tuple[int, ...]:
    """Return the background where it is not white: what was kept before there were others keeps its key."""
    return () if part.background == WHITE else (part.background,)
