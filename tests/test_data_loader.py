"""The loader's batches, their repetition and every position in between."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amkd_viz.core.errors import InputError
from amkd_viz.data import Augment, Loader, Split, load

few = settings(max_examples=20)


def split_of(n: int) -> Split:
    x = (torch.arange(n * 12) % 256).byte().reshape(n, 3, 2, 2)
    return Split(x, torch.arange(n) % 3, 100 + torch.arange(n))


def same(a, b) -> bool:
    return len(a) == len(b) and all(
        torch.equal(p, q) for x, y in zip(a, b, strict=True) for p, q in zip(x, y, strict=True)
    )


@few
@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 3))
def test_an_epoch_is_a_permutation_without_its_remainder(n, batch_size, epoch):
    split = split_of(n)
    loader = Loader(split, batch_size, seed=5)
    batches = list(loader.epoch(epoch))
    assert len(batches) == len(loader) == max(1, n // batch_size)
    at = torch.cat([positions for _, _, positions in batches])
    assert len(at.unique()) == len(at) == len(loader) * min(n, batch_size)
    for x, y, positions in batches:
        assert torch.equal(x, split.floats(positions))
        assert torch.equal(y, split.y[positions])


def test_orders_differ_by_epoch_and_seed_but_repeat():
    split = split_of(40)

    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat([at for _, _, at in Loader(split, 10, seed=seed).epoch(epoch)]).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_without_shuffling_the_order_is_the_split():
    at = torch.cat([at for _, _, at in Loader(split_of(9), 3, shuffle=False).epoch(4)])
    assert at.tolist() == list(range(9))


@few
@given(st.integers(0, 5), st.integers(0, 2))
def test_an_epoch_continues_from_any_batch(start, epoch):
    def fresh() -> Loader:
        return Loader(split_of(60), 12, seed=2, augment=Augment(pad=1, flip=True))

    assert same(list(fresh().epoch(epoch, start)), list(fresh().epoch(epoch))[start:])


def test_points_pass_unscaled():
    moons = load("moons", n=40).train
    x, _, at = next(Loader(moons, 8).epoch(0))
    assert torch.equal(x, moons.x[at])


def test_what_is_refused():
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        Loader(split_of(4), 0)
    with pytest.raises(InputError, match="at least one sample"):
        Loader(split_of(0), 4)
