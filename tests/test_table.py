"""Tables: which runs count, numbers against numpy, differences against SciPy, and the sentences under a table."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from recipes import ONE_EPOCH, Finished
from scipy import stats

from amkd_viz.objectives import READING_OF_AMKD, ce, kd, methods
from amkd_viz.runs import Job, Race, Row, Run, distill, fork, format_table, reading, replay, resume, table
from amkd_viz.runs.groups import groups
from amkd_viz.runs.stats import holm, paired, t95, welch
from amkd_viz.runs.table import between, pairs
from amkd_viz.training import Recipe
from amkd_viz.views import compare, curves

CHANGED = {"kind": "intervention", "epoch": 1, "batch": 0, "changes": {"learning_rate": 0.01}}


def run(
    method: str = "ce", seed: int = 0, accuracy: float = 0.5, lines: Any = (), config: Any = None, **fields: Any
) -> Run:
    recipe = Recipe(dataset="digits").replace(method=method, seed=seed, **fields)
    return Finished(recipe, lines, config, test_accuracy=accuracy)


def seeds(method: str, *accuracies: float, first: int = 0, **fields: Any) -> list[Run]:
    return [run(method, first + seed, accuracy, **fields) for seed, accuracy in enumerate(accuracies)]


def label_and_numbers(runs: list[Run]) -> dict[str, tuple[tuple[int, ...], tuple[float, float | None]]]:
    return {row.label: (row.seeds, row.numbers["test_accuracy"]) for row in table(runs)}


# the two stories


def test_one_seed_run_twice_is_one_run() -> None:
    runs = [run("ce", accuracy=0.674), run("ce", accuracy=0.674), run("kd", accuracy=0.68), run("kd", accuracy=0.68)]
    assert label_and_numbers(runs) == {"ce": ((0,), (0.674, None)), "kd": ((0,), (0.68, None))}
    assert reading(table(runs)) == [
        "digits: kd against ce +0.60 points of test accuracy: no statement: fewer than two seeds.",
        "digits: ce, seed 0: several runs of one recipe; the first counts.",
        "digits: kd, seed 0: several runs of one recipe; the first counts.",
    ]


def test_a_run_that_was_changed_by_hand_is_not_averaged() -> None:
    runs = [run("kd", 0, 0.9002), run("kd", 1, 0.4652, [CHANGED])]  # their mean is 68.27 ± 30.76
    assert label_and_numbers(runs) == {"kd": ((0,), (0.9002, None)), "kd (changed by hand)": ((1,), (0.4652, None))}
    rows = table([*runs, *seeds("ce", 0.8, 0.82)])
    assert [(pair.row.label, pair.other.label) for pair in pairs(rows)] == [("kd", "ce")]
    sentence = "digits: kd (changed by hand) is not a seed of its recipe, so it counts in no mean and no comparison."
    assert sentence in reading(rows)
    assert "kd (changed by hand), seed 1  46.52  " in format_table(rows)
    notes = compare(runs).notes
    assert (notes["kd.mean"], notes["kd (changed by hand).mean"]) == pytest.approx((0.9002, 0.4652))


# which runs count


def test_trainings_on_disk_say_what_they_are(tmp_path: Any) -> None:
    recipe = ONE_EPOCH.replace(method="kd", epochs=2)
    plain = distill(recipe, tmp_path / "plain")
    again = distill(recipe, tmp_path / "again")
    replayed = replay(plain, tmp_path / "replayed")
    forked = resume(fork(plain, 1, tmp_path / "forked"))
    job = Job(recipe.replace(seed=1), tmp_path / "steered")
    job.step()
    assert job.settle(60) == "paused"
    job.set(learning_rate=0.01)
    job.resume()
    assert job.wait(60) == "done"
    steered = Run.open(tmp_path / "steered")
    both = replay(steered, tmp_path / "both")
    for runs in ([plain, again, replayed, forked, steered, both], [both, steered, forked, replayed, again, plain]):
        found = groups([Run.open(made.path) for made in runs])
        assert {label: [own.path.name for own in group.runs] for label, group in found.items()} == {
            "kd": ["plain" if plain.config["started"] < again.config["started"] else "again"],
            "kd (replay)": ["replayed"],
            "kd (fork)": ["forked"],
            "kd (changed by hand)": ["steered"],
            "kd (replay, changed by hand)": ["both"],
        }
    assert Run.open(replayed.path).config["replay_of"] == str(plain.path)
    race = Race.create(recipe, ["ce", "kd"], tmp_path / "race")
    race.resume()
    assert race.wait(60) == "done"
    same_race = race.replay(tmp_path / "same race")
    assert [made.config["replay_of"] for made in same_race.runs.values()] == [
        str(made.path.resolve()) for made in race.runs.values()
    ]


def test_a_line_that_cannot_be_read_may_have_been_a_change() -> None:
    assert list(label_and_numbers([run("kd", lines=[{"kind": "note", "text": "", "damaged": 3}])])) == [
        "kd (damaged log)"
    ]


def test_several_runs_that_were_changed_have_labels_of_their_own() -> None:
    runs = [run("kd", seed, lines=[CHANGED]) for seed in (0, 1)] + [run("kd", 1, lines=[CHANGED])]
    assert len(label_and_numbers(runs)) == 3
    assert list(label_and_numbers(runs[:2])) == ["kd (changed by hand, seed=0)", "kd (changed by hand, seed=1)"]


@pytest.mark.parametrize(
    ("one", "other", "labels"),
    [
        ({}, {"epochs": 7}, ["kd (epochs=30)", "kd (epochs=7)"]),
        ({}, {"overrides": {"kd.scale": 2}}, ["kd", "kd (weights x2)"]),
        ({}, {"overrides": {"kd.temperature": 3}}, ["kd"]),  # the default by another name
        ({}, {"device": "cpu", "evaluate_every": 3, "magsim_samples": 7, "root": "/data"}, ["kd"]),
        (
            {"precision": "auto", "config": {"versions": {"precision": "bf16"}}},
            {"precision": "auto", "config": {"versions": {"precision": "fp32"}}},
            ["kd (precision=bf16)", "kd (precision=fp32)"],
        ),
        (
            {"teacher": "t.safetensors", "config": {"teacher_weights": "a"}},
            {"teacher": "t.safetensors", "config": {"teacher_weights": "b"}},
            ["kd (teacher weights=a)", "kd (teacher weights=b)"],
        ),
        ({"config": {"teacher_weights": "a"}}, {"config": {"teacher_weights": "b"}}, ["kd"]),  # made by the recipe
        (
            {"config": {"objective": "ce() + kd(temperature=3, t2=False)"}},
            {"config": {"objective": "ce() + kd(temperature=9, t2=False)"}},
            [f"kd (objective=ce() + kd(temperature={t}, t2=False))" for t in (3, 9)],
        ),
        ({"data_seed": 0}, {"data_seed": 1}, ["kd"]),  # each seed draws its own data
        (
            {"dataset": "folder:cats", "config": {"data": "a"}},
            {"dataset": "folder:cats", "config": {"data": "b"}},
            ["kd (data=a)", "kd (data=b)"],
        ),
        ({"dataset": "folder:cats", "config": {"data": "a"}}, {"dataset": "folder:cats"}, ["kd"]),  # of an old version
        ({"config": {"data": "a"}}, {"config": {"data": "b"}}, ["kd"]),  # digits: the same up to rounding
    ],
)
def test_a_group_is_what_was_trained(one: Any, other: Any, labels: list[str]) -> None:
    assert list(label_and_numbers([run("kd", 0, **one), run("kd", 1, **other)])) == labels


def test_one_factor_on_all_terms_of_the_teacher_is_one_word() -> None:
    factors = ({}, {"kd.scale": 8, "boundary_kd.scale": 8}, {"kd.scale": 8}, {"kd.scale": 8, "boundary_kd.scale": 2})
    assert list(label_and_numbers([run("bss", overrides=own) for own in factors])) == [
        "bss",
        "bss (weights x8)",
        "bss (kd.scale=8.0)",
        "bss (kd.scale=8.0, boundary_kd.scale=2.0)",
    ]


def test_data_that_several_seeds_share_are_a_setting() -> None:
    runs = [run("kd", seed, data_seed=data) for seed in (0, 1) for data in (0, 1)]
    assert list(label_and_numbers(runs)) == ["kd (data_seed=0)", "kd (data_seed=1)"]
    mixed = [run("kd", 0, 0.5), run("kd", 1, 0.6), run("ce", 0, 0.4, data_seed=5), run("ce", 1, 0.45, data_seed=6)]
    (pair,) = pairs(table(mixed))  # the same seeds on other data are no pairs
    assert pair.test == "not paired, Welch, n = 2 and 2"


def test_a_registered_method_with_another_sum_is_another_method() -> None:
    made = []
    for temperature in (2, 9):
        methods.register("hot")(lambda t=temperature: ce() + kd(temperature=t))
        made.append(run("hot", len(made)))
        methods.forget("hot")
    assert len(label_and_numbers(made)) == 2


def test_another_device_is_the_same_training_and_named() -> None:
    where = [{"device": "x86_64 CPU", "torch": "2.6"}, {"device": "H200", "torch": "2.6"}]
    rows = table([run("kd", seed, config={"versions": own}) for seed, own in enumerate(where)])
    assert [row.seeds for row in rows] == [(0, 1)]
    assert reading(rows) == [
        "digits: the runs come from different devices or versions: x86_64 CPU, torch 2.6; H200, torch 2.6."
    ]


SOME_RUNS = some.lists(
    some.tuples(some.sampled_from(["ce", "kd", "amkd"]), some.integers(0, 4), some.integers(0, 20), some.booleans()),
    min_size=1,
    max_size=10,
)


@settings(max_examples=50)
@given(SOME_RUNS, some.randoms(use_true_random=False), some.data())
def test_order_repeats_and_changed_runs_leave_each_mean(
    drawn: list[tuple[str, int, int, bool]], shuffle: random.Random, more: some.DataObject
) -> None:
    runs = [run(m, seed, share / 20, [CHANGED] if changed else ()) for m, seed, share, changed in drawn]
    plain = [one for one in runs if not one.interventions()]
    counted = label_and_numbers(plain)
    verdicts = {(p.row.label, p.other.label): p[2:] for p in pairs(table(plain))}
    added = [run("kd", 1, 0.3, [CHANGED])]
    if plain:
        again = more.draw(some.sampled_from(plain))
        added.append(run(again.recipe.method, again.recipe.seed, 0.99))  # started later
    runs += added
    shuffle.shuffle(runs)
    rows = table(runs)
    assert {row.label: (row.seeds, row.numbers["test_accuracy"]) for row in rows if not row.apart} == counted
    assert {(p.row.label, p.other.label): p[2:] for p in pairs(rows)} == verdicts
    assert sum(bool(row.apart) for row in rows) == len(runs) - len(plain) - bool(plain)


# numbers


def test_statistics_are_those_of_numpy() -> None:
    values = {"test_accuracy": [0.81, 0.835, 0.79], "magsim": [0.5, None, 0.75], "train_seconds": [1.5, 2.5, 3.0]}
    runs = [
        Finished(Recipe(method="kd", seed=seed), **{name: v[seed] for name, v in values.items()}, angsim=None)
        for seed in range(3)
    ]
    (found,) = table(runs)
    assert (found.dataset, found.method, found.seeds) == ("digits", "kd", (0, 1, 2))
    assert set(found.numbers) == set(values)  # no agreement in the summary, and angsim has no number
    for name, own in values.items():
        numbers = np.array([v for v in own if v is not None])
        assert found.numbers[name] == pytest.approx((numbers.mean(), numbers.std(ddof=1)))


def test_rows_in_the_order_of_first_appearance() -> None:
    runs = [run(m, s, dataset=d) for s in (0, 1) for d in ("moons", "digits") for m in ("kd", "ce")]
    rows = [("moons", "kd"), ("moons", "ce"), ("digits", "kd"), ("digits", "ce")]
    assert [(r.dataset, r.method, r.seeds) for r in table(runs)] == [(*row, (0, 1)) for row in rows]
    assert table([]) == []
    assert reading([]) == []


def test_columns_align() -> None:
    numbers = {"test_agreement": 0.5, "magsim": 0.5, "angsim": -0.25, "train_seconds": 1000.0}
    accuracies = {"ce": (0.05, 0.1), "amkd-calibrated": (0.9, 1.0)}
    runs = [
        Finished(Recipe(method=m, seed=s), test_accuracy=a, **numbers)
        for m, own in accuracies.items()
        for s, a in enumerate(own)
    ]
    whole, _, last = format_table(table(runs)).partition("\n\n")
    first, head, *lines = whole.splitlines()
    assert first == "digits, last epoch, mean ± sd over seeds 0, 1"
    for title in ("method", "test accuracy %", "agreement %", "MagSim", "AngSim", "seconds"):
        at = head.index(title)
        assert at == 0 or head[at - 2 : at] == "  "
        assert all(line[at] != " " and (at == 0 or line[at - 1] == " ") for line in lines)
    assert "7.50 ± 3.54" in lines[0]
    assert "95.00 ± 7.07" in lines[1]
    assert "-0.250 ± 0.000" in lines[1]
    assert not any(line.endswith(" ") for line in (head, *lines))
    assert last.replace("\n", " ") == READING_OF_AMKD
    assert max(map(len, last.splitlines())) <= 100  # a notebook breaks longer lines within words


def test_each_data_set_has_its_block_and_a_row_names_its_seeds() -> None:
    assert format_table([]) == ""
    runs = [*seeds("ce", 0.5, 0.5, 0.5), run("bss", 0), run("bss", 2), run("ce", 0, 0.25, dataset="moons")]
    one, two = (block.splitlines() for block in format_table(table(runs)).split("\n\n"))
    assert one[0] == "digits, last epoch, mean ± sd over seeds 0, 1, 2"
    assert [line.split("  ")[0] for line in one[2:]] == ["ce", "bss, seeds 0, 2"]
    assert two[0] == "moons, last epoch, seed 0"
    assert "25.00" in two[2]


# differences


def test_differences_are_those_of_scipy() -> None:
    drawn = np.random.default_rng(0)
    for n in [*range(2, 9)] * 7:
        one, two = drawn.normal(0.8, 0.03, n), drawn.normal(0.85, 0.01, drawn.integers(2, 8))
        pair = drawn.normal(0.82, 0.03, n)
        for found, theirs in (
            (paired(one, pair), stats.ttest_rel(one, pair)),
            (
                welch(one.mean(), one.std(ddof=1), len(one), two.mean(), two.std(ddof=1), len(two)),
                stats.ttest_ind(one, two, equal_var=False),
            ),
        ):
            assert found is not None
            assert found.points / found.error == pytest.approx(theirs.statistic)
            assert found.freedom == pytest.approx(theirs.df)
            assert found.p == pytest.approx(theirs.pvalue, abs=1e-5)
            low, high = theirs.confidence_interval(0.95)
            assert found.interval == pytest.approx((100 * low, 100 * high), rel=1e-3)
        assert paired(one, pair).points == pytest.approx(100 * (one - pair).mean())  # type: ignore[union-attr]
    for freedom in np.geomspace(1, 1e5, 100):
        assert t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-4)


def test_the_intervals_contain_the_truth_95_times_in_100() -> None:
    """10,000 comparisons of two methods that differ by two points and share the luck of their seeds."""
    drawn, n, draws = np.random.default_rng(1), 8, 10_000
    luck, own = drawn.normal(0.8, 0.03, (draws, n)), drawn.normal(0, 0.01, (2, draws, n))
    inside = 0
    for one, other in zip(luck + own[0] + 0.02, luck + own[1], strict=True):
        low, high = paired(one.tolist(), other.tolist()).interval  # type: ignore[union-attr]
        inside += low <= 2 <= high
    assert inside / draws == pytest.approx(0.95, abs=0.01)
    one, other = drawn.normal(0.82, 0.03, (draws, 6)), drawn.normal(0.8, 0.01, (draws, 9))
    means = zip(one.mean(1), one.std(1, ddof=1), other.mean(1), other.std(1, ddof=1), strict=True)
    inside = 0
    for mean, sd, other_mean, other_sd in np.round(list(means), 4)[:2_000]:
        found = welch(mean, sd, 6, other_mean, other_sd, 9)
        inside += found.interval[0] <= 2 <= found.interval[1]  # type: ignore[union-attr]
    assert inside / 2_000 == pytest.approx(0.95, abs=0.015)


def test_seeds_that_do_not_vary_are_no_evidence() -> None:
    assert paired([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]) is None  # 0.1 each, up to rounding
    assert welch(0.9, 0.0, 2, 0.8, 0.01, 2) is None
    assert paired([0.5], [0.4]) is None
    rows = table([*seeds("ce", 0.5, 0.5), *seeds("kd", 0.506, 0.506)])
    assert reading(rows) == [
        "digits: kd against ce +0.60 points of test accuracy: no statement: the seeds do not vary."
    ]


def test_holm_corrects_for_the_number_of_pairs() -> None:
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]  # 0.005 * 4, 0.01 * 3, but 0.03 * 2 > 0.05
    assert holm([0.04]) == [True]
    assert holm([0.04, 0.04]) == [False, False]


def test_a_difference_is_paired_by_seed() -> None:
    """Seeds vary by ten points, methods by two: only the pairs show it. Differences 2, 2, 3: 7/3 ± 4.303 / 3."""
    kd, ce = (0.82, 0.92, 0.73), (0.80, 0.90, 0.70)
    assert stats.ttest_ind(kd, ce, equal_var=False).pvalue > 0.7
    first, *more = reading(table([*seeds("kd", *kd), *seeds("ce", *ce)]))
    assert first == (
        "digits: kd against ce +2.33 points of test accuracy, 95 % interval +0.90 to +3.77 (paired by seed, n = 3): "
        "seen beyond the noise."
    )
    assert more == []


def test_seeds_in_common_are_paired_and_others_are_not() -> None:
    kd = seeds("kd", 0.80, 0.84, 0.82, 0.9)
    some_common = table([*kd, *seeds("ce", 0.79, 0.80, 0.70, first=1)])  # 1, 2 and 3: 5, 2, 20
    found = between(*some_common)
    assert found is not None
    assert found[:3] == pytest.approx((9.0, stats.sem([5, 2, 20]), 2))
    assert found.counts == (3,)
    for first, count in ((3, 1), (4, 0)):
        rows = table([*kd, *seeds("ce", 0.79, 0.80, 0.70, first=first)])
        theirs = stats.ttest_ind([0.80, 0.84, 0.82, 0.9], [0.79, 0.80, 0.70], equal_var=False)
        found = between(*rows)
        assert found is not None, count
        assert found.p == pytest.approx(theirs.pvalue, abs=1e-6)
        assert "(not paired, Welch, n = 4 and 3)" in reading(rows)[0]


def test_each_method_is_tested_against_each_other() -> None:
    runs = [*seeds("bss", 0.6, 0.63, 0.61), *seeds("kd", 0.5, 0.52, 0.515), *seeds("amkd", 0.61, 0.635, 0.6)]
    runs += seeds("kd", 0.7, 0.72, 0.711, overrides={"kd.scale": 8})
    found = pairs(table(runs))
    plain, strong = "kd", "kd (weights x8)"
    assert {(pair.row.label, pair.other.label) for pair in found} == {
        (strong, plain), ("bss", plain), ("amkd", plain), ("bss", strong), ("amkd", strong), ("amkd", "bss")
    }  # fmt: skip
    p_values = [pair.difference.p for pair in found if pair.difference]
    assert [pair.seen for pair in found] == holm(p_values)
    for pair in found:
        theirs = stats.ttest_rel(*(list(row.values["test_accuracy"].values()) for row in (pair.row, pair.other)))
        assert pair.difference is not None
        assert pair.difference.p == pytest.approx(theirs.pvalue, abs=1e-6)
    assert "Holm's procedure corrects the verdicts for 6 pairs" in reading(table(runs))[-1]


def test_what_one_test_would_see_may_be_noise_among_many() -> None:
    accuracies = {"ce": (0.50, 0.50, 0.50), "kd": (0.52, 0.53, 0.525), "bss": (0.51, 0.535, 0.52)}
    rows = table([one for method, own in accuracies.items() for one in seeds(method, *own)])
    found = {(pair.row.method, pair.other.method): pair for pair in pairs(rows)}
    assert found["kd", "ce"].verdict == "seen beyond the noise"
    assert found["bss", "kd"].verdict == "within the noise"
    crowd = table([*seeds("ce", 0.5, 0.5, 0.5), *seeds("kd", 0.508, 0.514, 0.510), *seeds("bss", 0.5, 0.51, 0.493)])
    pair = next(pair for pair in pairs(crowd) if pair.row.method == "kd")
    assert pair.difference is not None
    assert 0.05 / 3 < pair.difference.p < 0.05
    assert pair.verdict == "within the noise of all pairs together"


def test_runs_of_several_data_sets_are_not_compared() -> None:
    assert reading(table([run("ce"), run("kd", dataset="moons")])) == []
    rows = [
        Row(d, m, {"test_accuracy": {(0, 0): 0.5}}) for d, m in itertools.product(("digits", "moons"), ("ce", "kd"))
    ]
    assert len(pairs(rows)) == 2


# pictures


def test_curves_average_what_a_table_averages() -> None:
    def epochs(value: float) -> list[dict[str, Any]]:
        return [{"kind": "epoch", "epoch": 1, "terms": {"ce": value}}]

    runs = [run("kd", 0, lines=epochs(1.0)), run("kd", 1, lines=epochs(2.0)), run("kd", 0, lines=epochs(90.0))]
    runs.append(run("kd", 2, lines=[*epochs(50.0), CHANGED]))
    arrays = curves(runs).arrays
    assert arrays["kd.ce"].tolist() == [[1, 1.5]]
    assert arrays["kd (changed by hand).ce"].tolist() == [[1, 50]]


def test_dots_of_the_same_seed_are_joined() -> None:
    runs = [*seeds("ce", 0.5, 0.6), *seeds("kd", 0.7, 0.65), run("kd", 0, 0.9, [CHANGED])]
    view = compare(runs)
    lines, *dots = view.figure.data
    assert lines.mode == "lines"
    assert sorted(zip(lines.x[::3], lines.x[1::3], strict=True)) == [(50.0, 70.0), (60.0, 65.0)]
    assert len(dots) == 3
    assert "A thin line joins the students of one seed" in view.caption
    assert "joins" not in compare(seeds("ce", 0.5, 0.6)).caption


def test_teachers_of_several_draws_are_one_line_at_their_mean() -> None:
    runs = [
        Finished(Recipe(method=method, seed=seed, data_seed=seed), teacher_test_accuracy=0.9 + seed / 10)
        for method in ("ce", "kd")
        for seed in (0, 1)
    ]
    view = compare(runs)
    assert view.notes["teacher"] == pytest.approx(0.95)
    assert any("mean of the teachers" in note.text for note in view.figure.layout.annotations)
