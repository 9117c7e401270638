"""CIFAR-10 in two files of 53 MB each, for a machine that takes no more at once and has torch and numpy alone.

    python -m benchmarks.packed --root DATA --out FOLDER

Lossless: green stays, red and blue are taken relative to it, each row relative to the row above, then bzip2. The first
file holds the whole test set and the first 20,000 training images, and can be used alone; the second the other 30,000.
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, load

__all__ = ["PARTS", "pack", "unpack"]

PARTS = ("packed1.npz", "packed2.npz")
FIRST = 20_000

Bytes = NDArray[np.uint8]


def pack(data: Dataset, folder: Path, first: int = FIRST) -> list[Path]:
    """Write an image data set with three channels as two files; return their paths.

    Args:
        first: number of training images (validation included, in the published order) in the first file.
    """
    order = torch.cat([data.train.index, data.val.index]).argsort()
    x, y = (torch.cat([getattr(data.train, name), getattr(data.val, name)])[order].numpy() for name in "xy")
    test, classes = (data.test.x.numpy(), data.test.y.numpy()), np.array(data.classes)
    folder.mkdir(parents=True, exist_ok=True)
    one, two = (folder / name for name in PARTS)
    _write(one, x=x[:first], y=y[:first], x_test=test[0], y_test=test[1], classes=classes)
    _write(two, x=x[first:], y=y[first:])
    return [one, two]


def unpack(folder: Path, out: Path) -> Path:
    """Read the files that are there, the first or both, and write a file for ``npz:PATH``; return its path.

    Raises:
        InputError: the first file is missing, or one is not what was packed.
    """
    if not (folder / PARTS[0]).is_file():
        raise InputError(f"{folder / PARTS[0]} was not found; pack the data by python -m benchmarks.packed.")
    parts = [_read(folder / name) for name in PARTS if (folder / name).is_file()]
    x, y = (np.concatenate([part[name] for part in parts]) for name in "xy")
    path = out / f"packed_{len(x)}.npz"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{**parts[0], "x": x, "y": y})
    return path


def _write(path: Path, **arrays: NDArray) -> None:
    """Write arrays without pickles, images (N, 3, H, W) as three squeezed planes, and the SHA-256 of all."""
    squeezed = {"sum": np.array(_sum(arrays))}
    for name, array in arrays.items():
        if array.ndim == 4:
            planes = [np.frombuffer(bz2.compress(plane.tobytes()), np.uint8) for plane in _apart(array)]
            squeezed |= {f"{name}.{number}": plane for number, plane in enumerate(planes)}
            squeezed[f"{name}.shape"] = np.array(array.shape)
        else:
            squeezed[name] = array
    np.savez(path, **squeezed)


def _read(path: Path) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            squeezed = {name: file[name] for name in file.files}
        with ThreadPoolExecutor() as pool:
            planes = {n: pool.submit(bz2.decompress, a.tobytes()) for n, a in squeezed.items() if n[-1].isdigit()}
        arrays = {name: array for name, array in squeezed.items() if name != "sum" and "." not in name}
        for name in [name.removesuffix(".shape") for name in squeezed if name.endswith(".shape")]:
            n, channels, height, width = squeezed[f"{name}.shape"].tolist()
            raw = b"".join(planes[f"{name}.{number}"].result() for number in range(channels))
            arrays[name] = _together(np.frombuffer(raw, np.uint8).reshape(channels, n, height, width))
        wanted = str(squeezed["sum"])
    except Exception as error:  # whatever a damaged file makes zipfile, bz2 or NumPy raise
        raise InputError(f"{path} is damaged ({error}); bring it again.") from error
    if _sum(arrays) != wanted:
        raise InputError(f"{path} is damaged (the SHA-256 of its content is not {wanted[:12]}...); bring it again.")
    return arrays


def _apart(x: Bytes) -> Bytes:
    """Return small differences (3, N, H, W), modulo 256, of images (N, 3, H, W)."""
    red, green, blue = x.swapaxes(0, 1)
    return np.diff(np.stack([red - green, green, blue - green]), axis=2, prepend=np.uint8(0))


def _together(differences: Bytes) -> Bytes:
    red, green, blue = differences.cumsum(axis=2, dtype=np.uint8)
    return np.stack([red + green, green, blue + green], axis=1)


def _sum(arrays: dict[str, NDArray]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    args = parser.parse_args()
    for path in pack(load("cifar10", root=args.root), args.out):
        with np.load(path) as file:
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB  sha256 of its content {file['sum']}")


if __name__ == "__main__":
    main()
