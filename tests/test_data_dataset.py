"""Splits, limits, statistics and the data sets that need no file."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator, mix
from amkd_viz.data import Dataset, Split, datasets, load, register
from amkd_viz.data.points import PROBLEMS, extra_points, extra_text
from amkd_viz.data.strata import hold_out, pick, shuffled
from amkd_viz.views.slices import window

DIGITS = load("digits")

few = settings(max_examples=25)
seeds = st.integers(0, 2**31)
label_lists = st.lists(st.integers(2, 40), min_size=2, max_size=6)  # how many samples each class has


def labels(counts: list[int]) -> torch.Tensor:
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return y[shuffled(len(y), "labels")]


def names(counts: list[int]) -> list[str]:
    return [f"class {k}" for k in range(len(counts))]


def in_memory(counts: list[int], seed: int = 0) -> Dataset:
    y = labels(counts)
    x = torch.randint(256, (len(y), 3, 2, 2), generator=generator("cpu", "x"), dtype=torch.uint8)
    whole = Split(x, y, torch.arange(len(y)))
    return Dataset.assemble("toy", tuple(names(counts)), whole, whole, seed=seed)


def same(a: Split, b: Split) -> bool:
    return all(torch.equal(getattr(a, part), getattr(b, part)) for part in ("x", "y", "index"))


# Seeds


def test_seeds_are_pinned_and_distinct():
    assert mix(0, "order", 1) == 116889601432050504  # another process, another machine: the same run
    assert all(0 <= mix(k) < 2**63 for k in range(200))
    assert len({mix(1, 2), mix(2, 1), mix(12), mix("1", 2), mix("1,2"), mix("12")}) == 6
    draws = [torch.rand(3, generator=generator("cpu", 7, name)) for name in ("a", "a", "b")]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


# Stratification


@few
@given(label_lists, st.sampled_from([0.1, 0.2, 0.5]), seeds)
def test_hold_out_partitions_each_class(counts, fraction, seed):
    y = labels(counts)
    kept, held = hold_out(y, fraction, shuffled(len(y), seed), names(counts))
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(len(y)))
    for k, count in enumerate(counts):
        n = int((y[held] == k).sum())
        assert 1 <= n < count
        assert n == 1 or abs(n - fraction * count) <= 0.5
    with pytest.raises(InputError, match="'class 1' must have at least 2 samples"):
        hold_out(labels([5, 1]), 0.1, torch.arange(6), names([5, 1]))


@few
@given(label_lists, seeds, st.data())
def test_pick_is_as_equal_as_possible_and_nested(counts, seed, data):
    y = labels(counts)
    n = data.draw(st.integers(len(counts), len(y)))
    chosen = pick(y, n, seed)
    assert len(chosen.unique()) == n
    got = torch.bincount(y[chosen], minlength=len(counts))
    assert all(int(got[k]) in (counts[k], *range(int(got.max()) - 1, int(got.max()) + 1)) for k in range(len(counts)))
    smaller = pick(y, data.draw(st.integers(1, n)), seed)
    assert torch.isin(smaller, chosen).all()


@few
@given(label_lists, seeds)
def test_validation_and_training_share_nothing_and_miss_nothing(counts, seed):
    dataset = in_memory(counts, seed)
    both = torch.cat([dataset.train.index, dataset.val.index])
    assert torch.equal(both.sort().values, torch.arange(sum(counts)))
    assert torch.equal(dataset.train.x, dataset.test.x[dataset.train.index])  # a sample keeps its identity


@few
@given(seeds, st.integers(10, 1295))
def test_limit_touches_training_only(seed, n):
    whole = DIGITS
    part = whole.limit(n, seed)
    assert len(part.train) == n
    assert torch.isin(part.train.index, whole.train.index).all()
    assert part.val is whole.val
    assert part.test is whole.test
    assert (part.mean, part.std) == (whole.mean, whole.std)
    assert same(part.train, whole.limit(n, seed).train)
    assert n > 1200 or not torch.equal(part.train.index, whole.limit(n, seed + 1).train.index)
    for wrong in (-1, 9, 1296):
        message = rf"training samples of digits must be 10 .* to 1295 \(all\), got {wrong}"
        with pytest.raises(InputError, match=message):
            whole.limit(wrong)


# Statistics and values


def test_statistics_match_the_float_formula():
    dataset = in_memory([30, 40])
    x = dataset.train.floats().double()
    assert dataset.mean == pytest.approx(x.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert dataset.std == pytest.approx(x.std((0, 2, 3), correction=0).tolist(), abs=1e-6)
    pixels = torch.zeros(20, 1, 2, 2, dtype=torch.uint8)
    black = Split(pixels, torch.arange(20) % 2, torch.arange(20))
    assert Dataset.assemble("black", ("a", "b"), black, black, seed=0).std == (1.0,)  # not divided by zero


def test_floats_of_images_and_points():
    digits, moons = DIGITS.test, load("moons").test
    assert digits.floats().dtype == torch.float32
    assert digits.floats().min() == 0
    assert digits.floats().max() == 1
    assert torch.equal(digits.floats([3, 1]), digits.floats()[[3, 1]])
    assert torch.equal(digits.floats(slice(4)), digits.floats(torch.arange(4)))
    assert moons.floats() is moons.x
    moved = load("moons").to("meta")
    assert {moved.train.x.device.type, moved.val.y.device.type, moved.test.index.device.type} == {"meta"}


# The 2-D problems and digits


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_points_are_balanced_finite_and_apart_without_noise(name, classes):
    dataset = load(name, n=1400, noise=0, classes=classes)
    assert (dataset.kind, dataset.shape, dataset.num_classes) == ("points", (2,), classes)
    x, y = dataset.test.x, dataset.test.y
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    counts = torch.bincount(y)
    assert counts.max() - counts.min() <= 1
    distance = torch.cdist(x, x)
    assert distance[y[:, None] != y].min() > 0.09  # the curves of two classes never touch
    assert (len(dataset.train) + len(dataset.val), len(dataset.test)) == (1400, 1400)


def test_extra_points_are_trained_on_in_every_subset_and_move_nothing_else():
    plain, more = load("spirals", n=200), load("spirals:n=200,extra=0.5/-1.25/2+0/9/0")
    assert same(plain.val, more.val)
    assert same(plain.test, more.test)
    assert torch.equal(more.train.x[:-2], plain.train.x)
    for data in (more, more.limit(20), more.limit(179), more.limit(20).to("meta")):
        assert data.extra == 2
        assert data.train.y[-2:].tolist() == [2, 0] if data.train.y.device.type == "cpu" else len(data.train) == 22
    assert more.limit(20).train.x[-2:].tolist() == [[0.5, -1.25], [0.0, 9.0]]
    assert more.limit(20).train.index[-2:].tolist() == [200, 201]
    assert same(more.limit(20).train.take(torch.arange(20)), plain.limit(20).train)
    assert more.mean == pytest.approx(more.train.x.mean(0).tolist(), abs=1e-6)
    assert more.fingerprint != plain.fingerprint
    assert window(more) == window(plain)
    with pytest.raises(InputError, match=r"to 179 \(all\), got 180"):
        more.limit(180)


@few
@given(st.lists(st.tuples(st.floats(-99, 99), st.floats(-99, 99), st.integers(0, 9)), max_size=5))
def test_extra_points_are_read_as_they_are_written(points):
    read = extra_points(extra_text(points))
    assert [k for *_, k in read] == [k for *_, k in points]
    assert torch.allclose(torch.tensor(read), torch.tensor(points), atol=6e-4)
    assert extra_points(extra_text(read)) == read


@pytest.mark.parametrize("name", ["moons", "circles", "spirals", "blobs", "digits"])
def test_seed_decides_all_but_the_test_split(name):
    a, again, other = load(name, seed=1), load(name, seed=1), load(name, seed=2)
    assert all(same(getattr(a, part), getattr(again, part)) for part in ("train", "val", "test"))
    assert not torch.equal(a.val.x, other.val.x)
    assert same(a.test, other.test)
    assert not torch.equal(a.train.x[:50], a.test.x[:50])


def test_digits_are_the_scans_on_the_8_bit_scale():
    from sklearn.datasets import load_digits

    source, digits = load_digits(), DIGITS
    every = torch.cat([digits.train.index, digits.val.index, digits.test.index])
    assert torch.equal(every.sort().values, torch.arange(1797))
    assert (digits.shape, digits.train.x.dtype, len(digits.test)) == ((1, 8, 8), torch.uint8, 359)
    for split in (digits.train, digits.val, digits.test):
        scans = torch.from_numpy(source.images)[split.index]
        assert torch.equal(split.x[:, 0], (scans * 255 / 16).round().byte())
        assert torch.equal(split.y, torch.from_numpy(source.target)[split.index])
    assert digits.test.index.min() > digits.train.index.float().mean()  # the last fifth of each digit


# Names, options and what is refused


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("moons", {"classes": 1}, "classes of moons must be an integer of at least 2, got 1"),
        ("moons", {"classes": 2.5}, "classes of moons .* got 2.5"),
        ("moons", {"n": 3}, "n of moons with 2 classes must be an integer of at least 4, got 3"),
        ("moons", {"n": 99.5}, "got 99.5"),
        ("moons", {"noise": -0.1}, "noise of moons must be finite and at least 0, got -0.1"),
        ("moons", {"noise": float("nan")}, "got nan"),
        ("moons", {"noize": 0.1}, "Unknown option of moons 'noize'; did you mean 'noise'"),
        ("digits", {"size": 8}, "Unknown option of digits 'size'"),
        ("cifar-10", {}, "Unknown data set 'cifar-10'; did you mean 'cifar10'"),
        ("spirals:colour=1", {}, "option of spirals.*colour"),
        ("spirals:noise=much", {}, "noise of spirals must be a number, got 'much'"),
        ("spirals:classes=1", {}, "classes of spirals must be .* got 1"),
        ("spirals:extra=0.5/1/0+0.5/1/3", {}, "extra of spirals must have classes from 0 to 2, got 3 in 0.5/1/3"),
        ("spirals:extra=0.5/1", {}, "extra must give X1/X2/CLASS of each point, joined by [+], .* got '0.5/1'"),
        ("spirals:extra=nan/1/0", {}, "got 'nan/1/0'"),
        ("spirals:extra=0/1/0.5", {}, "got '0/1/0.5'"),
        ("spirals:extra=0/1/-1", {}, "got '0/1/-1'"),
        ("digits:n=3", {}, "option of digits"),
        ("squares:n=3", {}, "data set.*squares"),
        ("spirals:", {}, "option of spirals"),
    ],
)
def test_bad_names_and_options_are_refused(name, options, sentence):
    with pytest.raises(InputError, match=sentence):
        load(name, **options)
    with pytest.raises(InputError, match="A data set's name must be a string such as 'digits', got 3"):
        load(3)


def test_a_registered_data_set_loads_by_name_with_its_options():
    @register("halves")
    def load_halves(seed: int = 0, *, n: int = 40, gap: float = 0.5) -> Dataset:
        """Left and right."""
        x = torch.rand(n, 2, generator=generator("cpu", "halves", seed))
        y = torch.arange(n) % 2
        x[:, 0] += y * (1 + gap)
        whole = Split(x, y, torch.arange(n))
        return Dataset.assemble("halves", ("left", "right"), whole, whole, seed=seed)

    assert datasets.about("halves") == "Left and right."
    data = load("halves:n=60,gap=0.25", seed=1, n=20)
    assert (len(data.test), data.num_classes) == (20, 2)  # a keyword wins over the name
    assert same(data.test, load_halves(1, n=20, gap=0.25).test)
    with pytest.raises(InputError, match="Unknown option of halves 'm'"):
        load("halves:m=3")
    with pytest.raises(InputError, match="must be a function that takes seed"):
        register("quarters", lambda: data)
    with pytest.raises(InputError, match="'digits' is a data set of amkd_viz"):
        register("digits", load_halves)
    datasets.forget("halves")
    with pytest.raises(InputError, match="Unknown data set 'halves'"):
        load("halves")


def test_a_machine_with_torch_and_numpy_alone_can_train_on_points():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['sklearn', 'torchvision', 'PIL']))\n"  # None: cannot be imported
        "from amkd_viz.data import load\n"
        "assert len(load('moons').train) == 900\n"
        "for name in ('digits', 'cifar10'):\n"
        "    try: load(name)\n"
        "    except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "The data set 'digits' needs scikit-learn" in done.stdout
    assert "pip install torchvision" in done.stdout


def test_a_number_of_points_that_does_not_fit_is_refused_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr("amkd_viz.core.memory.free_memory", lambda: 20 * 10**9)
    for name in ("moons:n=2e9", "moons:n=2000000000"):
        with pytest.raises(InputError, match=r"moons:n=2000000000 needs 232 GB, 20 GB are free; choose a smaller n\."):
            load(name)
    with pytest.raises(InputError, match=r"needs .* GB, 20 GB are free"):  # two logits per class and point
        load("blobs:n=1e6,classes=5e5")
    assert len(load("moons:n=2e2").test) == 200
