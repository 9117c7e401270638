"""Methods side by side: every seed a dot, mean and standard deviation beside it, the teacher as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from amkd_viz.core.errors import InputError
from amkd_viz.runs.table import groups
from amkd_viz.views.labels import mean_sd, percent, safe
from amkd_viz.views.layout import blank
from amkd_viz.views.short import short, short_files
from amkd_viz.views.theme import LIGHT, method_colours
from amkd_viz.views.view import View

if TYPE_CHECKING:
    from amkd_viz.runs import Run

__all__ = ["compare"]

ROW = 46  # pixels per method

NAMES = {"test_accuracy": "test accuracy", "test_agreement": "agreement with the teacher"}


def compare(runs: Sequence[Run], number: str = "test_accuracy") -> View:
    """Draw one row per method: seeds as dots, their mean as a bar, one standard deviation to each side as a line.

    Args:
        runs: finished runs of one data set.
        number: a share in the run's summary, "test_accuracy" (last epoch) or "test_agreement".

    Returns:
        arrays ``METHOD`` (seeds,), shares in [0, 1]; notes ``METHOD.mean``, ``METHOD.sd`` (None for one seed) and
        ``teacher``, the accuracy of the one teacher (None where there are several).

    Raises:
        InputError: no run has the number.
    """
    values: dict[str, list[tuple[int, float]]] = {}
    teachers: dict[str, dict[float, str]] = {}  # label -> test accuracy -> name
    found = groups(runs)
    colours = method_colours({label: own[0].recipe.method for label, own in found.items()})
    names, key = short(found)
    files = short_files(run.recipe.teacher for run in runs)
    for label, own in found.items():
        for run in own:
            summary = run.summary
            if summary.get(number) is not None:
                values.setdefault(label, []).append((run.recipe.seed, float(summary[number])))
                share = summary.get("teacher_test_accuracy") if number == "test_accuracy" else None
                if share is not None:
                    teachers.setdefault(label, {})[share] = files[run.recipe.teacher]
    if not values:
        raise InputError(f"None of the runs has {number}; finish one first.")
    every = {share: name for own in teachers.values() for share, name in own.items()}
    teacher = next(iter(every)) if len(every) == 1 else None

    figure = blank(height=ROW * len(values) + 84, showlegend=False, margin={"t": 30, "b": 46, "l": 10, "r": 142})
    notes: dict[str, Any] = {"teacher": teacher}
    for row, (method, pairs) in enumerate(values.items()):
        shares = 100 * np.array([share for _, share in pairs])
        mean, sd = shares.mean(), shares.std(ddof=1) if len(shares) > 1 else None
        notes |= {f"{method}.mean": mean / 100, f"{method}.sd": None if sd is None else sd / 100}
        colour = colours[method]
        if sd is not None:
            ends, line = {"x0": mean - sd, "x1": mean + sd, "y0": row, "y1": row}, {"color": colour, "width": 2}
            figure.add_shape(type="line", line=line, **ends)
        figure.add_shape(_upright(mean, row, 0.3, colour, 4))
        figure.add_scatter(
            x=shares,
            y=row + 0.09 * (np.arange(len(shares)) - (len(shares) - 1) / 2),  # equal values stay apart
            mode="markers",
            marker={"size": 9, "color": colour, "line": {"color": LIGHT.paper, "width": 1.2}},
            text=[f"seed {seed}" for seed, _ in pairs],
            hovertemplate=f"{safe(names[method])}, %{{text}}: %{{x:.2f}} %<extra></extra>",
        )
        right = {"x": 1, "xref": "x domain", "xanchor": "left", "xshift": 12, "showarrow": False}
        figure.add_annotation(text=f"<b>{mean_sd(mean, sd)}</b> %", y=row, font={"size": 14}, **right)
    figure.update_yaxes(
        tickvals=list(range(len(values))),
        ticktext=[f"<b>{safe(names[method])}</b>" for method in values],
        tickfont={"size": 14, "color": LIGHT.ink},
        range=[len(values) - 0.4, -0.6],
        showgrid=False,
    )
    figure.update_xaxes(title=f"{NAMES.get(number, safe(number))}, % of test, last epoch")
    if teacher is not None:
        figure.add_vline(100 * teacher, line={"color": LIGHT.ink, "width": 1.2})
        text = f"teacher {percent(teacher, 2)}"
        figure.add_annotation(x=100 * teacher, y=1, yref="y domain", yanchor="bottom", text=text, showarrow=False)
    else:  # one line each, only where its students are
        for row, method in enumerate(values):
            for share in teachers.get(method, {}):
                figure.add_shape(_upright(100 * share, row, 0.45, LIGHT.ink, 1.2))
    seeds = max(map(len, values.values()))
    spread = ", bars are means, lines one standard deviation to each side" if seeds > 1 else ""
    return View(
        figure,
        {method: np.array([share for _, share in pairs]) for method, pairs in values.items()},
        notes,
        f"Dots are seeds{spread}. {_teachers(every)}The axis does not start at 0. {key}".strip(),
        f"Methods by {NAMES.get(number, number)}",
    )


def _upright(x: float, row: int, half: float, colour: str, width: float) -> dict[str, Any]:
    line = {"color": colour, "width": width}
    return {"type": "line", "x0": x, "x1": x, "y0": row - half, "y1": row + half, "line": line}


def _teachers(teachers: Mapping[float, str]) -> str:
    """Return what the thin lines are if there are several teachers."""
    if len(teachers) < 2:
        return ""
    names = [f"{name} {percent(share, 2)}" for share, name in sorted(teachers.items())]
    return f"The students have {len(teachers)} teachers; the thin line in each row is its own: {', '.join(names)}. "
