"""A race in words: what its end says, how little one seed proves, and its code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from amkd_viz.objectives import READING_OF_AMKD
from amkd_viz.panels.run_log import RunLog
from amkd_viz.panels.slice_maps import maps_code
from amkd_viz.runs import Race, reading, table
from amkd_viz.runs.groups import apart
from amkd_viz.training import Recipe
from amkd_viz.views.comparison import NAMES
from amkd_viz.views.labels import percent, safe

__all__ = ["best", "code_of", "note_words", "result_table", "verdict"]


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


def result_table(race: Race, logs: Mapping[str, RunLog], teacher_accuracy: float) -> str:
    """Return an HTML table of test accuracy, agreement and cost, and what a comparison says of one seed."""
    head = ["method", NAMES["test_accuracy"], NAMES["test_agreement"], "a step takes, ms"]
    rows = []
    for name, run in race.runs.items():
        summary, cost = run.summary, f"{1000 * logs[name].step_seconds:.1f}"
        label = f"{name} ({marks})" if (marks := apart(run)) else name
        rows.append([label, percent(summary.get("test_accuracy")), percent(summary.get("test_agreement")), cost])
    rows.append(["teacher", percent(teacher_accuracy), "", ""])
    top = "".join(f"<th>{h}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    sentences = [sentence.partition(": ")[2] for sentence in reading(table(list(race.runs.values())))]
    sentences += [READING_OF_AMKD] if any(name.startswith("amkd") for name in race.runs) else []
    below = "".join(f"<li>{safe(sentence)}</li>" for sentence in sentences)
    return f"<table class='amkd-table'><tr>{top}</tr>{body}</table><ul>{below}</ul>"


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
