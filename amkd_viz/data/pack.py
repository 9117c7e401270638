"""Images on disk as shards of raw bytes: a data set that is larger than memory.

A pack is a folder:

pack.json        what it holds, and whether it is complete; written first and last
train-00000.u8   uint8 (N, C, H, W); train-00000.json its checksum, and sums that give mean and standard deviation
train.npy        labels, int64; val and test in the same way
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import claim, readable, write_atomic
from amkd_viz.core.parse import read
from amkd_viz.data.dataset import Dataset, Split
from amkd_viz.data.decode import decode
from amkd_viz.data.listing import Files, Listing
from amkd_viz.data.shared import stamp

__all__ = ["Part", "Rows", "check_pack", "load_pack", "pack", "parts_of", "write_pack"]

FORMAT = 1
SHARD_MB = 64
BLOCK = 4096  # rows whose statistics are computed at once
COUNT = range(2**40)
HEADER = {
    "complete": bool,
    "classes": [str],
    "shape": [range(1, 2**16)],
    "rows": range(1, 2**31),
    "parts": {str: COUNT},
    "source": str,
    "notes": [str],
}
SHARD = {"sha256": str, "source": str}


@dataclass(frozen=True)
class Part:
    """A split that is written to a pack.

    Attributes:
        y: (N,) labels. read: returns the images of rows start to stop, uint8 (stop - start, C, H, W). known_by: tells
            these images from others without reading them.
    """

    y: Tensor
    read: Callable[[int, int], Tensor]
    known_by: Callable[[int, int], str] = lambda start, stop: ""


def pack(listing: Listing, out: str | Path, shard_mb: float = SHARD_MB) -> Iterator[tuple[int, int]]:
    """Decode the images of a listing into a pack, see ``write_pack``."""
    size = listing.train.size
    return write_pack(out, listing.classes, (3, size, size), parts_of(listing), listing.notes, shard_mb)


def parts_of(listing: Listing) -> dict[str, Part]:
    """Return what ``pack`` writes, by name."""

    def part(files: Files) -> Part:
        return Part(
            files.y,
            lambda start, stop: decode(files.paths[start:stop], files.size, files.background),
            lambda start, stop: f"{stamp(files.paths[start:stop])} {files.size} {files.background}",
        )

    named = {"train": listing.train, "val": listing.val, "test": listing.test}
    return {name: part(files) for name, files in named.items() if files is not None}


def write_pack(
    out: str | Path,
    classes: tuple[str, ...],
    shape: tuple[int, ...],
    parts: Mapping[str, Part],
    notes: tuple[str, ...] = (),
    shard_mb: float = SHARD_MB,
) -> Iterator[tuple[int, int]]:
    """Write a pack shard by shard, and yield (rows written, rows in all) after each.

    Each shard is written whole or not at all, so the same call goes on with a pack that was stopped.

    Args:
        out: a new folder, or that of the same pack.
        shape: (C, H, W). parts: "train", and "val" and "test" where they are given.
        shard_mb: size of a shard; as much memory is needed twice.

    Raises:
        InputError: the folder holds something else, an image cannot be read, or the disk is full.
    """
    out, row = Path(out), int(np.prod(shape))
    rows = max(1, int(shard_mb * 2**20) // row)
    labels = {name: hashlib.sha256(part.y.numpy().tobytes()).hexdigest() for name, part in parts.items()}
    header = {
        "format": FORMAT,
        "complete": False,
        "classes": list(classes),
        "shape": list(shape),
        "rows": rows,
        "parts": {name: len(part.y) for name, part in parts.items()},
        "source": hashlib.sha256(repr((classes, shape, rows, labels)).encode()).hexdigest(),
        "notes": list(notes),
    }
    if (out / "pack.json").exists():
        before = _header(out)
        if before["source"] != header["source"]:
            raise InputError(f"{out} holds a pack of other images and is never overwritten; choose another name.")
    else:
        claim(out)
        write_atomic(out / "pack.json", json.dumps(header) + "\n", new=True)
    done, total = 0, sum(len(part.y) for part in parts.values())
    for name, part in parts.items():
        for number, start in enumerate(range(0, len(part.y), rows)):
            stop = min(start + rows, len(part.y))
            source, file = part.known_by(start, stop), _shard(out, name, number)
            if not _written(file, source, (stop - start) * row):
                x = part.read(start, stop).contiguous()
                content = x.numpy().data
                write_atomic(file, cast(bytes, content), flush=False)
                facts = {"sha256": hashlib.sha256(content).hexdigest(), "source": source}
                np.save(stored := BytesIO(), _sums(x).numpy())
                write_atomic(file.with_suffix(".npy"), stored.getvalue(), flush=False)
                write_atomic(file.with_suffix(".json"), json.dumps(facts) + "\n")
            done += stop - start
            yield done, total
        np.save(stored := BytesIO(), part.y.numpy())
        write_atomic(out / f"{name}.npy", stored.getvalue())
    write_atomic(out / "pack.json", json.dumps({**header, "complete": True}) + "\n")


def _written(file: Path, source: str, size: int) -> bool:
    facts = file.with_suffix(".json")
    with readable(file):
        if not (facts.exists() and file.exists() and file.stat().st_size == size):
            return False
    return bool(read(facts, "shard", SHARD)["source"] == source)


def _sums(x: Tensor) -> Tensor:
    """Return the sums of values and of squares per image and channel, int64 (N, C, 2)."""
    parts = [block.flatten(2).long() for block in x.split(max(1, BLOCK * 64 // x[0, 0].numel()))]
    return torch.cat([torch.stack([part.sum(2), part.square().sum(2)], 2) for part in parts])


def _header(folder: Path) -> dict[str, Any]:
    missing = "give pack:PATH of a folder that 'amkd-viz pack' wrote"
    found: dict[str, Any] = read(folder / "pack.json", "pack", HEADER, format=FORMAT, missing=missing)
    return found


def _shard(folder: Path, part: str, number: int) -> Path:
    return folder / f"{part}-{number:05d}.u8"


class Rows:
    """Images on disk that stand for a tensor (N, C, H, W): each index reads what it asks for, and keeps nothing.

    Reading takes no memory map, whose pages would count as memory of this process.
    """

    dtype, ndim = torch.uint8, 4

    def __init__(
        self, files: list[Path], rows: int, shape: tuple[int, ...], at: Tensor, sums: Tensor, device: Any
    ) -> None:
        self._files, self._rows, self._shape, self._at, self._sums = files, rows, shape, at, sums
        self.device = torch.empty(0, device=device).device

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self._at), *self._shape])

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, index: Any) -> Tensor:
        at = self._at[index.cpu() if isinstance(index, Tensor) else index]
        if at.ndim == 0:
            return self[at[None]][0]
        found = torch.empty(len(at), *self._shape, dtype=torch.uint8)
        pixels, size = found.numpy().reshape(len(at), -1), int(np.prod(self._shape))
        order = at.argsort().tolist()
        for shard, group in itertools.groupby(order, lambda place: int(at[place]) // self._rows):
            with readable(self._files[shard]), self._files[shard].open("rb", buffering=0) as file:
                for place in group:
                    file.seek(int(at[place]) % self._rows * size)
                    if file.readinto(pixels[place].data) != size:
                        raise InputError(f"{self._files[shard]} is damaged: it ends too early; write the pack again.")
        return found.to(self.device)

    def rows(self, positions: Tensor) -> Rows:
        """Return some of the images, still on disk."""
        at = positions.cpu()
        return Rows(self._files, self._rows, self._shape, self._at[at], self._sums, self.device)

    def to(self, device: torch.device | str) -> Rows:
        """Return the same images, which an index then reads to ``device``."""
        return Rows(self._files, self._rows, self._shape, self._at, self._sums, device)

    def is_floating_point(self) -> bool:
        return False

    def float(self) -> Tensor:
        """Read all images."""
        return self[:].float()

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation per channel, of values in [0, 1], without reading an image."""
        total = self._sums[self._at].sum(0).double() / (len(self._at) * self._shape[1] * self._shape[2])
        mean = total[:, 0] / 255
        return mean, (total[:, 1] / 255**2 - mean.square()).clamp_min(0).sqrt()


@dataclass(frozen=True, eq=False)
class _Unread:
    """A split of a pack, for ``Dataset.assemble``."""

    x: Rows
    y: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def take(self, positions: Tensor) -> _Unread:
        return _Unread(self.x.rows(positions), self.y[positions], self.index[positions])

    def read(self) -> Split:
        return Split(cast(Tensor, self.x), self.y, self.index)


def load_pack(path: str | Path, seed: int = 0) -> Dataset:
    """Return the data set of a pack, whose images stay on disk: splits and order are those of what was packed.

    Raises:
        InputError: it is missing, damaged or not complete.
    """
    folder = Path(os.path.expanduser(path))
    header = _header(folder)
    if not header["complete"]:
        raise InputError(f"{folder} is not complete; the command that began it goes on with it.")
    parts = {name: _part(folder, name, count, header) for name, count in header["parts"].items()}
    made = Dataset.assemble(
        f"pack:{path}", tuple(header["classes"]), parts["train"], parts.get("test"), seed=seed, val=parts.get("val")
    )
    return dataclasses.replace(made, notes=tuple(header["notes"]))


def _part(folder: Path, name: str, count: int, header: dict[str, Any]) -> _Unread:
    rows, shape = header["rows"], tuple(header["shape"])
    files = [_shard(folder, name, number) for number in range(-(-count // rows))]
    sums = []
    for number, file in enumerate(files):
        own = min(rows, count - number * rows)
        with readable(file):
            if not file.exists() or file.stat().st_size != own * int(np.prod(shape)):
                raise InputError(f"{file} is missing or has another size; write the pack again.")
        sums.append(_array(file.with_suffix(".npy"), (own, shape[0], 2)))
    y = _array(folder / f"{name}.npy", (count,))
    if not (int(y.min()) >= 0 and int(y.max()) < len(header["classes"])):
        raise InputError(f"{folder / name}.npy is damaged: it has a label without a class; write the pack again.")
    at = torch.arange(count)
    return _Unread(Rows(files, rows, shape, at, torch.cat(sums), "cpu"), y, at)


def _array(file: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} cannot be read ({error}); write the pack again.") from error
    if (found.dtype, found.shape) != (np.dtype("int64"), shape):
        raise InputError(f"{file} is damaged: it holds {found.dtype} of shape {found.shape}; write the pack again.")
    return torch.from_numpy(found)


def check_pack(path: str | Path) -> int:
    """Compare each shard with its checksum; return the number of shards.

    Raises:
        InputError: a shard is damaged; names it.
    """
    folder, count = Path(os.path.expanduser(path)), 0
    header = _header(folder)
    for name, total in header["parts"].items():
        for number in range(-(-total // header["rows"])):
            file = _shard(folder, name, number)
            with readable(file):
                content = file.read_bytes()
            if hashlib.sha256(content).hexdigest() != read(file.with_suffix(".json"), "shard", SHARD)["sha256"]:
                raise InputError(f"{file} is damaged: its checksum differs; delete it and write the pack again.")
            count += 1
    return count
