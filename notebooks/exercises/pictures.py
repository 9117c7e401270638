"""A folder of images to use in place of your own."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import claim
from amkd_viz.data import load

__all__ = ["example_folder"]


def example_folder(path: str | Path, *, classes: tuple[int, ...] = (0, 1, 2), most: int | tuple[int, ...] = 60) -> Path:
    """Write scans of digits as PNG files, one subfolder per class, as ``folder:PATH`` reads them.

    Args:
        path: a new folder, or one that this function wrote earlier, which is left unchanged.
        classes: which digits, at least two.
        most: maximum number of images per class, or of each class, 3 to 150.

    Raises:
        InputError: ``path`` holds other files, or an argument is out of range.
    """
    path = Path(path)
    if len(set(classes)) < 2 or not set(classes) <= set(range(10)):
        raise InputError(f"classes must be two or more of 0 to 9, got {classes}.")
    counts = dict(zip(classes, (most,) * len(classes) if isinstance(most, int) else most, strict=False))
    if len(counts) < len(classes) or not all(3 <= count <= 150 for count in counts.values()):
        raise InputError(f"most must be 3 to 150, or one such number for each class, got {most}.")
    folders = {k: path / f"digit-{k}" for k in classes}
    if path.is_dir() and sorted(path.iterdir()) == sorted(folders.values()):
        return path
    claim(path)
    digits = load("digits")
    for k, folder in folders.items():
        folder.mkdir(parents=True)
        for number in (digits.train.y == k).nonzero().flatten()[: counts[k]].tolist():
            pixels = digits.train.x[number, 0].numpy()
            picture = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
            picture.save(folder / f"{int(digits.train.index[number]):04d}.png")
    return path
