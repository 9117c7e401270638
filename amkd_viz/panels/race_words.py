"""A race in words: what its end says, how little one seed proves, and its code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from amkd_viz.objectives import READING_OF_AMKD
from amkd_viz.panels.run_log import RunLog
from amkd_viz.panels.slice_maps import maps_code
from amkd_viz.runs import Race, Row, reading, table
from amkd_viz.runs.groups import apart
from amkd_viz.runs.table import between, pairs
from amkd_viz.training import Recipe
from amkd_viz.views.comparison import NAMES
from amkd_viz.views.labels import mean_sd, percent, safe

__all__ = ["best", "code_of", "note_words", "result_table", "seed_table", "verdict", "winner"]


def best(race: Race) -> list[str]:
    """Return the methods with the highest test accuracy after the last epoch: several if they are level."""
    scores = _scores(race)
    return [name for name, score in scores.items() if score == max(scores.values())]


def note_words(notes: Iterable[str]) -> str:
    """Return notes as HTML, each once."""
    return "".join(f"<p class='amkd-note'>{safe(note)}</p>" for note in dict.fromkeys(notes))


def verdict(race: Race, count: int) -> str:
    """Return a sentence on who was best, and by how many of ``count`` test samples."""
    scores, first = _scores(race), best(race)
    others = [score for name, score in scores.items() if name not in first]
    top = percent(scores[first[0]])
    if len(scores) == 1:
        return f"{first[0]} alone: {top} of the {count:,} test samples right."
    if not others:
        return f"All level: {top} of the {count:,} test samples right."
    more = round((scores[first[0]] - max(others)) * count)
    who = f"{first[0]} is ahead" if len(first) == 1 else f"{' and '.join(first)} are level, ahead"
    return f"{who}: {top} of test, {more:,} of {count:,} samples more than the next."


def result_table(
    race: Race, logs: Mapping[str, RunLog], teacher_accuracy: float, rows: Sequence[Row] | None = None
) -> str:
    """Return an HTML table of test accuracy, agreement and cost, and what a comparison says of one seed, or of the
    ``rows`` of several."""
    head = ["method", NAMES["test_accuracy"], NAMES["test_agreement"], "a step takes, ms"]
    body = []
    for name, run in race.runs.items():
        summary, cost = run.summary, f"{1000 * logs[name].step_seconds:.1f}"
        label = f"{name} ({marks})" if (marks := apart(run)) else name
        body.append([label, percent(summary.get("test_accuracy")), percent(summary.get("test_agreement")), cost])
    body.append(["teacher", percent(teacher_accuracy), "", ""])
    compared = reading(table(list(race.runs.values())) if rows is None else rows)
    sentences = [sentence.partition(": ")[2] for sentence in compared]
    sentences += [READING_OF_AMKD] if any(name.startswith("amkd") for name in race.runs) else []
    below = "".join(f"<li>{safe(sentence.replace(' -', ' −'))}</li>" for sentence in sentences)
    return f"{_html_table(head, body)}<ul>{below}</ul>"


def winner(rows: Sequence[Row]) -> str:
    """Return one sentence: which method wins over the seeds that all have, or that the seeds do not tell; "" for fewer
    than two.

    A method wins if it is ahead of each other one beyond the noise, by Holm's procedure over all pairs.
    """
    rows = [row for row in rows if "test_accuracy" in row.values]
    count = len(set.intersection(*(set(row.values["test_accuracy"]) for row in rows)))
    if count < 2:
        return ""
    first = max(rows, key=lambda row: row.numbers["test_accuracy"][0])
    leads = []
    for pair in pairs(rows):
        if first in (pair.row, pair.other):
            sign = 1 if pair.row is first else -1
            low, high = sorted(sign * bound for bound in pair.difference.interval) if pair.difference else (0.0, 0.0)
            words = f"{sign * pair.points:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"
            other = pair.other if pair.row is first else pair.row
            leads.append((pair.seen, other.label, words if pair.difference else "the seeds do not vary"))
    unseen = [f"{label} ({words})" for seen, label, words in leads if not seen]
    if unseen:
        return (
            f"{count} seeds do not tell which method wins: {first.label} has the highest mean, but its lead over "
            f"{' and '.join(unseen)} is within the noise."
        )
    over = " and ".join(f"{label} ({words})" for _, label, words in leads)
    return f"{first.label} wins over {count} seeds: it is ahead of {over}."


def seed_table(race: Race, rows: Sequence[Row], count: int) -> str:
    """Return an HTML table: the test accuracy of each of ``count`` seeds, its mean, and the paired difference from the
    first method; a dash where a student is still to be trained."""
    seeds = range(race.recipe.seed, race.recipe.seed + count)
    own = {row.label: row for row in rows}
    first = next(iter(race.runs))
    head = ["method", *(f"seed {seed}" for seed in seeds), "mean ± sd", f"minus {first}, 95 % interval"]
    body = []
    for name in race.runs:
        row = own.get(name)
        by_seed = {seed: value for (seed, _), value in row.values["test_accuracy"].items()} if row else {}
        cells = [percent(by_seed[seed]) if seed in by_seed else "—" for seed in seeds]
        mean, sd = row.numbers["test_accuracy"] if row else (math.nan, None)
        difference = between(row, own[first]) if row and name != first and first in own else None
        low, high = difference.interval if difference else (0.0, 0.0)
        apart_from_first = f"{difference.points:+.1f} [{low:+.1f}, {high:+.1f}]" if difference else ""
        body.append([name, *cells, mean_sd(100 * mean, None if sd is None else 100 * sd), apart_from_first])
    return _html_table(head, body)


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{safe(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table class='amkd-table'><tr>{top}</tr>{body}</table>"


def _scores(race: Race) -> dict[str, float]:
    return {name: run.summary.get("test_accuracy") or 0.0 for name, run in race.runs.items()}


def code_of(
    recipe: Recipe,
    methods: Sequence[str],
    overrides: Mapping[str, Any],
    resolution: int,
    race: Race | None = None,
    epoch: int | None = None,
) -> str:
    """Return the code of a race; of one with logged overrides, also the code that makes them again.

    Args:
        resolution: of its maps.
        race: where it has begun. epoch: of the students on its maps, by default the last.
    """
    given, passed = (f"overrides = {dict(overrides)!r}\n", ", overrides=overrides") if overrides else ("", "")
    replayed = ""
    if race is not None and any(run.interventions() for run in race.runs.values()):
        replayed = (
            "\n# the same race with the overrides that were made by hand, at the same batches:\n"
            f"race = Race.open({str(race.path.resolve())!r}).replay()\nrace.resume()\nrace.wait()\n"
        )
    imports, drawn = maps_code(recipe, resolution)
    which = "" if epoch is None else epoch
    return (
        "from amkd_viz import Recipe, views\n"
        f"{imports}"
        "from amkd_viz.runs import Race, compare, format_table, fresh_folder, reading, table\n\n"
        f"recipe = {recipe!r}\n"
        f"methods = {list(methods)!r}\n"
        f"{given}\n"
        f"race = Race.create(recipe, methods{passed})\n"
        "race.resume()\n"
        "race.wait()\n"
        f"{replayed}"
        "print({method: run.summary['test_accuracy'] for method, run in race.runs.items()})\n\n"
        "run = next(iter(race.runs.values()))\n"
        "data, teacher = run.dataset(), run.teacher()\n"
        f'nets = {{"teacher": teacher}} | {{method: run.student({which}) for method, run in race.runs.items()}}\n'
        f"{drawn}\n"
        "# One seed proves little. Five of them, with their spread:\n"
        f"runs = compare(recipe, methods, seeds=5, out=fresh_folder(recipe){passed})\n"
        "print(format_table(table(runs)), *reading(table(runs)), sep='\\n')\n"
        "views.compare(runs)\n"
    )
