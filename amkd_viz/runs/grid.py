"""Train several methods with several seeds, and compare them in a table."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim
from amkd_viz.objectives import baseline
from amkd_viz.objectives import methods as known_methods
from amkd_viz.runs.recording import distill
from amkd_viz.runs.run import Run
from amkd_viz.runs.sound import sound
from amkd_viz.runs.stats import Difference, difference
from amkd_viz.training.events import Event
from amkd_viz.training.prepare import prepare
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training

__all__ = [
    "COLUMNS",
    "Row",
    "between",
    "compare",
    "entrants",
    "format_table",
    "groups",
    "reading",
    "table",
]


@dataclass(frozen=True)
class Row:
    """One recipe over its seeds: numbers of the last epoch, name -> (mean, sd); sd is None for a single seed.

    ``test_accuracy``, ``test_agreement`` (with the teacher), ``magsim`` and ``angsim`` are shares; seconds are those
    of training. ``label`` is the method, with what tells it from other recipes of that method.
    """

    dataset: str
    method: str
    seeds: tuple[int, ...]
    numbers: dict[str, tuple[float, float | None]]
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.method)


# number -> heading, scale, digits
COLUMNS: dict[str, tuple[str, float, int]] = {
    "test_accuracy": ("test accuracy %", 100, 2),
    "test_agreement": ("agreement %", 100, 2),
    "magsim": ("MagSim", 1, 3),
    "angsim": ("AngSim", 1, 3),
    "train_seconds": ("seconds", 1, 1),
}


def compare(
    recipe: Recipe,
    methods: Sequence[str],
    seeds: int,
    out: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    listen: Callable[[Event], None] | None = None,
) -> list[Run]:
    """Train ``recipe`` by each method with seeds 0 .. seeds - 1, each into its own folder ``out/METHOD-seedK``.

    Data and teacher are shared.

    Args:
        overrides: of terms, by default those of ``recipe``; each goes to the methods that have its term.

    Raises:
        InputError: an unknown method, one named twice or none, no seed, a change that no method has a term for, or a
            folder that holds something already.
    """
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}.")
    recipe.check_nets()
    own_recipes = entrants(recipe, methods, overrides)
    check_writable(claim(Path(out)))
    runs: list[Run] = []
    like: Training | None = None
    for method, recipe_of_method in own_recipes.items():
        for seed in range(seeds):
            own = recipe_of_method.replace(seed=seed)
            like = prepare(own, like, listen)
            runs.append(distill(own, Path(out) / f"{method}-seed{seed}", listen=listen, training=like))
    return runs


def entrants(recipe: Recipe, methods: Sequence[str], overrides: Mapping[str, Any] | None = None) -> dict[str, Recipe]:
    """Return the recipe of each method, by name; overrides go to the methods that have the term.

    Raises:
        InputError: an unknown method, one named twice or none, or a change that no method has a term for.
    """
    if not methods or len(set(methods)) < len(methods):
        raise InputError(
            f"methods must name one or more, each once, not {','.join(methods)!r}; allowed: {', '.join(known_methods)}."
        )
    overrides = recipe.overrides if overrides is None else overrides
    found = {}
    for method in methods:
        terms = known_methods[method]().names
        own_changes = {
            name: value for name, value in overrides.items() if name.partition(".")[0] in {*terms, recipe.sampler}
        }
        found[method] = recipe.replace(method=method, overrides=own_changes)
    idle = [name for name in overrides if not any(name in own.overrides for own in found.values())]
    if idle:
        raise InputError(f"None of {', '.join(methods)} has the term of {idle[0]}; leave it out or add such a method.")
    return found


def groups(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs of one data set that differ only in the seed, by label, in the order of first appearance.

    The label is the method, with what differs in brackets where a method has several settings.
    """
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(run.recipe.replace(seed=0).hash, []).append(run)
    firsts = [own[0].recipe for own in alike.values()]
    found = {}
    for own in alike.values():
        recipe = own[0].recipe
        setting = _setting(recipe, [other for other in firsts if other.method == recipe.method])
        found[f"{recipe.method} ({setting})" if setting else recipe.method] = own
    return found


def table(runs: Sequence[Run]) -> list[Row]:
    """Return one row for each group of runs that differ only in the seed, in the order of first appearance.

    A warning names each run that cannot be read and is left out.

    Raises:
        InputError: none of the runs can be read.
    """
    runs, left_out = sound(runs)
    if left_out and not runs:
        raise InputError(left_out[0])
    for sentence in left_out:
        warnings.warn(sentence, stacklevel=2)
    rows = []
    for dataset in dict.fromkeys(run.recipe.dataset for run in runs):
        for label, own in groups([run for run in runs if run.recipe.dataset == dataset]).items():
            summaries: list[dict[str, Any]] = [run.summary for run in own]
            numbers = {}
            for name in COLUMNS:
                values = [s[name] for s in summaries if s.get(name) is not None]
                if values:
                    numbers[name] = (statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
            seeds = tuple(run.recipe.seed for run in own)
            rows.append(Row(dataset, own[0].recipe.method, seeds, numbers, label))
    return rows


def _setting(recipe: Recipe, others: Sequence[Recipe]) -> str:
    """Return, in words, what differs between a recipe and ``others``."""
    values = [{**other.to_json(), **other.overrides} for other in others]
    own = {**recipe.to_json(), **recipe.overrides}
    names = [name for name in dict.fromkeys(key for v in values for key in v) if name not in ("seed", "overrides")]
    return ", ".join(f"{n}={own.get(n, 'default')}" for n in names if len({repr(v.get(n)) for v in values}) > 1)


def format_table(rows: Sequence[Row]) -> str:
    """Return the table as text, one line per method.

    >>> print(format_table([Row("digits", "kd", (0, 1), {"test_accuracy": (0.9312, 0.004), "train_seconds": (2, 1)})]))
    digits, last epoch, mean ± sd over seeds 0, 1
    method  test accuracy %  agreement %  MagSim  AngSim  seconds
    kd      93.12 ± 0.40     -            -       -       2.0 ± 1.0
    """
    blocks = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        over = "mean ± sd over seeds" if len(own[0].seeds) > 1 else "seed"
        lines = [f"{dataset}, last epoch, {over} {', '.join(map(str, own[0].seeds))}"]
        cells = [["method", *(head for head, _, _ in COLUMNS.values())]]
        cells += [
            [_name(row, own[0]), *(_cell(row.numbers.get(name), *COLUMNS[name][1:]) for name in COLUMNS)] for row in own
        ]
        widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
        lines += ["".join(f"{c:{w}s}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _name(row: Row, first: Row) -> str:
    """The row's label, with its seeds where they are not those of the heading."""
    seeds = f"seed{'s' if len(row.seeds) > 1 else ''} {', '.join(map(str, row.seeds))}"
    return row.label if row.seeds == first.seeds else f"{row.label}, {seeds}"


def _cell(number: tuple[float, float | None] | None, scale: float, digits: int) -> str:
    if number is None:
        return "-"
    mean, sd = number
    return f"{mean * scale:.{digits}f}" + (f" ± {sd * scale:.{digits}f}" if sd is not None else "")


def reading(rows: Sequence[Row]) -> list[str]:
    """Return sentences that compare the accuracy of each method with that of its ``baseline``.

    A difference counts as seen when its 95 % interval by Welch's t-test leaves out 0. With three seeds each that is
    some 2.8 to 4.3 standard errors, not two.
    """
    sentences = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = {row.label: row for row in rows if row.dataset == dataset}  # several settings of a method: no sentence
        for method in own:
            simpler = baseline(method) if method in known_methods else None  # a label may name several settings
            if simpler in own:
                sentences.append(f"{dataset}: {_difference(own[method], own[simpler])}")
    return sentences


def _difference(row: Row, other: Row) -> str:
    points = 100 * (row.numbers["test_accuracy"][0] - other.numbers["test_accuracy"][0])
    text = f"{row.method} against {other.method} {points:+.2f} points of test accuracy"
    found = between(row, other)
    if found is None:
        return text + ", from one seed: no statement about noise."
    low, high = found.interval
    verdict = "seen beyond the noise" if found.seen else "within the noise"
    return f"{text}, 95 % interval {low:+.2f} to {high:+.2f}: {verdict}."


def between(row: Row, other: Row) -> Difference | None:
    """Return the difference of two rows' test accuracies, or None if one of them has a single seed."""
    (mean, sd), (other_mean, other_sd) = row.numbers["test_accuracy"], other.numbers["test_accuracy"]
    if sd is None or other_sd is None:
        return None
    return difference(mean, sd, len(row.seeds), other_mean, other_sd, len(other.seeds))
