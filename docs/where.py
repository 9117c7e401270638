"""The results of the study (benchmarks/results/study_LEVEL.json) in plain words, for the page "Where AMKD helps"."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
    first, last = found["seeds"]
    methods = ("ce", "kd", "bss", "amkd", "bss-leap", "amkd-leap")
    head = ["data", "labels per class", "student", *(f"`{method}`" for method in methods)]
    rows = [head, ["---"] * len(head)]
    for own in found["regimes"].values():
        means = [f"{mean:.1f} ± {sd:.1f}" for mean, sd in (own["test"][method] for method in methods)]
        rows.append([own["data"].partition(":")[0], f"{own['labels_per_class']:.3g}", own["student"], *means])
    about, command = found["versions"], found["command"].partition(" --only")[0]
    return "\n\n".join(
        [
            f"`{command}`: {found['cells']} cells, test accuracy in % over seeds {first} to {last}; torch "
            f"{about['torch']}, Python {about['python']}, {about['device']}.",
            "\n".join(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def section(found: Mapping[str, Any]) -> str:
    """Return what the study found, as Markdown: per regime a table of means, and a sentence per difference."""
    first, last = found["seeds"]
    about = found["versions"]
    parts = [
        f"`{found['command']}`: {found['cells']} cells, test accuracy over seeds {first} to {last}; "
        f"torch {about['torch']}, Python {about['python']}, {about['device']}. Differences are paired by seed, with "
        "95 % intervals; *shown*: Holm's procedure over the differences of a regime tells this one from 0."
    ]
    return "\n\n".join([*parts, *(part for name, own in found["regimes"].items() for part in _regime(name, own))])


def _regime(name: str, own: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield (
        f"{own['data']}, {own['labels']} labels ({own['labels_per_class']:.0f} per class), student {own['student']}. "
        "Each candidate has the weights that its trials on the validation split chose:"
    )
    rows = [f"| `{c}` | {mean:.2f} ± {sd:.2f} |" for c, (mean, sd) in own["test"].items()]
    yield "\n".join(["| candidate | test accuracy % |", "| --- | --- |", *rows])
    lines = []
    for pair, tested in own["points"].items():
        points, low, high = tested["difference"]
        verdict = "shown" if tested["shown"] else "no difference is visible"
        lines.append(f"- {pair}: {points:+.2f} [{low:.2f}, {high:.2f}] points, {verdict}.")
    yield "\n".join(lines)
