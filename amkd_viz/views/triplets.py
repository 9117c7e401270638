"""Anchor, positive and negatives of one boundary sample: in a layout, and their true distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.subplots import make_subplots

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.objectives.losses.triplets import negatives_of
from amkd_viz.views.anchors import MARGIN, anchored
from amkd_viz.views.joint import spaces
from amkd_viz.views.labels import class_label, class_name, number, percent, used_of
from amkd_viz.views.layout import LEAST, RING, keep, segments
from amkd_viz.views.projection import joint_layout
from amkd_viz.views.quality import trustworthiness
from amkd_viz.views.theme import LIGHT, class_colour, template
from amkd_viz.views.view import View

__all__ = ["triplets"]


def triplets(
    teacher: Classifier,
    student: Classifier,
    dataset: Dataset,
    samples: BoundarySamples,
    which: int,
    *,
    margin: float = MARGIN,
    negatives: int = 14,
    kind: str = "logit",
    how: str = "pca",
    most: int = 400,
    seed: int = 0,
) -> View:
    """Draw an anchor (the teacher on a boundary sample), its positive (the student on it) and its nearest
    negatives (the student on test samples of classes other than base and target): variant A of AMKD.

    Left: the layout. Right: the true squared distances from the anchor, with the margin band d(a, p) .. d(a, p) + m; a
    negative in it or nearer is active. A negative that the layout puts on the wrong side of the positive is marked.

    Args:
        which: position of the boundary sample.
        margin: m in [0, 4].
        negatives: maximum number of nearest negatives to draw.
        kind: "logit" or "prob"; how: "pca" or "umap", as in :func:`embedding`.
        most: maximum number of test samples, evenly spread over the split.

    Returns:
        arrays ``index`` (n,), the published index of each negative, ``d_an`` (n,), ``misleads`` (n,) bool, ``low``
        (2 + N, 2) with anchor and positive first; notes ``d_ap``, ``active`` and ``misleading`` (shares of all valid
        negatives), ``trustworthiness``.

    Raises:
        InputError: ``which`` is out of range, there is no valid negative, or the embeddings differ in width.
    """
    if not 0 <= which < len(samples):
        raise InputError(f"which must be 0 to {len(samples) - 1}, got {which}.")
    own = samples[which : which + 1]
    taken = keep(len(dataset.test), most)
    x, y = dataset.test.floats(taken), dataset.test.y[taken]
    a = spaces({"teacher": teacher}, own.x, kind)["teacher"]
    p, clean = spaces({"s": student}, own.x, kind)["s"], spaces({"s": student}, x, kind)["s"]
    if a.shape[1] != clean.shape[1]:
        raise InputError(f"The nets' {kind} embeddings differ in width, so distances across them mean nothing.")
    valid = negatives_of(y, own.base, own.target)[0].cpu().numpy()
    space = np.concatenate([a, p, clean])
    low = joint_layout([space], how, seed)[0].points
    found = anchored(space, low, valid, margin)
    shown, d_an, wrong = found.negative[:negatives], found.d_an[:negatives], found.misleads[:negatives]
    notes = {
        "d_ap": found.d_ap,
        "active": float(found.active.mean()),
        "misleading": float(found.misleads.mean()),
        "trustworthiness": trustworthiness(space, low),
    }
    arrays = {"index": dataset.test.index[taken].cpu().numpy()[shown], "d_an": d_an, "misleads": wrong, "low": low}
    figure = _figure(low, y.cpu().numpy(), shown, wrong, found.d_ap, d_an, margin, dataset.classes)
    base, target = (class_name(dataset.classes, int(k)) for k in (own.base, own.target))
    caption = (
        f"Anchor: teacher on a boundary sample from {base} to {target}; positive: student there, d(a, p) = "
        f"{number(found.d_ap)}. Of {len(found.negative)} negatives {percent(notes['active'], 0)} are active at margin "
        f"{margin:g}: nearer than the end of the band. The {len(shown)} nearest are drawn. Negatives: student on "
        f"{used_of(len(taken), len(dataset.test), 'test sample')}, those of neither class. The layout "
        f"({how.upper()}, trustworthiness {number(notes['trustworthiness'])}) puts {percent(notes['misleading'], 0)} "
        "of all on the wrong side of the positive, marked by a cross."
    )
    return View(figure, arrays, notes, caption, "Triplets of one boundary sample")


def _figure(
    low: Any, y: Any, shown: Any, wrong: Any, d_ap: float, d_an: Any, margin: float, classes: Sequence[str]
) -> Any:
    figure = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.12)
    figure.update_layout(meta={"least": 3 * LEAST})
    figure.update_layout(template=template(), height=460, showlegend=False, margin={"t": 36, "b": 46, "l": 10, "r": 20})
    left, right = {"row": 1, "col": 1}, {"row": 1, "col": 2}
    colours, drawn = [class_colour(int(k)) for k in y], low[2:][shown]
    rest = {"color": colours, "size": 5, "opacity": 0.35}
    figure.add_scatter(x=low[2:, 0], y=low[2:, 1], mode="markers", marker=rest, hoverinfo="skip", **left)
    joining = (segments(low[0], drawn), {"color": LIGHT.line, "width": 1}), (low[:2], {"color": LIGHT.ink, "width": 2})
    for xy, line in joining:
        figure.add_scatter(x=xy[:, 0], y=xy[:, 1], mode="lines", line=line, hoverinfo="skip", **left)
    words = [f"{class_label(classes, int(y[i]))}: d(a, n) = {d:.2f}" for i, d in zip(shown, d_an, strict=True)]
    mark = {"symbol": np.where(wrong, "diamond-x", "diamond"), "size": 10, "color": [colours[i] for i in shown]}
    mark |= {"line": {"color": LIGHT.ink, "width": 1}}
    tip = {"text": words, "hovertemplate": "%{text}<extra></extra>"}
    figure.add_scatter(x=drawn[:, 0], y=drawn[:, 1], mode="markers", marker=mark, **tip, **left)
    above = 1 if low[0, 1] >= low[1, 1] else -1  # each label on the side away from the other mark
    ends_of = ((low[0], "circle", "anchor, teacher", above), (low[1], "diamond", "positive, student", -above))
    for (u, v), symbol, word, side in ends_of:
        ends = {**RING, "symbol": symbol, "size": 13, "color": LIGHT.paper, "line": {"width": 2.4, "color": LIGHT.ink}}
        figure.add_scatter(x=[u], y=[v], mode="markers", marker=ends, name=word, **left)
        look = {"showarrow": False, "bgcolor": LIGHT.paper, "opacity": 0.9}
        figure.add_annotation(text=word, x=u, y=v, yshift=18 * side, **look, **left)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(showticklabels=False, showline=True, mirror=True, showgrid=False, **left)

    rows = list(range(1, len(shown) + 1))
    figure.add_bar(
        x=[d_ap, *d_an],
        y=[0, *rows],
        orientation="h",
        marker={"color": [LIGHT.ink, *(colours[i] for i in shown)]},
        text=[f"{d:.2f}" for d in (d_ap, *d_an)],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
        **right,
    )
    figure.add_vrect(d_ap, d_ap + margin, fillcolor=LIGHT.warm, opacity=0.25, line_width=0, **right)
    names = ["<b>positive</b>"]
    names += [class_label(classes, int(y[i]), 12) + (" ×" if bad else "") for i, bad in zip(shown, wrong, strict=True)]
    figure.update_yaxes(tickvals=[0, *rows], ticktext=names, autorange="reversed", showgrid=False, **right)
    end = max(float(np.max(d_an)), d_ap + margin, d_ap) * 1.12
    figure.update_xaxes(title="squared distance from the anchor, of 4 at most", range=[0, end], **right)
    where = {"x": d_ap + margin / 2, "y": 1, "yref": "y2 domain", "xref": "x2", "yanchor": "bottom"}
    figure.add_annotation(text=f"margin {margin:g}", showarrow=False, font={"color": LIGHT.muted}, **where)
    return figure
