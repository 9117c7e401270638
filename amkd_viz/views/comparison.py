"""Methods side by side: every seed a dot, joined with those of the same seed, the teacher as a line."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from amkd_viz.core.errors import InputError
from amkd_viz.runs.groups import Draw, draw_of, groups
from amkd_viz.views.labels import mean_sd, percent, safe
from amkd_viz.views.layout import blank
from amkd_viz.views.short import WIDE, short, short_files
from amkd_viz.views.theme import LIGHT, method_colours
from amkd_viz.views.view import View

if TYPE_CHECKING:
    from amkd_viz.runs import Run

__all__ = ["compare"]

ROW = 46  # pixels per method

NAMES = {"test_accuracy": "test accuracy", "test_agreement": "agreement with the teacher"}


def compare(runs: Sequence[Run], number: str = "test_accuracy") -> View:
    """Draw one row per method: seeds as dots, their mean as a bar, thin lines between dots of the same seed.

    Args:
        runs: finished runs of one data set; see :func:`amkd_viz.runs.groups.groups` for what counts as a seed.
        number: a share in the run's summary, "test_accuracy" (last epoch) or "test_agreement".

    Returns:
        arrays ``METHOD`` (seeds,), shares in [0, 1]; notes ``METHOD.mean``, ``METHOD.sd`` (None for one seed) and
        ``teacher``, the accuracy of the one teacher (None where there are several).

    Raises:
        InputError: no run has the number.
    """
    found = groups(runs)
    values: dict[str, dict[Draw, float]] = {}
    teachers: dict[str, dict[str, list[float]]] = {}  # label -> name of the teacher -> its test accuracies
    files = short_files(run.recipe.teacher for run in runs)
    for label, group in found.items():
        for run in group.runs:
            summary = run.summary
            if summary.get(number) is not None:
                values.setdefault(label, {})[draw_of(run)] = float(summary[number])
                share = summary.get("teacher_test_accuracy") if number == "test_accuracy" else None
                if share is not None:
                    teachers.setdefault(label, {}).setdefault(files[run.recipe.teacher], []).append(share)
    if not values:
        raise InputError(f"None of the runs has {number}; finish one first.")
    colours = method_colours({label: group.method for label, group in found.items()})
    names, key = short(found, WIDE)
    every: dict[float, str] = {}  # mean test accuracy of the teachers of a row -> name
    for scores in teachers.values():
        every |= {float(np.mean(shares)): name for name, shares in scores.items()}
    teacher = next(iter(every)) if len(every) == 1 else None
    each = any(
        len(set(shares)) > 1 for scores in teachers.values() for shares in scores.values()
    )  # a teacher for each draw

    figure = blank(height=ROW * len(values) + 84, showlegend=False, margin={"t": 30, "b": 46, "l": 10, "r": 142})
    dots: dict[str, dict[Draw, tuple[float, float]]] = {}  # label -> draw -> place
    for row, (method, own) in enumerate(values.items()):
        apart = min(0.09, 0.6 / len(own))  # equal values stay apart
        dots[method] = {d: (100 * v, row + apart * (i - (len(own) - 1) / 2)) for i, (d, v) in enumerate(own.items())}
    joined = _joined([dots[method] for method in values if not found[method].apart])
    figure.add_scatter(x=joined[0], y=joined[1], mode="lines", line={"color": LIGHT.line, "width": 1}, hoverinfo="skip")
    notes: dict[str, Any] = {"teacher": teacher}
    for row, (method, places) in enumerate(dots.items()):
        shares = np.array([x for x, _ in places.values()])
        mean, sd = shares.mean(), shares.std(ddof=1) if len(shares) > 1 else None
        notes |= {f"{method}.mean": mean / 100, f"{method}.sd": None if sd is None else sd / 100}
        figure.add_shape(_upright(mean, row, 0.3, colours[method], 4))
        figure.add_scatter(
            x=shares,
            y=[y for _, y in places.values()],
            mode="markers",
            marker={"size": 9, "color": colours[method], "line": {"color": LIGHT.paper, "width": 1.2}},
            text=[f"seed {seed}" for seed, _ in places],
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
        text = f"{'mean of the teachers' if each else 'teacher'} {percent(teacher, 2)}"
        figure.add_annotation(x=100 * teacher, y=1, yref="y domain", yanchor="bottom", text=text, showarrow=False)
    else:  # one line each, only where its students are
        for row, method in enumerate(values):
            for accuracies in teachers.get(method, {}).values():
                figure.add_shape(_upright(100 * float(np.mean(accuracies)), row, 0.45, LIGHT.ink, 1.2))
    several = max(map(len, values.values())) > 1
    spread = ", bars are their means; the numbers are mean ± one standard deviation" if several else ""
    joining = (
        "A thin line joins the students of one seed, which start alike and see the same samples: compare methods "
        "along these lines, since a paired difference leaves out what all students of a seed share."
        if joined[0]
        else ""
    )
    return View(
        figure,
        {method: np.array(list(shares.values())) for method, shares in values.items()},
        notes,
        f"{key} Dots are seeds{spread}. The axis does not start at 0. {_teachers(every)}{joining}".strip(),
        f"Methods by {NAMES.get(number, number)}",
    )


def _joined(rows: Sequence[dict[Draw, tuple[float, float]]]) -> tuple[list[float | None], list[float | None]]:
    """Return x and y of lines between the dots of the same draw in adjacent rows."""
    x: list[float | None] = []
    y: list[float | None] = []
    for above, below in itertools.pairwise(rows):
        for draw in above.keys() & below.keys():
            x += [above[draw][0], below[draw][0], None]
            y += [above[draw][1], below[draw][1], None]
    return x, y


def _upright(x: float, row: int, half: float, colour: str, width: float) -> dict[str, Any]:
    line = {"color": colour, "width": width}
    return {"type": "line", "x0": x, "x1": x, "y0": row - half, "y1": row + half, "line": line}


def _teachers(teachers: Mapping[float, str]) -> str:
    """Return what the thin lines are if there are several teachers."""
    if len(teachers) < 2:
        return ""
    names = [f"{name} {percent(share, 2)}" for share, name in sorted(teachers.items())]
    return f"The students have {len(teachers)} teachers; the upright line in each row is its own: {', '.join(names)}. "
