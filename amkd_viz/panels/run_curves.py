"""The log of a run as curves: each loss term, each metric, and the overrides."""

from __future__ import annotations

from collections.abc import Sequence

from amkd_viz.panels.curve_canvas import Curve
from amkd_viz.panels.run_log import RunLog
from amkd_viz.views.curves import heading, ordered, series
from amkd_viz.views.theme import method_colour

__all__ = ["run_curves"]


Marks = list[tuple[float, str]]


def run_curves(log: RunLog, others: Sequence[RunLog] = ()) -> tuple[list[tuple[str, str]], list[Curve], Marks, int]:
    """Return what ``CurveCanvas.show`` draws: the curves of ``log``, and faintly behind them those of ``others``."""
    logs = [log, *(other for other in others if other.run.path != log.run.path)]
    read = [(each, series(each.epochs)) for each in logs]
    axes, curves = [], []
    for number, panel in enumerate(ordered(key for _, curves_of in read for key in curves_of)):
        title, unit, factor = heading(panel)
        axes.append((title, unit))
        for each, curves_of in read:
            points = [(epoch, value * factor) for epoch, value in curves_of.get(panel, [])]
            if points:
                colour = method_colour(each.run.recipe.method)
                curves.append(Curve(number, each.run.path.name, points, colour, faint=each is not log))
    return axes, curves, log.marks(), log.run.recipe.epochs
