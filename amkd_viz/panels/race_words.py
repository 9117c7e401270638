"""What the end of a race says, and how little that is."""

from __future__ import annotations

import html

from amkd_viz.runs import Race, Row, reading
from amkd_viz.views.comparison import NAMES
from amkd_viz.views.labels import percent

__all__ = ["best", "differences", "result_table", "verdict"]


def best(race: Race) -> list[str]:
    """The methods with the highest test accuracy of the last epoch: several, if they are level."""
    scores = {name: summary["test_accuracy"] for name, summary in race.summaries.items()}
    return [name for name, score in scores.items() if score == max(scores.values())]


def verdict(race: Race) -> str:
    """Who was best, and by how many test samples."""
    scores = {name: summary["test_accuracy"] for name, summary in race.summaries.items()}
    first, count = best(race), len(race.first.dataset.test)
    others = sorted((s for name, s in scores.items() if name not in first), reverse=True)
    top = percent(scores[first[0]])
    if len(scores) == 1:
        told = f"{first[0]} alone: {top} of the {count:,} test samples right."
    elif not others:
        told = f"All level: {top} of the {count:,} test samples right."
    else:
        more = round((scores[first[0]] - others[0]) * count)
        who = f"{first[0]} is ahead" if len(first) == 1 else f"{' and '.join(first)} are level, ahead"
        told = f"{who}: {top} of test, {more:,} of {count:,} samples more than the next."
    return told


def differences(race: Race) -> list[str]:
    """Each method against the one that it builds on, in the words of ``training.reading``."""
    rows = [
        Row(race.recipe.dataset, name, (race.recipe.seed,), {"test_accuracy": (summary["test_accuracy"], None)})
        for name, summary in race.summaries.items()
    ]
    return [sentence.partition(": ")[2] for sentence in reading(rows)]


def result_table(race: Race, teacher_accuracy: float) -> str:
    """Test accuracy and agreement of each method, as an HTML table; the teacher's own beneath."""
    cost = race.step_seconds()
    head = ["method", f"{NAMES['test_accuracy']}", NAMES["test_agreement"], "a step takes, ms"]
    rows = [
        [name, percent(s["test_accuracy"]), percent(s.get("test_agreement")), f"{1000 * cost[name]:.1f}"]
        for name, s in race.summaries.items()
    ]
    rows.append(["teacher", percent(teacher_accuracy), "", ""])
    top = "".join(f"<th>{h}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table class='amkd-table'><tr>{top}</tr>{body}</table>"
