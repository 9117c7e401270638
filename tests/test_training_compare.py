"""Comparisons: the runs, the table against numpy, and the sentences under it."""

from __future__ import annotations

import itertools
import math
import re
import types

import numpy as np
import pytest
from recipes import POINTS
from scipy import stats

import amkd_viz.runs.grid as comparison
from amkd_viz.core.errors import InputError
from amkd_viz.runs import Row, Run, compare, format_table, reading, table
from amkd_viz.runs.stats import difference, t95
from amkd_viz.training import Recipe, Started

SPIRALS = POINTS.replace(dataset="spirals", epochs=2)


def run(method="ce", seed=0, dataset="digits", **summary):
    """What ``table`` reads of a run."""
    recipe = Recipe(method=method, seed=seed, dataset=dataset)
    return types.SimpleNamespace(recipe=recipe, summary={"test_accuracy": 0.5, **summary})


def row(method, mean, sd=None, seeds=(0,), dataset="digits"):
    return Row(dataset, method, tuple(seeds), {"test_accuracy": (mean, sd)})


# compare


def test_methods_by_seeds(tmp_path):
    trainings = []
    overrides = {"kd.scale": 0.5, "boundary_triplet.margin": 0.1}
    runs = compare(
        SPIRALS.replace(overrides=overrides),
        ["ce", "kd", "amkd"],
        2,
        tmp_path / "out",
        listen=lambda e: trainings.append(e.training) if isinstance(e, Started) else None,
    )
    expected = [(m, s) for m in ("ce", "kd", "amkd") for s in (0, 1)]
    assert [(r.recipe.method, r.recipe.seed) for r in runs] == expected
    assert [r.recipe.overrides for r in runs[::2]] == [{}, {"kd.scale": 0.5}, overrides]  # where the term is
    assert [r.path.name for r in runs] == [f"{m}-seed{s}" for m, s in expected]
    assert all(Run.open(r.path).finished for r in runs)
    students = [t for t in trainings if t.recipe.student == "mlp-tiny"]
    assert len(students) == 6
    assert len({id(t.teacher) for t in students}) == 1  # one teacher and one data set in memory
    assert len({id(t.full) for t in students}) == 1
    assert len({r.summary["teacher_test_accuracy"] for r in runs}) == 1

    rows = table(runs)
    assert [(r.method, r.seeds) for r in rows] == [("ce", (0, 1)), ("kd", (0, 1)), ("amkd", (0, 1))]
    accuracies = [r.summary["test_accuracy"] for r in runs[2:4]]
    assert rows[1].numbers["test_accuracy"] == pytest.approx((np.mean(accuracies), np.std(accuracies, ddof=1)))
    assert len(reading(rows)) == 1  # amkd builds on bss, which is not here


@pytest.mark.parametrize(
    ("methods", "seeds", "changes", "message"),
    [
        (["ce"], 0, {}, "seeds must be at least 1, got 0"),
        (["ce"], -1, {}, "seeds must be at least 1, got -1"),
        (["ce", "dk"], 1, {}, "Unknown method 'dk'; did you mean 'kd'"),
        ([], 1, {}, "methods must name one or more, each once.* allowed: ce, kd"),
        (["ce", "kd", "ce"], 1, {}, "each once, not 'ce,kd,ce'"),
        (["ce", "kd"], 1, {"kd.scale": 2, "boundary_kd.scale": 2}, "None of ce, kd has the term of boundary_kd.scale"),
    ],
)
def test_nothing_is_trained_for_a_comparison_that_cannot_be(tmp_path, monkeypatch, methods, seeds, changes, message):
    monkeypatch.setattr(comparison, "prepare", None)  # calling it would be a TypeError
    with pytest.raises(InputError, match=message):
        compare(SPIRALS.replace(method="amkd", overrides=changes), methods, seeds, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "ce-seed0").mkdir()
    with pytest.raises(InputError, match="holds other files and is never overwritten"):
        compare(SPIRALS, ["ce"], 1, tmp_path)


# table


def test_statistics_are_those_of_numpy():
    values = {"test_accuracy": [0.81, 0.835, 0.79], "magsim": [0.5, None, 0.75], "train_seconds": [1.5, 2.5, 3.0]}
    runs = [run("kd", seed, **{name: v[seed] for name, v in values.items()}, angsim=None) for seed in range(3)]
    (found,) = table(runs)
    assert (found.dataset, found.method, found.seeds) == ("digits", "kd", (0, 1, 2))
    assert set(found.numbers) == set(values)  # no agreement in the summary, and angsim has no number
    for name, own in values.items():
        numbers = np.array([v for v in own if v is not None])
        assert found.numbers[name] == pytest.approx((numbers.mean(), numbers.std(ddof=1)))


def test_rows_in_the_order_of_first_appearance():
    runs = [run(m, s, d) for s in (0, 1) for d in ("moons", "digits") for m in ("kd", "ce")]
    assert [(r.dataset, r.method, r.seeds) for r in table(runs)] == [
        ("moons", "kd", (0, 1)),
        ("moons", "ce", (0, 1)),
        ("digits", "kd", (0, 1)),
        ("digits", "ce", (0, 1)),
    ]
    assert table([]) == []
    (one,) = table([run(test_accuracy=0.5, test_agreement=0.25)])
    assert one.numbers == {"test_accuracy": (0.5, None), "test_agreement": (0.25, None)}  # one seed has no deviation


# text


def test_columns_align():
    methods = ("ce", "amkd-calibrated")
    accuracies = ((0.05, 0.1), (0.9, 1.0))
    runs = [
        run(m, s, test_accuracy=a[s], test_agreement=0.5, magsim=0.5, angsim=-0.25, train_seconds=1000.0)
        for m, a in zip(methods, accuracies, strict=True)
        for s in (0, 1)
    ]
    first, head, *lines = format_table(table(runs)).splitlines()
    assert first == "digits, last epoch, mean ± sd over seeds 0, 1"
    for title in ("method", "test accuracy %", "agreement %", "MagSim", "AngSim", "seconds"):
        at = head.index(title)
        assert at == 0 or head[at - 2 : at] == "  "
        assert all(line[at] != " " and (at == 0 or line[at - 1] == " ") for line in lines)
    assert "7.50 ± 3.54" in lines[0]
    assert "95.00 ± 7.07" in lines[1]
    assert "-0.250 ± 0.000" in lines[1]
    assert not any(line.endswith(" ") for line in (head, *lines))


def test_each_data_set_has_its_block_and_a_row_names_what_differs():
    assert format_table([]) == ""
    kd = [run("kd", seed) for seed in (0, 1)]
    kd += [types.SimpleNamespace(recipe=Recipe(method="kd", epochs=7, seed=1), summary={"test_accuracy": 0.7})]
    rows = [row("ce", 0.5, 0.1, (0, 1, 2)), row("bss", 0.5, 0.1, (0, 2)), row("ce", 0.25, dataset="moons")]
    one, two, three = [block.splitlines() for text in (rows, table(kd)) for block in format_table(text).split("\n\n")]
    assert one[0] == "digits, last epoch, mean ± sd over seeds 0, 1, 2"
    assert [line.split("  ")[0] for line in one[2:]] == ["ce", "bss, seeds 0, 2"]
    assert two[0] == "moons, last epoch, seed 0"
    assert "25.00" in two[2]
    assert [line.split("  ")[0] for line in three[2:]] == ["kd (epochs=30)", "kd (epochs=7), seed 1"]


# sentences


def test_a_difference_beyond_the_noise_and_one_within():
    rows = [row("ce", 0.80, 0.01, range(3)), row("kd", 0.83, 0.01, range(3)), row("bss", 0.835, 0.02, range(4))]
    first, second = reading(rows)
    half = stats.t.ppf(0.975, 4) * 100 * math.sqrt(0.01**2 / 3 + 0.01**2 / 3)
    assert first == (
        "digits: kd against ce +3.00 points of test accuracy, "
        f"95 % interval {3 - half:+.2f} to {3 + half:+.2f}: seen beyond the noise."
    )
    assert second.startswith("digits: bss against kd +0.50 points of test accuracy, 95 % interval -")
    assert second.endswith(": within the noise.")


def test_a_difference_is_welchs():
    random = np.random.default_rng(0)
    for _ in range(50):
        one, two = random.normal(0.8, 0.03, 3), random.normal(0.85, 0.01, random.integers(2, 8))
        found = difference(one.mean(), one.std(ddof=1), len(one), two.mean(), two.std(ddof=1), len(two))
        theirs = stats.ttest_ind(one, two, equal_var=False)
        assert found.points == pytest.approx(100 * (one.mean() - two.mean()))
        assert found.points / found.error == pytest.approx(theirs.statistic)
        assert found.freedom == pytest.approx(theirs.df)
        low, high = theirs.confidence_interval(0.95)
        assert found.interval == pytest.approx((100 * low, 100 * high), abs=1e-3)
        assert found.seen == (theirs.pvalue < 0.05)
    for freedom in np.geomspace(1, 1e5, 100):
        assert t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-4)


@pytest.mark.parametrize(
    ("one", "other", "sentence"),
    [
        (("bss", 0.9, 0.001, (0, 1, 2)), ("amkd", 0.8, 0.001, (0, 1, 2)), r"amkd against bss -10\.00 .*: seen beyond"),
        (
            ("ce", 0.5, 0.0, (0, 1)),
            ("kd", 0.5, 0.0, (0, 1)),
            r"\+0\.00 .* interval .*: within the noise",
        ),
        (("ce", 0.5), ("kd", 0.6), r"\+10\.00 points of test accuracy, from one seed: no statement about noise\."),
    ],
)
def test_losses_equal_students_and_single_seeds(one, other, sentence):
    (message,) = reading([row(*one), row(*other)])
    assert re.search(sentence, message)


def test_sentences_only_for_pairs_that_are_there():
    for chosen in itertools.chain.from_iterable(itertools.combinations(("ce", "kd", "bss", "amkd"), n) for n in (1, 2)):
        message = reading([row(m, 0.5, dataset=d) for m, d in zip(chosen, itertools.repeat("digits"), strict=False)])
        assert len(message) == (chosen in [("ce", "kd"), ("kd", "bss"), ("bss", "amkd")])
    assert reading([row("ce", 0.5), row("kd", 0.5, dataset="moons")]) == []
    assert reading([]) == []
