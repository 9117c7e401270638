"""Runs as a table: a row per training, numbers over its seeds, and every pair of rows compared."""

from __future__ import annotations

import itertools
import statistics
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import READING_OF_AMKD
from amkd_viz.objectives import methods as known_methods
from amkd_viz.runs.groups import Draw, Group, draw_of, groups
from amkd_viz.runs.measures import MEASURES, measured
from amkd_viz.runs.run import Run
from amkd_viz.runs.sound import sound
from amkd_viz.runs.stats import Difference, holm, paired, welch

__all__ = [
    "COLUMNS",
    "Pair",
    "Row",
    "between",
    "format_table",
    "holm_words",
    "measures_table",
    "notes",
    "pairs",
    "reading",
    "seed_words",
    "table",
]


@dataclass(frozen=True)
class Row:
    """Numbers of the last epoch of one training over its random draws.

    ``test_accuracy``, ``test_agreement`` (with the teacher), ``magsim`` and ``angsim`` are shares; seconds are those
    of training. Runs that were measured have the numbers of ``MEASURES`` too.

    Attributes:
        values: number -> (seed, data_seed) -> value.
        label: the method, with what tells it from other rows of that method.
        apart: why the row is one run that is not a seed of its recipe, see ``groups.apart``; "" for others.
        repeated: seeds of which further runs were left out.
        machines: where the runs were trained: device and versions.
    """

    dataset: str
    method: str
    values: dict[str, dict[Draw, float]]
    label: str = ""
    apart: str = ""
    repeated: tuple[int, ...] = ()
    machines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.method)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(seed for seed, _ in sorted({draw for own in self.values.values() for draw in own}))

    @property
    def numbers(self) -> dict[str, tuple[float, float | None]]:
        """Number -> (mean, standard deviation over seeds); None for a single seed."""
        return {
            name: (statistics.fmean(own.values()), statistics.stdev(own.values()) if len(own) > 1 else None)
            for name, own in self.values.items()
        }


WIDTH = 100  # letters per line of text below a table: a notebook breaks longer lines within words
POINTS = 1.0  # of test accuracy: a difference that is worth seeing
# number -> heading, scale, digits
COLUMNS: dict[str, tuple[str, float, int]] = {
    "test_accuracy": ("test accuracy %", 100, 2),
    "test_agreement": ("agreement %", 100, 2),
    "magsim": ("MagSim", 1, 3),
    "angsim": ("AngSim", 1, 3),
    "train_seconds": ("seconds", 1, 1),
}


def table(runs: Sequence[Run]) -> list[Row]:
    """Return one row for each group of runs of one training, see ``groups``; each data set on its own.

    A warning names each run that cannot be read and is left out.

    Raises:
        InputError: none of the runs can be read.
    """
    runs, left_out = sound(runs)
    if left_out and not runs:
        raise InputError(left_out[0])
    for sentence in left_out:
        warnings.warn(sentence, stacklevel=2)
    return [
        _row(dataset, label, group)
        for dataset in dict.fromkeys(run.recipe.dataset for run in runs)
        for label, group in groups([run for run in runs if run.recipe.dataset == dataset]).items()
    ]


def _row(dataset: str, label: str, group: Group) -> Row:
    summaries = {draw_of(run): run.summary | measured(run) for run in group.runs}
    values = {
        name: {draw: float(summary[name]) for draw, summary in summaries.items() if summary.get(name) is not None}
        for name in (*COLUMNS, *MEASURES)
    }
    repeated = tuple(sorted({run.recipe.seed for run in group.repeats}))
    versions = [run.config.get("versions", {}) for run in group.runs]
    machines = (", ".join(f"{v}" if k == "device" else f"{k} {v}" for k, v in sorted(own.items())) for own in versions)
    return Row(
        dataset,
        group.method,
        {name: own for name, own in values.items() if own},
        label,
        group.apart,
        repeated,
        tuple(dict.fromkeys(machine for machine in machines if machine)),
    )


def format_table(rows: Sequence[Row], columns: Mapping[str, tuple[str, float, int]] = COLUMNS) -> str:
    """Return the table as text, one line per row.

    Args:
        columns: number -> heading, scale, digits.

    >>> accuracy, seconds = {(0, 0): 0.9272, (1, 0): 0.9352}, {(0, 0): 1, (1, 0): 3}
    >>> print(format_table([Row("digits", "kd", {"test_accuracy": accuracy, "train_seconds": seconds})]))
    digits, last epoch, mean ± sd over seeds 0, 1
    method  test accuracy %  agreement %  MagSim  AngSim  seconds
    kd      93.12 ± 0.57     -            -       -       2.0 ± 1.4
    """
    blocks = _blocks(rows, columns)
    if any(row.method.startswith("amkd") for row in rows):
        blocks.append(textwrap.fill(READING_OF_AMKD, WIDTH))
    return "\n\n".join(blocks)


def _blocks(rows: Sequence[Row], columns: Mapping[str, tuple[str, float, int]]) -> list[str]:
    blocks = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        over = "mean ± sd over " if len(own[0].seeds) > 1 else ""
        lines = [f"{dataset}, last epoch, {over}{seed_words(own[0].seeds)}"]
        cells = [["method", *(head for head, _, _ in columns.values())]]
        cells += [
            [_name(row, own[0]), *(_cell(row.numbers.get(name), *columns[name][1:]) for name in columns)] for row in own
        ]
        widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
        lines += ["".join(f"{c:{w}s}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        blocks.append("\n".join(lines))
    return blocks


def seed_words(seeds: Sequence[int]) -> str:
    """
    >>> seed_words([3]), seed_words([0, 1, 3]), seed_words(range(12))
    ('seed 3', 'seeds 0, 1, 3', 'seeds 0 to 11')
    """
    row = len(seeds) > 4 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"seed{'s' * (len(seeds) > 1)} {f'{seeds[0]} to {seeds[-1]}' if row else ', '.join(map(str, seeds))}"


def _name(row: Row, first: Row) -> str:
    """The row's label, with its seeds where they are not those of the heading."""
    return row.label if row.seeds == first.seeds else f"{row.label}, {seed_words(row.seeds)}"


def _cell(number: tuple[float, float | None] | None, scale: float, digits: int) -> str:
    if number is None:
        return "-"
    mean, sd = number
    return f"{mean * scale:.{digits}f}" + (f" ± {sd * scale:.{digits}f}" if sd is not None else "")


def between(row: Row, other: Row, name: str = "test_accuracy") -> Difference | None:
    """Return a hundred times the difference of two rows: paired where they share two draws or more, else Welch's.

    None for fewer than two seeds, and for seeds that do not vary.

    Args:
        name: of the number; the test accuracy by default.
    """
    values, others = row.values.get(name, {}), other.values.get(name, {})
    common = sorted(values.keys() & others.keys())
    if len(common) > 1:
        return paired([values[draw] for draw in common], [others[draw] for draw in common])
    if min(len(values), len(others)) < 2:
        return None
    (mean, sd), (other_mean, other_sd) = row.numbers[name], other.numbers[name]
    return welch(mean, sd or 0.0, len(values), other_mean, other_sd or 0.0, len(others))


class Pair(NamedTuple):
    """Two rows of one data set and the difference of their test accuracies, the fuller method minus the plainer one.

    Attributes:
        difference: see ``between``.
        seen: whether it is beyond the noise, by Holm's procedure over all pairs of the data set.
    """

    row: Row
    other: Row
    difference: Difference | None
    seen: bool

    @property
    def points(self) -> float:
        """The difference in percentage points, that of the means where there is no statement."""
        if self.difference:
            return self.difference.points
        return 100 * (self.row.numbers["test_accuracy"][0] - self.other.numbers["test_accuracy"][0])

    @property
    def verdict(self) -> str:
        if self.difference is None:
            few = min(len(row.values["test_accuracy"]) for row in (self.row, self.other)) < 2
            return "no statement: fewer than two seeds" if few else "no statement: the seeds do not vary"
        low, high = self.difference.interval
        if self.seen:
            return "seen beyond the noise"
        return "within the noise of all pairs together" if low > 0 or high < 0 else "within the noise"

    @property
    def test(self) -> str:
        """Which test, and how many seeds: "paired by seed, n = 3"."""
        counts = self.difference.counts if self.difference else ()
        kind = "paired by seed" if len(counts) == 1 else "not paired, Welch"
        return f"{kind}, n = {' and '.join(map(str, counts))}" if counts else ""


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Return all pairs of rows of the same data set, without those that stand apart."""
    found = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset and not row.apart and "test_accuracy" in row.values]
        own = _ranked(own)
        both = [(row, other, between(row, other)) for other, row in itertools.combinations(own, 2)]
        seen = iter(holm([difference.p for _, _, difference in both if difference]))
        found += [Pair(row, other, difference, bool(difference) and next(seen)) for row, other, difference in both]
    return found


def reading(rows: Sequence[Row]) -> list[str]:
    """Return sentences that compare the test accuracies of all pairs of rows, then ``notes``.

    A difference is paired by seed where two rows share seeds. It counts as seen if the paired t-test (Welch's for
    rows without common seeds) rejects at 5 % after Holm's correction for all pairs; the interval is not corrected.
    """
    sentences = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = pairs([row for row in rows if row.dataset == dataset])
        for pair in own:
            text = f"{dataset}: {pair.row.label} against {pair.other.label} {pair.points:+.2f} points of test accuracy"
            if pair.difference:
                low, high = pair.difference.interval
                text += f", 95 % interval {low:+.2f} to {high:+.2f} ({pair.test})"
            sentences.append(f"{text}: {pair.verdict}{_power(pair)}.")
        tested = sum(pair.difference is not None for pair in own)
        if tested > 1:
            sentences.append(f"{dataset}: {holm_words(tested)}")
    return sentences + notes(rows)


def _power(pair: Pair) -> str:
    """Return how many more seeds a difference of one point needs, where none is seen."""
    if pair.seen or pair.difference is None or not pair.difference.paired:
        return ""
    more = pair.difference.seeds_to_show(POINTS) - pair.difference.counts[0]
    return f"; {more} more seeds would show a difference of {POINTS:g} point" if more > 0 else ""


def measures_table(rows: Sequence[Row]) -> str:
    """Return the measures as text: tables, what each measure is, and which differences are beyond the noise."""
    names = [name for name in MEASURES if any(name in row.values for row in rows)]
    rows = _ranked(rows)
    blocks = []
    for part in (names[:7], names[7:]):
        blocks += _blocks(rows, {name: MEASURES[name][:3] for name in part}) if part else []
    if any(row.method.startswith("amkd") for row in rows):
        blocks.append(textwrap.fill(READING_OF_AMKD, WIDTH))
    blocks.append("\n".join(f"{MEASURES[name].heading}: {MEASURES[name].meaning}." for name in names))
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset and not row.apart]
        lines = [f"{dataset}, {line}" for name in names if (line := _measure_reading(own, name))]
        blocks.append("\n".join(lines))
    return "\n\n".join(block for block in blocks if block)


def _measure_reading(rows: Sequence[Row], name: str) -> str:
    """Return which pairs of rows differ in a measure, by Holm's procedure over its pairs; "" without two seeds."""
    heading, scale, digits, _ = MEASURES[name]
    both = [(row, other, between(row, other, name)) for other, row in itertools.combinations(rows, 2)]
    tested = [(row, other, difference) for row, other, difference in both if difference]
    parts = []
    for (row, other, difference), seen in zip(tested, holm([d.p for *_, d in tested]), strict=True):
        if seen:
            mean, low, high = (value * scale / 100 for value in (difference.points, *difference.interval))
            parts.append(f"{row.label} over {other.label} {mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]")
    return f"{heading}: {'; '.join(parts) or 'all differences are within the noise'}." if tested else ""


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Return rows from the plainest method to the fullest."""
    rank = {name: place for place, name in enumerate(known_methods)}
    return sorted(rows, key=lambda row: rank.get(row.method, len(rank)))


def holm_words(count: int) -> str:
    """Say that verdicts depend on the number of pairs."""
    return f"Holm's procedure corrects the verdicts for {count} pairs; the intervals are not corrected."


def notes(rows: Sequence[Row]) -> list[str]:
    """Return sentences on what counts once, what counts in no mean, and runs of different machines or versions."""
    sentences = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        sentences += [
            f"{dataset}: {row.label}, {seed_words(row.repeated)}: several runs of one recipe; the first counts."
            for row in own
            if row.repeated
        ]
        alone = [row.label for row in own if row.apart]
        if alone:
            verb = "is not a seed of its recipe, so it counts" if len(alone) == 1 else "are not seeds, so they count"
            sentences.append(f"{dataset}: {', '.join(alone)} {verb} in no mean and no comparison.")
        machines = dict.fromkeys(machine for row in own for machine in row.machines)
        if len(machines) > 1:
            sentences.append(f"{dataset}: the runs come from different devices or versions: {'; '.join(machines)}.")
    return sentences
