"""The distances in triplets: a histogram per net, and distances between classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from torch import nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.objectives.losses.triplets import negatives_of
from amkd_viz.views.anchors import MARGIN
from amkd_viz.views.joint import spaces
from amkd_viz.views.labels import class_label, number, percent, plural, safe, used_of
from amkd_viz.views.layout import LEAST, axes, keep, named
from amkd_viz.views.theme import LIGHT, template
from amkd_viz.views.view import View

__all__ = ["class_distances", "distances"]

BINS = np.linspace(0, 4, 41)
# zero is transparent: it has the colour of the paper in both themes
RISING = [[0, "rgba(63,144,218,0)"], [1, "rgb(63,144,218)"]]
DIVERGING = [[0, "rgb(63,144,218)"], [0.5, "rgba(63,144,218,0)"], [0.5, "rgba(231,99,0,0)"], [1, "rgb(231,99,0)"]]


def class_distances(space: NDArray[Any], label: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Return (K, K) mean squared distances between two samples of two classes, NaN where there is no pair of samples.

    A sample is not compared with itself, so a class with a single sample has NaN on the diagonal.

    Args:
        space: (N, D) unit embeddings.
    """
    means = np.full((classes, space.shape[1]), np.nan)
    square, pairs = np.full(classes, np.nan), np.full(classes, np.nan)  # pairs: share of those of two samples
    for k, count in zip(*np.unique(label, return_counts=True), strict=True):
        own = space[label == k].astype(np.float64)
        means[k], square[k] = own.mean(0), (own**2).sum(1).mean()
        pairs[k] = 1 - 1 / count if count > 1 else np.nan
    found = square[:, None] + square[None] - 2 * means @ means.T
    found[np.diag_indices(classes)] /= pairs
    return np.asarray(found)


def distances(
    nets: nn.Module | Mapping[str, nn.Module],
    dataset: Dataset,
    samples: BoundarySamples,
    *,
    margin: float = MARGIN,
    kind: str = "logit",
    most: int = 1000,
) -> View:
    """Draw per net the distances of positives and negatives of boundary samples, and those between classes.

    The anchor is the first net on the boundary sample, the positive each net on the same sample, the negatives each
    net on test samples of classes other than base and target (variant A of AMKD), so the first net's d(a, p) is 0.

    Args:
        nets: classifiers of the same classes by name, the teacher first.
        samples: at least one.
        margin: m of [d(a, p) - d(a, n) + m]_+, for the share of active triplets.
        kind: "logit" or "prob", where nets share the width of the space.
        most: maximum number of test samples, evenly spread over the split.

    Returns:
        arrays per net ``NAME.d_ap`` (M,), ``NAME.d_an`` (valid pairs,), ``NAME.classes`` (K, K), all squared distances
        in [0, 4]; notes ``NAME.active`` (share of triplets) and ``NAME.class_gap`` (mean |difference| of the class
        matrix from the first net's).

    Raises:
        InputError: no sample, or the nets' embeddings differ in width.
    """
    given = named(nets)
    if not len(samples):
        raise InputError("distances needs at least one boundary sample.")
    taken = keep(len(dataset.test), most)
    x, y = dataset.test.floats(taken), dataset.test.y[taken]
    clean, edge = spaces(given, x, kind), spaces(given, samples.x, kind)
    if len({space.shape[1] for space in clean.values()}) > 1:
        raise InputError(f"The nets' {kind} embeddings differ in width, so distances across them mean nothing.")
    valid = negatives_of(y, samples.base, samples.target).cpu().numpy()
    anchor = next(iter(edge.values())).astype(np.float64)
    count, label = dataset.num_classes, y.cpu().numpy()
    arrays: dict[str, NDArray[Any]] = {}
    notes: dict[str, Any] = {"margin": margin}
    for name in given:
        d_ap = ((anchor - edge[name]) ** 2).sum(1)
        d_an = np.clip(2 - 2 * anchor @ clean[name].T.astype(np.float64), 0, 4)
        active = d_ap[:, None] - d_an + margin > 0
        notes[f"{name}.active"] = float(active[valid].mean()) if valid.any() else float("nan")
        matrix = class_distances(clean[name], label, count)
        arrays |= {f"{name}.d_ap": d_ap, f"{name}.d_an": d_an[valid], f"{name}.classes": matrix}
    first = arrays[f"{next(iter(given))}.classes"]
    for name in given:
        gap = np.abs(arrays[f"{name}.classes"] - first)
        notes[f"{name}.class_gap"] = float(np.nanmean(gap)) if np.isfinite(gap).any() else float("nan")
    caption = _caption(list(given), notes, len(samples), len(taken), len(dataset.test))
    if np.isnan(first).any():
        caption += " A blank cell has no pair of samples: its class has one sample here, or none."
    return View(_figure(list(given), arrays, dataset), arrays, notes, caption, "Distances")


def _figure(names: list[str], arrays: Mapping[str, NDArray[Any]], dataset: Dataset) -> go.Figure:
    pair = len(names) == 2
    columns = len(names) + pair
    titles = [f"<b>{safe(n)}</b>" for n in names] + ([""] if pair else [])
    titles += [f"<b>{safe(n)}</b>, class to class" for n in names] + (["<b>difference</b>"] if pair else [])
    figure = make_subplots(
        2, columns, row_heights=[0.4, 0.6], vertical_spacing=0.17, horizontal_spacing=0.1, subplot_titles=titles
    )
    figure.update_layout(template=template(), height=640, barmode="overlay", margin={"t": 64, "b": 40, "l": 60})
    figure.update_layout(legend={"y": 1, "yref": "container", "yanchor": "top"}, meta={"least": LEAST * columns})
    for note in figure.layout.annotations:
        note.update(xanchor="left", x=note.x - 0.5 / columns + 0.04, font={"size": 13})
    for n, name in enumerate(names):
        above = {"row": 1, "col": n + 1}
        for part, words, colour in (("d_ap", "d(a, p)", LIGHT.accent), ("d_an", "d(a, n)", LIGHT.warm)):
            if n == 0 and part == "d_ap":
                continue  # 0 by definition
            counts, _ = np.histogram(arrays[f"{name}.{part}"], BINS)
            figure.add_bar(
                x=(BINS[1:] + BINS[:-1]) / 2,
                y=100 * counts / max(counts.sum(), 1),
                width=BINS[1],
                marker={"color": colour, "opacity": 0.65},
                name=words,
                showlegend=n == 1 or len(names) == 1,
                hovertemplate=f"{words} near %{{x:.2f}}: %{{y:.1f}} %<extra></extra>",
                **above,
            )
        figure.update_xaxes(title="squared distance, of 4 at most", range=[0, 4], **above)
        figure.update_yaxes(title="% of pairs" if n == 0 else "", matches="y" if n else None, **above)
    tables = [(arrays[f"{name}.classes"], 0.0, 4.0) for name in names]
    if pair:
        gap = tables[1][0] - tables[0][0]
        finite = gap[np.isfinite(gap)]
        most = float(np.abs(finite).max()) if len(finite) else 1.0
        tables.append((gap, -(most or 1.0), most or 1.0))
        for update in (figure.update_xaxes, figure.update_yaxes):
            update(visible=False, row=1, col=columns)
    labels = [class_label(dataset.classes, k, 10) for k in range(dataset.num_classes)]
    places, step = list(range(len(labels))), math.ceil(len(labels) / 10)
    ticks = {"tickvals": places[::step], "ticktext": labels[::step], "showgrid": False, "constrain": "domain"}
    for n, (matrix, low, high) in enumerate(tables):
        below = {"row": 2, "col": n + 1}
        domain = figure.layout[f"xaxis{axes(columns + n)}"].domain
        bar = {"x": domain[1], "xpad": 4, "y": 0, "yanchor": "bottom", "len": 0.46, "thickness": 9, "outlinewidth": 0}
        figure.add_heatmap(
            z=matrix,
            x=places,
            y=places,
            customdata=np.array([[f"{a} to {b}" for b in labels] for a in labels]),
            colorscale=DIVERGING if low < 0 else RISING,
            zmin=low,
            zmax=high,
            colorbar=bar,
            showscale=n != 0 or not pair,  # the first two tables share a scale
            hovertemplate="%{customdata}: %{z:.2f}<extra></extra>",
            **below,
        )
        figure.update_xaxes(**ticks, tickangle=-45 if max(map(len, labels)) > 2 else 0, **below)
        figure.update_yaxes(**ticks, autorange="reversed", scaleanchor=f"x{axes(columns + n)}", **below)
    return figure


def _caption(names: list[str], notes: Mapping[str, float], rings: int, used: int, there: int) -> str:
    active = ", ".join(f"{name} {percent(notes[f'{name}.active'], 0)}" for name in names)
    caption = (
        f"Anchor: {names[0]} on each of {plural(rings, 'boundary sample')}; positive: the net on the same sample; "
        f"negatives: the net on other classes. Active triplets at margin {notes['margin']:g}: {active}. "
        f"Negatives are those of {used_of(used, there, 'test sample')} that are of neither base nor target class. "
        f"Below, mean squared distance between two "
        "classes of these samples, 0 in the colour of the paper"
    )
    if len(names) == 2:
        caption += f"; right, {names[1]} minus {names[0]} (orange farther apart, blue closer), mean difference "
        caption += number(notes[f"{names[1]}.class_gap"])
    return caption + "."
