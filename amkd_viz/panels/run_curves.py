"""A run's log as curves: each loss term, each metric, and what a person changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amkd_viz.panels.curve_canvas import Curve, CurveCanvas
from amkd_viz.views.curves import heading, ordered, series
from amkd_viz.views.theme import method_colour

__all__ = ["log_text", "show_curves"]

Lines = Sequence[dict[str, Any]]


def show_curves(
    canvas: CurveCanvas, name: str, method: str, lines: Lines, end: int, others: Mapping[str, tuple[str, Lines]] = {}
) -> None:
    """Draw a run's lines of metrics.jsonl, and faintly those of others.

    Args:
        name, method: of the run. end: its last epoch.
        others: name -> (method, lines).
    """
    runs = {name: (method, lines, False)} | {n: (m, own, True) for n, (m, own) in others.items() if n != name}
    read = {n: (m, series(epochs_of(own)), faint) for n, (m, own, faint) in runs.items()}
    axes, curves = [], []
    for number, panel in enumerate(ordered(key for _, own, _ in read.values() for key in own)):
        words, unit, factor = heading(panel)
        axes.append((words, unit))
        for label, (kind, own, faint) in sorted(read.items(), key=lambda item: not item[1][2]):
            points = [(epoch, value * factor) for epoch, value in own.get(panel, [])]
            if points:
                curves.append(Curve(number, label, points, method_colour(kind), faint=faint))
    canvas.show(axes, curves, interventions_of(lines), end)


def epochs_of(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("kind", "epoch") == "epoch"]


def interventions_of(lines: Lines) -> list[tuple[float, str]]:
    """(epoch, words) of what was changed by hand."""
    return [
        (float(line["epoch"]), ", ".join(f"{n} → {v:g}" if isinstance(v, float) else f"{n} → {v}" for n, v in changes))
        for line in lines
        if line.get("kind") == "intervention" and (changes := line["changes"].items())
    ]


def log_text(lines: Lines, most: int = 200) -> str:
    """The newest lines of a run's log as a person reads them, newest first."""
    told = []
    for line in lines[-most:]:
        kind = line.get("kind", "epoch")
        if kind == "epoch":
            terms = "  ".join(f"{name} {value:.3f}" for name, value in (line.get("terms") or {}).items())
            accuracy = line.get("val_accuracy")
            shown = f"  validation {100 * accuracy:.1f} %" if accuracy is not None else ""
            speed = f"  {line['images_per_s']:,.0f} images/s" if line.get("images_per_s") else ""
            told.append(f"epoch {line['epoch']}: {terms}{shown}{speed}")
        elif kind == "intervention":
            words = ", ".join(f"{name} → {value}" for name, value in line["changes"].items())
            told.append(f"you: {words} (epoch {line['epoch']}, batch {line['batch']})")
        else:
            told.append(f"{kind}: {line.get('text', '')}")
    return "\n".join(reversed(told))
