"""Teacher and student embeddings of the same samples in one aligned layout, boundary samples among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.data import Dataset
from amkd_viz.views.chosen import choose, class_triplets
from amkd_viz.views.joint import NEIGHBOURS, projection_quality, spaces
from amkd_viz.views.labels import class_label, class_letter, number, percent, safe, used_of
from amkd_viz.views.layout import CROSS, DOTTED, RING, SYMBOLS, alike, axes, class_legend, named, segments, squares
from amkd_viz.views.projection import joint_layout
from amkd_viz.views.scene import SIGNS
from amkd_viz.views.theme import LIGHT, class_colour
from amkd_viz.views.view import View

__all__ = ["embedding"]

WORST = 3  # contradicted triplets drawn in each panel
NAMED = 20  # with more classes than this, names would cover the points: letters stand for them


def embedding(
    nets: nn.Module | Mapping[str, nn.Module],
    dataset: Dataset,
    *,
    samples: BoundarySamples | None = None,
    most: int = 600,
    kind: str = "logit",
    how: str = "umap",
    seed: int = 0,
    columns: int | None = None,
) -> View:
    """Draw one panel per net: the layout is fitted on the first net, the others are aligned to it.

    Args:
        nets: classifiers by name, the teacher first; several epochs of a student work as well.
        samples: boundary samples to lay out among the test samples (rings).
        most: maximum number of test samples, evenly spread over the split, the same for every net.
        kind: the space: "logit" (centred, unit norm), "prob" or "feature".
        how: "umap" or "pca" (fast, linear).
        seed: of UMAP and of the checked triplets.

    Returns:
        arrays ``index`` (the published index in the test split), ``label``, ``boundary`` (bool), all (N,), and per net
        ``NAME.high`` (N, D), ``NAME.low`` (N, 2) and ``NAME.misleading`` (M, 3), the triplets of positions in these
        arrays that the layout contradicts most clearly; notes per net ``NAME.trustworthiness`` (k = 15, in [0, 1]),
        ``NAME.residual`` (Procrustes disparity, in [0, 1]) and ``NAME.triplets``: the share of triplets (anchor, same
        class, other class) whose order of distances the layout keeps.

    Raises:
        InputError: the test split is empty, or a net gives values that are not finite.

    >>> from amkd_viz import build, load
    >>> digits = load("digits")
    >>> nets = {"teacher": build("cnn-small", digits), "student": build("cnn-tiny", digits)}
    >>> view = embedding(nets, digits, most=50, how="pca")
    >>> view.arrays["student.low"].shape, view.notes["teacher.residual"]
    ((45, 2), 0.0)
    """
    given = named(nets)
    chosen = choose(dataset.test, samples, most=most)
    label, ring = chosen.label, chosen.boundary
    high = spaces(given, chosen.x, kind)
    laid = joint_layout(list(high.values()), how, seed, NEIGHBOURS)
    triplets = class_triplets(label, seed)
    notes: dict[str, Any] = {}
    misleading = {}
    for (name, space), aligned in zip(high.items(), laid, strict=True):
        found = projection_quality(space, aligned, triplets, WORST)
        notes |= {f"{name}.trustworthiness": found.trustworthiness, f"{name}.residual": found.residual}
        notes[f"{name}.triplets"] = found.kept
        misleading[name] = found.misleading

    everything = np.concatenate([low for low, _ in laid])
    half = max(float(np.ptp(everything, axis=0).max()) * 0.54, 1e-6)
    ranges = [(middle - half, middle + half) for middle in (everything.min(0) + everything.max(0)) / 2]
    figure = squares([f"<b>{safe(name)}</b>" for name in given], columns=columns, ranges=ranges)
    for update in (figure.update_xaxes, figure.update_yaxes):  # directions and units of such a layout mean nothing
        update(showticklabels=False, showline=True, mirror=True, linecolor=LIGHT.grid)
    words = np.array([class_label(dataset.classes, int(k)) for k in label])
    colours = np.array([class_colour(int(k)) for k in label])
    ringed = RING | {"symbol": "circle", "size": 8, "line": {"width": 1.6, "color": LIGHT.ink}}
    for n, (low, _) in enumerate(laid):
        where = {"xaxis": f"x{axes(n)}", "yaxis": f"y{axes(n)}"}
        look = {"symbol": SYMBOLS[min(n, 1)], "size": 6, "opacity": 0.8}
        figure.add_trace(_points(low, colours, words, ~ring, look, "test %{customdata}: %{text}").update(where))
        figure.data[-1].customdata = chosen.index[~ring]
        if ring.any():
            figure.add_trace(_points(low, colours, words, ring, ringed, "boundary sample of %{text}").update(where))
        figure.add_traces([trace.update(where) for trace in _contradicted(low, misleading[list(given)[n]], words)])
        centres = _centres(low[~ring], label[~ring])
        word = class_label if len(centres) <= NAMED else lambda classes, k: safe(class_letter(classes, k))
        for k, (u, v) in centres.items():
            figure.add_annotation(_name(word(dataset.classes, k), u, v, axes(n)))
    signs = {SIGNS["ring"]: {"marker": RING}} if ring.any() else {}
    if any(len(found) for found in misleading.values()):
        signs["the layout misleads"] = {"marker": CROSS}
    class_legend(figure, dataset.classes, signs=signs)
    return View(
        figure,
        {"index": chosen.index, "label": label, "boundary": ring, "triplets": triplets}
        | {f"{name}.high": space for name, space in high.items()}
        | {f"{name}.low": low for name, (low, _) in zip(high, laid, strict=True)}
        | {f"{name}.misleading": worst for name, worst in misleading.items()},
        notes,
        _caption(list(given), notes, how, kind, int((~ring).sum()), len(dataset.test), int(ring.sum()))
        + alike(dataset.classes, "a mark"),
        f"Embeddings of {dataset.name}",
    )


def _points(low: Any, colours: Any, words: Any, which: Any, look: dict[str, Any], tip: str) -> go.Scatter:
    return (go.Scattergl if which.sum() > 3000 else go.Scatter)(
        x=low[which, 0],
        y=low[which, 1],
        mode="markers",
        marker=look | {"color": list(colours[which])},
        text=list(words[which]),
        hovertemplate=f"{tip}<extra></extra>",
    )


def _contradicted(low: Any, misleading: Any, words: Any) -> list[go.Scatter]:
    """Return lines from each anchor to both ends of its triplet; a cross on the negative marks a misleading one."""
    if not len(misleading):
        return []
    a, p, n = (low[misleading[:, i]] for i in range(3))
    traces = []
    for ends, dash in ((p, "solid"), (n, DOTTED)):
        x, y = segments(a, ends).T
        line = {"color": LIGHT.ink, "width": 1.2, "dash": dash}
        traces.append(go.Scatter(x=x, y=y, mode="lines", line=line, opacity=0.7, hoverinfo="skip"))
    caption = [f"the picture misleads here: {words[i]}, {words[j]} and {words[k]}" for i, j, k in misleading]
    cross = {"symbol": "x", "size": 9, "color": LIGHT.ink, "line": {"width": 1, "color": LIGHT.paper}}
    tip = "%{text}<extra></extra>"
    return [*traces, go.Scatter(x=n[:, 0], y=n[:, 1], mode="markers", marker=cross, text=caption, hovertemplate=tip)]


def _centres(low: Any, label: Any) -> dict[int, tuple[float, float]]:
    """Return where to write each class: at the sample nearest to its median, among its points."""
    found = {}
    for k in np.unique(label):
        own = low[label == k]
        nearest = own[((own - np.median(own, 0)) ** 2).sum(1).argmin()]
        found[int(k)] = (float(nearest[0]), float(nearest[1]))
    return found


def _name(text: str, x: float, y: float, axis: str) -> dict[str, Any]:
    where = {"x": x, "y": y, "xref": f"x{axis}", "yref": f"y{axis}", "yshift": 14, "showarrow": False}
    return {"text": f"<b>{text}</b>", "bgcolor": LIGHT.paper, "opacity": 0.8, "borderpad": 1} | where


def _caption(
    names: list[str], notes: Mapping[str, float], how: str, kind: str, points: int, there: int, rings: int
) -> str:
    method = {"umap": "UMAP", "pca": "PCA"}[how]
    trust = ", ".join(f"{name} {number(notes[f'{name}.trustworthiness'])}" for name in names)
    kept = ", ".join(f"{name} {percent(notes[f'{name}.triplets'], 0)}" for name in names)
    caption = f"{method} of {kind} embeddings, fitted on {names[0]}" + (
        f"; ringed: {rings} boundary samples, in the colour of their base class. " if rings else ". "
    )
    caption += f"Trustworthiness (k = {NEIGHBOURS}, 1 is best): {trust}. "
    if names[1:]:
        caption += "Procrustes disparity (0 for the same shape): "
        caption += ", ".join(f"{name} {number(notes[f'{name}.residual'])}" for name in names[1:]) + ". "
    caption += f"Triplets whose order of distances the layout keeps: {kept}. Lines with a cross: in each panel the "
    caption += f"{WORST} triplets that it contradicts most clearly: by true distance the dotted line is the "
    caption += "shorter one if it is longer here, and vice versa. Drawn are "
    caption += f"{used_of(points, there, 'test sample')}"
    if names[1:]:
        caption += f". The layout of {' and '.join(names[1:])} starts from that of {names[0]} and is aligned to it"
    return caption + ". Axes have no unit."
