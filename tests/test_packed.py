"""A data set in two files that travel: the same pixels in the same order, from both files or the first alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, Split, load
from benchmarks.generated import patterns
from benchmarks.packed import PARTS, pack, unpack


@pytest.fixture
def whole() -> Dataset:
    return patterns(train=150, test=40)


def same(a: Split, b: Split) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("x", "y", "index"))


def test_both_files_give_the_same_splits(whole: Dataset, tmp_path: Path) -> None:
    files = pack(whole, tmp_path / "packed", first=60)
    raw = whole.train.x.numel() + whole.val.x.numel() + whole.test.x.numel()
    assert sum(path.stat().st_size for path in files) < raw
    made = load(f"npz:{unpack(tmp_path / 'packed', tmp_path / 'out')}")
    assert all(same(getattr(made, part), getattr(whole, part)) for part in ("train", "val", "test"))
    assert (made.classes, made.fingerprint) == (whole.classes, whole.fingerprint)


def test_the_first_file_alone_is_a_subset_with_the_whole_test_set(whole: Dataset, tmp_path: Path) -> None:
    pack(whole, tmp_path, first=60)[1].unlink()
    made = load(f"npz:{unpack(tmp_path, tmp_path)}")
    assert same(made.test, whole.test)
    assert sorted([*made.train.index.tolist(), *made.val.index.tolist()]) == list(range(60))
    order = torch.cat([whole.train.index, whole.val.index]).argsort()
    x = torch.cat([whole.train.x, whole.val.x])[order]
    assert torch.equal(made.train.x, x[made.train.index])


def test_random_pixels_survive(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.integers(0, 256, (50, 3, 5, 7), np.uint8))
    split = Split(x, torch.arange(50) % 2, torch.arange(50))
    pack(Dataset.assemble("noise", ("a", "b"), split, split, seed=0), tmp_path, first=50)
    with np.load(unpack(tmp_path, tmp_path)) as found:
        assert (found["x"] == x.numpy()).all()
        assert (found["x_test"] == x.numpy()).all()


def test_a_missing_or_altered_file_is_named(whole: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"packed1.npz was not found; pack the data"):
        unpack(tmp_path, tmp_path)
    one, two = pack(whole, tmp_path, first=60)
    two.write_bytes(two.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{PARTS[1]} is damaged"):
        unpack(tmp_path, tmp_path)
    two.unlink()
    with np.load(one) as file:
        arrays = {**file}
    arrays["y"] = arrays["y"][::-1]
    np.savez(one, **arrays)
    with pytest.raises(InputError, match=r"packed1.npz is damaged .the SHA-256"):
        unpack(tmp_path, tmp_path)
