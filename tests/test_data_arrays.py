"""Arrays of one .npz file: every form that is read, and a sentence for every other one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.data import load, short_name
from amkd_viz.data.arrays import load_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 9, 10, 3), dtype=np.uint8)
Y = np.arange(40) % 2


@pytest.mark.parametrize(
    "x",
    [IMAGES, IMAGES.transpose(0, 3, 1, 2), IMAGES / 255, IMAGES.astype(np.float32) / 255],
    ids=["NHWC", "NCHW", "float64", "float32"],
)
def test_images_of_any_form(tmp_path: Path, x: Any) -> None:
    np.savez(tmp_path / "a.npz", x=x, y=Y)
    dataset = load(f"npz:{tmp_path / 'a.npz'}")
    assert dataset.shape == (3, 9, 10)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (28, 4, 8)
    wanted = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())
    for part in (dataset.train, dataset.test):
        assert torch.equal(part.x, wanted[part.index])
        assert torch.equal(part.y, torch.from_numpy(Y)[part.index])
    assert load(f"npz:{tmp_path / 'a.npz'}") is dataset


def test_grey_images_points_a_given_test_split_and_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", x_train=IMAGES[..., 0], y_train=Y[:, None], x_test=IMAGES[:6, ..., 0], y_test=Y[:6])
    dataset = load_npz(tmp_path / "k.npz")
    assert dataset.shape == (1, 9, 10)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (36, 4, 6)
    np.savez(tmp_path / "p.npz", x=np.random.default_rng(1).normal(size=(40, 2)), y=Y, classes=["low", "high"])
    points = load(f"npz:{tmp_path / 'p.npz'}")
    assert (points.kind, points.classes) == ("points", ("low", "high"))
    assert short_name(points.name) == "p"


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("X_{}", "Y_{}")])
def test_given_parts_are_used_under_the_usual_names(tmp_path: Path, names: tuple[str, str]) -> None:
    at = {"train": slice(0, 24), "val": slice(24, 30), "test": slice(30, 40)}
    arrays = {
        name.format(part): array[rows]
        for part, rows in at.items()
        for name, array in zip(names, (IMAGES, Y), strict=True)
    }
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = load(f"npz:{tmp_path / 'a.npz'}")
    wanted = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())
    for part, rows in at.items():
        assert torch.equal(getattr(dataset, part).x, wanted[rows])
    assert dataset.notes == ()
    np.savez(tmp_path / "v.npz", **{k: v for k, v in arrays.items() if "test" not in k}, ids=Y)
    dataset = load(f"npz:{tmp_path / 'v.npz'}")  # a validation part alone is the test split, as in a folder
    assert torch.equal(dataset.test.x, wanted[24:30])
    assert len(dataset.train) + len(dataset.val) == 24
    assert dataset.notes == ("Left out of v.npz: ids.",)


def test_samples_that_are_alike_are_told(tmp_path: Path) -> None:
    twice = IMAGES.copy()
    twice[30:33] = twice[0]
    parts = {"x_train": twice[:24], "y_train": Y[:24], "x_val": twice[24:30], "y_val": Y[24:30]}
    np.savez(tmp_path / "a.npz", **parts, x_test=twice[30:], y_test=Y[30:])
    assert load(f"npz:{tmp_path / 'a.npz'}").notes == (
        "3 of 10 test images are also in the training or validation split.",
    )
    np.savez(tmp_path / "b.npz", x=IMAGES * 0, y=Y)
    assert load(f"npz:{tmp_path / 'b.npz'}").notes[0].startswith("All images are alike as they are read")
    points = np.random.default_rng(1).normal(size=(20, 2))
    np.savez(tmp_path / "c.npz", x=np.concatenate([points, points]), y=np.repeat([0, 1], 20), classes=["low", "high"])
    assert load(f"npz:{tmp_path / 'c.npz'}").notes[-1] == "The classes 'low' and 'high' hold the same points."


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": Y}, "must hold the arrays x and y .* got a"),
        ({"x": IMAGES, "y": Y[:9]}, "must have one label for each sample, got 40 and 9 labels"),
        ({"x": IMAGES, "y": Y, "x_train": IMAGES, "y_train": Y}, "the train split once, got x and y and x_train"),
        ({"x": IMAGES, "y": Y, "x_test": IMAGES[:, :5], "y_test": Y}, "must have samples of one shape"),
        ({"x": IMAGES, "y": np.eye(2, dtype=int)[Y]}, r"y.argmax\(1\) gives the class of one-hot rows"),
        ({"x": IMAGES, "y": Y.astype(str)}, "numpy.unique"),
        ({"x": IMAGES, "y": Y / 2}, "y of .* must hold one class from 0 for each sample, got float64 .* whole"),
        ({"x": IMAGES, "y": Y - 1}, "must hold one class from 0"),
        ({"x": IMAGES, "y": Y * 0}, "must hold at least 2 classes"),
        ({"x": IMAGES, "y": Y, "classes": ["one"]}, "and a name for each, got 2 and 1 names"),
        ({"x": IMAGES * 2.0, "y": Y}, r"must be uint8, or floats in \[0, 1\], got float64 from 0 to 510; scale x"),
        ({"x": IMAGES / 127.5 - 1, "y": Y}, r"got float64 from -1 to 1; give \(x \+ 1\) / 2"),
        ({"x": IMAGES.astype(np.int64), "y": Y}, r"got int64 from 0 to 255; give x.astype\('uint8'\)"),
        ({"x": IMAGES[:, 0, 0], "y": Y}, r"must hold images with 1 or 3 channels, or points .* got \(40, 3\)"),
        ({"x": np.full((40, 2), np.nan), "y": Y}, "must be finite"),
        ({"x": np.array([object()] * 40), "y": Y}, "is not a file of numpy.savez without pickles"),
    ],
)
def test_other_arrays_are_refused_in_a_sentence(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=sentence) as caught:
        load(f"npz:{tmp_path / 'a.npz'}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File not found"):
        load(f"npz:{tmp_path / 'none.npz'}")
    (tmp_path / "a.npz").write_bytes(b"PK and nothing more")
    with pytest.raises(InputError, match="is not a file of numpy"):
        load(f"npz:{tmp_path / 'a.npz'}")
