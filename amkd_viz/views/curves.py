"""Training curves: every loss term and every metric on its own axes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import terms as known_terms
from amkd_viz.runs.groups import groups
from amkd_viz.views.labels import safe, value_words
from amkd_viz.views.layout import LEAST, axes, keep
from amkd_viz.views.short import short
from amkd_viz.views.theme import LIGHT, method_colours, template
from amkd_viz.views.view import View

if TYPE_CHECKING:
    from amkd_viz.runs import Run

__all__ = ["METRICS", "MOST_POINTS", "curves", "heading", "ordered", "series"]

MOST_POINTS = 500  # of a curve: more cannot be seen, and each is sent again with every update
ROW = 218  # pixels a row of axes
HEADING = 22  # letters of a heading's line: more are cut at the right where four axes share 850 pixels
LINE = 16  # pixels of one more line

METRICS = {
    "val_accuracy": ("validation accuracy", "% of validation", 100),
    "val_agreement": ("agreement with the teacher", "% of validation", 100),
    "triplet.active": ("active triplets", "% of triplets", 100),
    "boundary.kl": ("KL at the boundary", "nats", 1),
    "attack.gap": ("two largest probabilities apart", "% at boundary samples", 100),
    "boundary.student_flipped": ("student also crosses", "% of boundary samples", 100),
}

Series = dict[str, list[tuple[int, float]]]


def curves(runs: Run | Sequence[Run], *, metrics: Sequence[str] | None = None, columns: int = 4) -> View:
    """Draw one small plot per loss term (unweighted) and metric; a thin line per run, a strong one for the mean.

    Changes made by hand during a run are vertical lines with their values.

    Args:
        runs: of one data set; colour is the method.
        metrics: names from the run's log to show besides the terms; by default those in ``METRICS`` that occur.
        columns: plots per row.

    Returns:
        arrays ``LABEL.NAME`` (epochs, 2) of epoch and mean over runs, at most 500 rows; notes ``runs``.

    Raises:
        InputError: no run has finished an epoch.
    """
    runs = list(runs) if isinstance(runs, Sequence) else [runs]
    found = groups(runs)  # all runs, for the same labels and colours as in a comparison of them
    labels = {id(run): label for label, group in found.items() for run in group.runs}
    logs = [(run, run.metrics()) for run in runs if id(run) in labels]  # of repeated runs, one is drawn
    read = [(run, series(lines)) for run, lines in logs if lines]
    if not read:
        raise InputError("No run has finished an epoch yet, so there is no curve to draw.")
    panels = ordered({name for _, series in read for name in series}, metrics)
    colours = method_colours({label: group.method for label, group in found.items()})
    methods = list(dict.fromkeys(labels[id(run)] for run, _ in read))
    names, key = short(found)

    figure = _axes(panels, columns, [names[method] for method in methods])
    arrays: dict[str, Any] = {}
    for number, panel in enumerate(panels):
        where = {"xaxis": f"x{axes(number)}", "yaxis": f"y{axes(number)}"}
        factor = heading(panel)[2]
        for method in methods:
            own = [(run, s[panel]) for run, s in read if labels[id(run)] == method and panel in s]
            look = names[method], colours[method]
            for run, points in own if len(own) > 1 else []:
                text = f"seed {run.recipe.seed}"
                figure.add_trace(_line(points, factor, text, *look, thin=True).update(where))
            if own:
                mean = _mean([points for _, points in own])
                arrays[f"{method}.{panel.removeprefix('terms.')}"] = np.array(mean)[keep(len(mean), MOST_POINTS)]
                text = f"mean of {len(own)}" if len(own) > 1 else f"seed {own[0][0].recipe.seed}"
                figure.add_trace(_line(mean, factor, text, *look, thin=False).update(where))
    beyond = _cut_spikes(figure, panels, [(labels[id(run)], run.recipe.seed, own) for run, own in read])
    for method in methods:  # one entry per method, whatever terms it has
        line = {"color": colours[method], "width": 3}
        figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=safe(names[method]), showlegend=True)
    _interventions(figure, [run for run, _ in read], panels)
    last = max(epoch for _, own in read for points in own.values() for epoch, _ in points)
    if last > 1:  # the same epochs in every panel: a term may end before the others
        figure.update_xaxes(range=[0, 1.02 * last])
    seeds = len(read) / len(methods)
    return View(
        figure,
        arrays,
        {"runs": len(read), "methods": len(methods)},
        (f"{key} " if key else "")
        + "Loss terms before weighting, averaged over the epoch's steps, then metrics on the validation split. "
        + ("Thin lines are seeds, strong ones their mean. " if seeds > 1 else "")
        + "A curve ends where the weight of its term reaches 0: it is no longer computed."
        + (f" Beyond its axes for single epochs: {'; '.join(beyond)}." if beyond else ""),
        "Loss terms and metrics",
    )


def ordered(seen: Iterable[str], metrics: Sequence[str] | None = None) -> list[str]:
    """Return the names in ``seen`` that get axes: terms in the order of their registry, others, then metrics."""
    seen = set(seen)
    found = [name for name in seen if name.startswith("terms.")]
    order = {name: place for place, name in enumerate(known_terms)}
    found.sort(key=lambda name: (order.get(_term(name), len(order)), name))
    return found + [name for name in metrics or METRICS if name in seen]


def heading(name: str) -> tuple[str, str, float]:
    """Return title, unit and factor of a name: of ``METRICS``, or ``terms.TERM`` or ``terms.TERM:BATCH``."""
    if not name.startswith("terms."):
        return METRICS.get(name, (name, "", 1))
    label, term = name.removeprefix("terms."), known_terms.get(_term(name))
    batch = label.partition(":")[2]
    title = (term and term.title) or label.partition(":")[0]
    return f"{title}, {batch}" if batch else title, (term and term.unit) or "loss", 1


def _term(name: str) -> str:
    return name.removeprefix("terms.").partition(":")[0]


def series(lines: Iterable[dict[str, Any]], found: Series | None = None) -> Series:
    """Return name -> [(epoch, value)] from the epoch lines of a run's log; finite values only, terms ``terms.NAME``.

    ``found``, what earlier lines gave, grows in place.
    """
    found = {} if found is None else found
    for line in lines:
        numbers = {f"terms.{name}": v for name, v in (line.get("terms") or {}).items()}
        numbers |= line.get("metrics") or {}
        numbers |= {name: v for name, v in line.items() if isinstance(v, int | float)}
        for name, value in numbers.items():
            if value is not None and math.isfinite(value):
                found.setdefault(name, []).append((int(line["epoch"]), float(value)))
    return found


def _mean(runs: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Average over the runs that have the epoch."""
    by_epoch: dict[int, list[float]] = {}
    for points in runs:
        for epoch, value in points:
            by_epoch.setdefault(epoch, []).append(value)
    return [(epoch, sum(values) / len(values)) for epoch, values in sorted(by_epoch.items())]


def _cut_spikes(figure: go.Figure, panels: Sequence[str], read: Sequence[tuple[str, int, Series]]) -> list[str]:
    """End the axes of a panel below the values of single epochs that would press all others flat; return these."""
    beyond = []
    for number, panel in enumerate(panels):
        factor = heading(panel)[2]
        rest: list[tuple[float, int, str, int]] = []
        alone: list[tuple[float, int, str, int]] = []
        for label, seed, own in read:
            points = own.get(panel, [])
            for i, (epoch, value) in enumerate(points):
                near = [points[j][1] for j in (i - 2, i + 2) if 0 <= j < len(points)]
                single = len(near) == 2 and value > 2 * max(*near, 0)
                (alone if single else rest).append((factor * value, epoch, label, seed))
        if not rest or not alone:
            continue
        top, low = max(rest)[0], min(*rest, *alone)[0]
        value, epoch, label, seed = max(alone)
        if value > 1.5 * top > 0:
            room = 0.06 * (top - low)
            figure.layout[f"yaxis{axes(number)}"].range = [low - room, top + room]
            beyond.append(f"{heading(panel)[0]}, {value:.3g} at epoch {epoch} ({label}, seed {seed})")
    return beyond


def _line(
    points: Sequence[tuple[int, float]], factor: float, text: str, method: str, colour: str, thin: bool
) -> go.Scatter:
    shown = [points[i] for i in keep(len(points), MOST_POINTS)]
    return go.Scatter(
        x=[epoch for epoch, _ in shown],
        y=[value * factor for _, value in shown],
        mode="lines" if len(shown) > 1 else "markers",
        line={"color": colour, "width": 0.8 if thin else 2.2},
        opacity=0.4 if thin else 1,
        name=safe(method),
        showlegend=False,
        hovertemplate=f"{safe(method)}, {safe(text)}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>",
    )


def _axes(panels: Sequence[str], columns: int, methods: Sequence[str]) -> go.Figure:
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    headings = [_heading(panel) for panel in panels]
    entry = 46 + 7 * max(map(len, methods))  # pixels: all entries of a legend are as wide as the longest
    legend = 19 * (math.ceil(len(methods) / max(1, 900 // entry)) - 1)  # of its lines after the first
    more = LINE * (max(heading.count("<br>") for heading in headings) - 1)
    height = (ROW + more) * rows + 50 + legend
    between = min((78 + more) / height, 0.9 / rows)
    figure = make_subplots(rows, columns, horizontal_spacing=0.055, vertical_spacing=between, subplot_titles=headings)
    top = 72 + legend + more
    figure.update_layout(template=template(), height=height, margin={"t": top, "l": 40, "r": 10, "b": 40})
    figure.update_layout(legend={"y": 1, "yref": "container", "yanchor": "top"}, meta={"least": LEAST * columns})
    for number, note in enumerate(figure.layout.annotations):
        note.update(x=0, xref=f"x{axes(number)} domain", xanchor="left", align="left", font={"size": 12})
        if number + columns >= len(panels):
            figure.layout[f"xaxis{axes(number)}"].title = "epoch"
    figure.update_yaxes(nticks=5, rangemode="normal")
    figure.update_xaxes(nticks=5, rangemode="tozero")
    return figure


def _heading(panel: str) -> str:
    words, unit, _ = heading(panel)
    if panel.startswith("terms."):
        unit = f"{safe(panel.removeprefix('terms.'))}, {unit}"
    lines = textwrap.wrap(words, HEADING)  # a word longer than a line is broken too
    return f"<b>{'<br>'.join(map(safe, lines))}</b><br><span style='color:{LIGHT.muted}'>{unit}</span>"


def _interventions(figure: go.Figure, runs: Sequence[Run], panels: Sequence[str]) -> None:
    """Mark each change made by hand with a line at its epoch (whole epochs done, from 0) and the new values."""
    changes = [line for run in runs for line in run.interventions()]
    for change in changes[:20]:
        upright = {"x0": change["epoch"], "x1": change["epoch"], "y0": 0, "y1": 1}
        for number in range(len(panels)):
            where = {"xref": f"x{axes(number)}", "yref": f"y{axes(number)} domain"}
            figure.add_shape(type="line", line={"color": LIGHT.accent, "width": 1, "dash": "dot"}, **upright, **where)
    # in the strip above the headings, right of the legend: two lines fit
    above = 50 + LINE * (max(_heading(panel).count("<br>") for panel in panels) - 1)
    named = [[f"{name} → {value_words(value)}" for name, value in change["changes"].items()] for change in changes]
    notes = [f"{', '.join(words)} (you)" for words in named]
    notes = notes if len(notes) <= 2 else [notes[0], f"{notes[1]}, and {len(notes) - 2} more"]
    corner = {"x": 1, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "right", "yanchor": "bottom"}
    look = {"showarrow": False, "font": {"size": 11, "color": LIGHT.accent}}
    for line, text in enumerate(notes):
        figure.add_annotation(text=safe(text), yshift=above - 14 * line, **corner, **look)
