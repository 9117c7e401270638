"""The results of the study (benchmarks/results/study_LEVEL.json) in plain words, for the page "Where AMKD helps"."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from amkd_viz.views import Regime, View, regimes

__all__ = ["gains", "mapped", "pairs", "results", "section", "view"]

RESULTS = Path(__file__).parent.parent / "benchmarks/results"


def results(level: str) -> dict[str, Any]:
    """Return the analysis of a level of the study."""
    found: dict[str, Any] = json.loads((RESULTS / f"study_{level}.json").read_text(encoding="utf-8"))
    return found


def pairs(found: Mapping[str, Any]) -> list[str]:
    """Return the differences that were tested in the first regime, such as "bss - kd"."""
    return list(next(iter(found["regimes"].values()))["points"])


def gains(found: Mapping[str, Any], pair: str) -> list[Regime]:
    """Return the gain ``pair`` ("bss - kd") in each regime that has it; "best - bss" is the leading reading's."""
    cells = []
    for own in found["regimes"].values():
        name = pair.replace("best", own["readings"][0]) if own["readings"] else pair
        if (tested := own["points"].get(name)) is not None:
            interval = tested["difference"]
            cells.append(Regime(own["data"], own["student"], own["labels_per_class"], *interval, tested["shown"]))
    return cells


def view(found: Mapping[str, Any], pair: str = "bss - kd") -> View:
    """Draw one difference over all regimes."""
    return regimes(gains(found, pair), pair)


def mapped(found: Mapping[str, Any]) -> str:
    """Return the map of the study as Markdown: a row per regime, with means and differences."""
    methods = ("ce", "kd", "bss", "amkd", "bss-leap", "amkd-leap")
    head = ["data", "labels per class", "student", *(f"`{method}`" for method in methods)]
    rows = [head, ["---"] * len(head)]
    for own in found["regimes"].values():
        means = [f"{mean:.1f} ± {sd:.1f}" for mean, sd in (own["test"][method] for method in methods)]
        rows.append([own["data"].partition(":")[0], f"{own['labels_per_class']:.3g}", own["student"], *means])
    return "\n\n".join(
        [
            _about(found, found["command"].partition(" --only")[0]),  # which would be a list of 21 names
            _lines(rows),
        ]
    )


def section(found: Mapping[str, Any]) -> str:
    """Return what the study found, as Markdown: a table of means and one of differences, a column per regime."""
    own = found["regimes"]
    regimes = "; ".join(
        f"{name}: {row['labels_per_class']:.0f} labels per class, student {row['student']}" for name, row in own.items()
    )
    text = (
        f"{_about(found, found['command'])} {regimes}. "
        "Each candidate has the weights that its trials on the validation split chose."
    )
    differences = (
        "Differences in points, paired by seed, with 95 % intervals. **Bold: shown**, Holm's procedure over the "
        "differences of a regime tells it from 0. Otherwise no difference is visible."
    )
    means = _table("candidate", {name: row["test"] for name, row in own.items()}, "{0[0]:.2f} ± {0[1]:.2f}".format)
    apart = _table("difference", {name: row["points"] for name, row in own.items()}, _difference)
    return "\n\n".join([text, means, differences, apart])


def _difference(tested: Mapping[str, Any]) -> str:
    words = "{:+.2f} [{:.2f}, {:.2f}]".format(*tested["difference"])
    return f"**{words}**" if tested["shown"] else words


def _table(title: str, columns: Mapping[str, Mapping[str, Any]], words: Callable[[Any], str]) -> str:
    """Return a Markdown table with a row for each key of any column; a cell that a column lacks stays empty."""
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    rows = [[title, *columns], ["---"] * (1 + len(columns))]
    rows += [[key, *(words(c[key]) if key in c else "" for c in columns.values())] for key in keys]
    return _lines(rows)


def _about(found: Mapping[str, Any], command: str) -> str:
    """Return the sentence that says how the numbers were made."""
    (first, last), versions = found["seeds"], found["versions"]
    return (
        f"`{command}`: {found['cells']} cells, test accuracy in % over seeds {first} to {last}; "
        f"torch {versions['torch']}, Python {versions['python']}, {versions['device']}."
    )


def _lines(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
