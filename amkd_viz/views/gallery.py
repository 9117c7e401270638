"""Base images, boundary samples and what the attack changed, with the predictions of both nets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.labels import class_label, number, percent, plural, safe
from amkd_viz.views.layout import LEAST, SYMBOLS, blank, named
from amkd_viz.views.raster import image_pixels, place, png, signed_pixels
from amkd_viz.views.theme import LIGHT, class_colour
from amkd_viz.views.view import View

__all__ = ["gallery"]

ROW = 104  # pixels per sample
SIDE = 0.86  # share of a row that the images take
FAR = 0.9  # probability of the class where a sample ended, above which it is not near the boundary
FAINT = 0.35  # opacity of a sample that never crossed


def gallery(
    nets: nn.Module | Mapping[str, nn.Module],
    samples: BoundarySamples,
    classes: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    most: int = 8,
) -> View:
    """Draw base image, boundary sample and signed difference, and each net's probability of base and target class.

    Args:
        nets: one or two classifiers by name, the attacked one first.
        samples: boundary samples of images, at least one.
        classes: a name per class.
        names: a word per sample, such as its index in the test split.
        most: maximum number of samples to draw.

    Returns:
        arrays ``base``, ``boundary``, ``difference`` (N, C, H, W), ``l2`` (N,), ``NAME.base`` and ``NAME.boundary``
        (N, K) probabilities; notes ``crossed`` and ``NAME.flipped``: the share of samples that a net
        predicts differently than their base images; ``far``: how many of those drawn the attacked net puts into
        another class with a probability over 0.9, so that they are not near its boundary; ``gap``: by how much the
        two largest probabilities of that net differ at the median sample that crossed, 0 on its boundary, NaN if none.

    Raises:
        InputError: no sample, or samples that are not images.

    >>> from amkd_viz import build, load
    >>> from amkd_viz.boundary import bss
    >>> digits = load("digits")
    >>> net = build("cnn-tiny", digits)
    >>> samples = bss(net, digits.test.floats(slice(3)), digits.test.y[:3])
    >>> gallery(net, samples, digits.classes).arrays["net.boundary"].shape
    (3, 10)
    """
    if samples.x.ndim != 4 or not len(samples):
        raise InputError("gallery needs at least one boundary sample of an image (N, C, H, W).")
    given, shown = named(nets), min(most, len(samples))
    base, boundary = samples.origin.cpu(), samples.x.cpu()
    difference = boundary - base
    l2 = difference.flatten(1).norm(dim=1)
    before = {name: logits_at(net, samples.origin).softmax(1).cpu() for name, net in given.items()}
    after = {name: logits_at(net, samples.x).softmax(1).cpu() for name, net in given.items()}
    first = next(iter(given))
    far = samples.crossed.cpu() & (after[first].amax(1) > FAR)
    size = float(difference[:shown].mean(1).abs().max())
    scale = 1 / size if size > 0 and np.isfinite(size) else 1.0

    figure = blank(height=ROW * shown + 74, showlegend=True, meta={"least": 3 * LEAST})
    columns = {"base": 0.0, "boundary": 1.0, "difference": 2.0, "ends in": 2.95}
    figure.update_layout(
        xaxis={"domain": [0.14, 0.49], "range": [-0.02, 3.9], "visible": False},
        xaxis2={"domain": [0.58, 0.745], "anchor": "y"},  # as wide as the next one: they are compared by eye
        xaxis3={"domain": [0.835, 1.0], "anchor": "y"},
        yaxis={"range": [shown, 0], "visible": False},
        legend={"x": 1, "xanchor": "right", "y": 1, "yref": "container", "yanchor": "top"},
        margin={"t": 58, "b": 40, "l": 6, "r": 14},
    )
    for axis in ("xaxis2", "xaxis3"):
        figure.layout[axis].update(range=[-0.04, 1.04], tickvals=[0, 0.5, 1], ticktext=["0", "50 %", "100 %"])
    for text, x in columns.items():
        figure.add_annotation(_heading(text, x, "x"))
    figure.add_annotation(_heading("probability on base", 0, "x2"))
    figure.add_annotation(_heading("on boundary sample", 0, "x3"))

    for i in range(shown):
        b, k, crossed = int(samples.base[i]), int(samples.target[i]), bool(samples.crossed[i])
        pixels = (image_pixels(base[i].numpy()), image_pixels(boundary[i].numpy()))
        for x, picture in zip((0.0, 1.0, 2.0), (*pixels, signed_pixels(difference[i].numpy(), scale)), strict=True):
            look = {"sizing": "contain", "opacity": 1.0 if crossed or not x else FAINT}
            figure.add_layout_image(place(png(picture), x, i + 0.5 + SIDE / 2, 0.9, SIDE) | look)
        word = f"{_muted(safe(names[i]))}<br>" if names else ""
        way = f"→ {class_label(classes, k, 14)}"
        row = {"y": i + 0.5, "xanchor": "left", "align": "left", "showarrow": False}
        words = f"{word}<b>{class_label(classes, b, 14)}</b><br>{way if crossed else _muted(way)}"
        figure.add_annotation(text=words, x=0, xref="paper", **row)
        p, last = (float(v) for v in after[first][i].max(0))
        sure = f"{class_label(classes, int(last), 9)}: {percent(p, 0)}"
        lines = [] if crossed else ["<b>not crossed</b>"]
        lines += [f"<b>{sure}</b>" if far[i] else sure]
        lines += [f"L2 {number(float(l2[i]))}", _muted(plural(int(samples.steps[i]), "step"))]
        lines += ["far past it"] if far[i] else []
        figure.add_annotation(text="<br>".join(lines if crossed else map(_muted, lines)), x=2.95, **row)
        for axis in ("x2", "x3"):
            for y, which in ((i + 0.34, b), (i + 0.66, k)):
                figure.add_shape(_rail(y, axis))
                beside = {"x": -0.02, "xref": f"{axis} domain", "xanchor": "right", "showarrow": False}
                font = {"size": 11, "color": LIGHT.muted}
                figure.add_annotation(text=class_label(classes, which, 9), y=y, font=font, **beside)
    figure.add_traces(
        [
            _dots(name, found, samples, classes, shown, axis, SYMBOLS[min(n, 1)])
            for axis, tables in (("x2", before), ("x3", after))
            for n, (name, found) in enumerate(tables.items())
        ]
    )
    for n, name in enumerate(given):  # in ink: in the rows colour means the class
        marker = {"symbol": SYMBOLS[min(n, 1)], "size": 10, "color": LIGHT.ink}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=safe(name))
    flipped = {name: before[name].argmax(1) != after[name].argmax(1) for name in given}
    notes = {"crossed": float(samples.crossed.float().mean()), "scale": scale, "far": float(far[:shown].sum())}
    past = samples.crossed.cpu()
    two = after[first].topk(2).values
    notes["gap"] = float((two[:, 0] - two[:, 1])[past].median()) if bool(past.any()) else float("nan")
    notes |= {f"{name}.flipped": float(changed.float().mean()) for name, changed in flipped.items()}
    return View(
        figure,
        {"base": base.numpy(), "boundary": boundary.numpy(), "difference": difference.numpy(), "l2": l2.numpy()}
        | {f"{name}.base": p.numpy() for name, p in before.items()}
        | {f"{name}.boundary": p.numpy() for name, p in after.items()},
        notes,
        _caption(notes, given, len(samples), shown, not bool(samples.crossed[:shown].all())),
        "Boundary samples",
    )


def _muted(text: str) -> str:
    return f"<span style='color:{LIGHT.muted}'>{text}</span>"


def _heading(text: str, x: float, axis: str) -> dict[str, Any]:
    where = {"x": x, "xref": axis, "y": 0, "yref": "y", "xanchor": "left", "yanchor": "bottom", "yshift": 5}
    return {"text": text, "showarrow": False, "font": {"size": 12, "color": LIGHT.muted}, **where}


def _rail(y: float, axis: str) -> dict[str, Any]:
    line = {"color": LIGHT.grid, "width": 3}
    return {"type": "line", "x0": 0, "x1": 1, "y0": y, "y1": y, "xref": axis, "line": line, "layer": "below"}


def _dots(
    name: str, found: Tensor, samples: BoundarySamples, classes: Sequence[str], shown: int, axis: str, symbol: str
) -> go.Scatter:
    x, y, colours, opacity, words = [], [], [], [], []
    for i in range(shown):
        for offset, k in ((0.34, int(samples.base[i])), (0.66, int(samples.target[i]))):
            p = float(found[i, k])
            x.append(p if np.isfinite(p) else None)
            y.append(i + offset)
            colours.append(class_colour(k))
            opacity.append(1.0 if axis == "x2" or samples.crossed[i] else FAINT)
            words.append(f"{safe(name)}: {class_label(classes, k)} {percent(p)}")
    hollow = symbol == "diamond"
    edge = {"color": LIGHT.ink, "width": 1.6 if hollow else 0.6}
    marker = {"symbol": symbol, "size": 10 if hollow else 12, "color": colours, "opacity": opacity, "line": edge}
    return go.Scatter(
        x=x,
        y=y,
        xaxis=axis,
        mode="markers",
        marker=marker,
        cliponaxis=False,  # a dot at 0 or 100 % is whole
        name=safe(name),
        text=words,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def _caption(notes: Mapping[str, float], nets: Mapping[str, nn.Module], count: int, shown: int, pale: bool) -> str:
    past = plural(int(notes["far"]), "sample")
    flips = ", ".join(f"{name} {percent(notes[f'{name}.flipped'], 0)}" for name in nets)
    return (
        f"{shown} of {count} boundary samples. Difference: orange positive, blue negative, times {notes['scale']:.1f}, "
        f"mean over channels; L2 in units of pixel values in [0, 1]. {percent(notes['crossed'], 0)} of all crossed"
        + ("; faint samples ended on the base's side of the boundary" if pale else "")
        + (
            f"; far past the boundary, where {next(iter(nets))} is over {percent(FAR, 0)} sure of the class: {past} of "
            "those shown"
            if notes["far"]
            else ""
        )
        + f". Another class than on the base image: {flips} of all samples."
        + (
            f" At the median of those that crossed, the two largest probabilities of {next(iter(nets))} differ by "
            f"{percent(notes['gap'], 0)}: 0 on its boundary."
            if notes["gap"] == notes["gap"]
            else ""
        )
    )
