"""Augmentation against a loop over samples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import Augment, Dataset, Split, augment_for, load

few = settings(max_examples=25)


def images(n: int, c: int, h: int, w: int) -> torch.Tensor:
    """Every pixel of an image has its own value, never zero."""
    return torch.arange(1, n * c * h * w + 1, dtype=torch.int32).reshape(n, c, h, w)


def windows(image: torch.Tensor, augment: Augment) -> list[torch.Tensor]:
    """All that augmentation may make of one image (C, H, W)."""
    _, h, w = image.shape
    padded = F.pad(image, [augment.pad] * 4)
    steps = range(2 * augment.pad + 1)
    crops = [padded[:, i : i + h, j : j + w] for i in steps for j in steps]
    return crops + [crop.flip(2) for crop in crops if augment.flip]


@few
@given(st.integers(1, 5), st.integers(1, 3), st.integers(2, 6), st.integers(2, 6), st.integers(0, 3), st.booleans())
def test_each_image_becomes_one_of_its_own_windows(n, c, h, w, pad, flip):
    x, augment = images(n, c, h, w), Augment(pad, flip)
    out = augment(x, generator("cpu", n, c, h, w, pad))
    assert out.shape == x.shape
    for before, after in zip(x, out, strict=True):
        assert any(torch.equal(after, window) for window in windows(before, augment))
        assert torch.isin(after, torch.cat([before.flatten(), torch.zeros(1, dtype=before.dtype)])).all()


def test_equals_the_loop_over_samples():
    x, pad = images(64, 3, 8, 8), 2
    out = Augment(pad)(x, generator("cpu", "loop"))
    random = generator("cpu", "loop")
    dy, dx = torch.randint(2 * pad + 1, (2, 64), generator=random).tolist()
    mirrored = torch.randint(2, (64, 1, 1, 1), generator=random, dtype=torch.bool).flatten().tolist()
    for i in range(64):
        window = F.pad(x[i], [pad] * 4)[:, dy[i] : dy[i] + 8, dx[i] : dx[i] + 8]
        assert torch.equal(out[i], window.flip(2) if mirrored[i] else window)


def test_every_window_comes_up_about_equally_often():
    augment, one = Augment(pad=1), images(1, 1, 3, 3)
    out = augment(one.expand(9000, 1, 3, 3), generator("cpu", "all"))
    counts = torch.stack([(out == window).flatten(1).all(1).sum() for window in windows(one[0], augment)])
    assert counts.sum() == 9000
    assert 400 < counts.min() <= counts.max() < 600


def test_uint8_and_float_agree_and_keep_their_type():
    x = load("digits").train.x[:50]
    bytes_out = Augment(pad=1)(x, generator("cpu", 0))
    floats_out = Augment(pad=1)(x / 255, generator("cpu", 0))
    assert bytes_out.dtype == torch.uint8
    assert torch.equal(bytes_out / 255, floats_out)


def test_jitter_moves_points_by_its_deviation():
    points = torch.zeros(20_000, 2)
    moved = Augment(jitter=0.3)(points, generator("cpu", 0))
    assert moved.std() == pytest.approx(0.3, rel=0.03)
    assert Augment()(points, generator("cpu", 0)) is points


def test_the_default_of_each_data_set():
    digits, moons = load("digits"), load("moons")
    assert augment_for(digits) == Augment(pad=1, flip=False)
    assert augment_for(digits, "crop-flip") == Augment(pad=1, flip=True)
    assert augment_for(digits, "none") == augment_for(moons) == augment_for(moons, "none") == Augment(0, False)


@pytest.mark.parametrize(("size", "pad"), [(32, 4), (64, 8)])
def test_photographs_are_padded_by_an_eighth_and_mirrored(size, pad):
    photos = Split(torch.zeros(8, 3, size, size, dtype=torch.uint8), torch.arange(8) % 2, torch.arange(8))
    dataset = Dataset.assemble("photos", ("a", "b"), photos, photos, seed=0)
    assert augment_for(dataset) == Augment(pad=pad, flip=True)
    assert augment_for(dataset, "crop") == Augment(pad=pad, flip=False)


def test_what_is_refused():
    with pytest.raises(InputError, match="Unknown augmentation 'crop_flip'; did you mean 'crop-flip'"):
        augment_for(load("digits"), "crop_flip")
    with pytest.raises(InputError, match="'crop' needs images but moons has points"):
        augment_for(load("moons"), "crop")
    with pytest.raises(InputError, match="pad must be at least 0 pixels, got -1"):
        Augment(pad=-1)
    with pytest.raises(InputError, match="jitter must be finite and at least 0, got nan"):
        Augment(jitter=float("nan"))
