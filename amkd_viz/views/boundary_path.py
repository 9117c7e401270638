"""One sample through the attack, step by step, until it has crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from plotly.subplots import make_subplots
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.views.labels import class_label, class_name, number, percent, plural, safe
from amkd_viz.views.layout import CROSS, DASHES, SYMBOLS, named
from amkd_viz.views.raster import image_pixels, place, png, signed_pixels
from amkd_viz.views.theme import LIGHT, template
from amkd_viz.views.view import View
from amkd_viz.views.walk import walk

__all__ = ["boundary_path"]

MOST = 9  # images; of a longer path those where something changes


def boundary_path(
    nets: nn.Module | Mapping[str, nn.Module],
    samples: BoundarySamples,
    which: int,
    classes: Sequence[str],
    *,
    temperature: float = 1.0,
) -> View:
    """Draw one sample's attack path: images and differences, and each net's logit gap between base and target class.

    The gap is above 0 on the base's side of the boundary and below on the target's. The last column is the
    first crossing of the boundary, found between two steps.

    Args:
        nets: classifiers by name, the attacked one first.
        samples: made with ``keep_path=True``.
        which: position of the sample.
        classes: a name per class.
        temperature: divides the logits that probabilities are made from.

    Returns:
        arrays ``path`` (S + 2, ...) with the first crossing last, ``NAME.gap`` (S + 2,), ``NAME.probabilities``
        (S + 2, K), ``l2`` (S + 2,) from the base; notes ``crossed``, ``steps``, and ``NAME.gap_refined``.

    Raises:
        InputError: the samples have no path, ``which`` is out of range, or the sample is not an image.
    """
    if samples.x.ndim != 4:
        raise InputError("boundary_path draws images; boundary_map draws the paths of points.")
    given = named(nets)
    walked = walk(given, samples, which)
    steps, b, k, path, logits = walked.steps, walked.base, walked.target, walked.path, walked.logits
    gaps, l2 = {name: walked.gap(name) for name in given}, walked.l2()

    shown = [*walked.changed(MOST - 1), steps + 1]
    figure = make_subplots(2, 1, row_heights=[0.56, 0.44], vertical_spacing=0.1)
    figure.update_layout(template=template(), height=520, margin={"t": 40, "l": 60, "r": 20, "b": 44}, showlegend=True)
    legend, least = {"y": 1, "yref": "container", "yanchor": "top", "x": 0}, 100 + 130 * len(shown)
    figure.update_layout(legend=legend, meta={"least": least})
    figure.update_xaxes(range=[-0.6, len(shown) - 0.4], showgrid=False, zeroline=False)
    figure.update_yaxes(range=[0, 2.5], visible=False, row=1, col=1)
    figure.update_xaxes(visible=False, row=1, col=1)
    probabilities = {name: (z / temperature).softmax(1) for name, z in logits.items()}
    _pictures(figure, path, shown, probabilities, classes)
    places, below = list(range(len(shown))), {"row": 2, "col": 1}
    for n, (name, gap) in enumerate(gaps.items()):
        line = {"color": LIGHT.accent if n else LIGHT.ink, "width": 2, "dash": DASHES[min(n, 1)]}
        look = {"line": line, "marker": {"symbol": SYMBOLS[min(n, 1)], "size": 8}, "name": safe(name)}
        tip = f"{safe(name)}: gap %{{y:.3f}}<extra></extra>"
        figure.add_scatter(x=places, y=gap[shown], mode="lines+markers", hovertemplate=tip, **look, **below)
    if walked.crossed:
        at = {"x": places[-1:], "y": [0]}
        figure.add_scatter(**at, mode="markers", marker={**CROSS, "size": 11}, showlegend=False, **below)
    figure.add_hline(0, line={"color": LIGHT.line, "width": 1}, **below)
    words = ["base", *(f"step {i}" for i in shown[1:-1]), "crossing" if walked.crossings[walked.attacked] else "end"]
    figure.update_xaxes(tickvals=places, ticktext=words, **below)
    figure.update_yaxes(title="logit gap, base − target", **below)
    notes: dict[str, Any] = {"crossed": walked.crossed, "steps": steps}
    notes |= {f"{name}.gap_refined": float(gap[-1]) for name, gap in gaps.items()}
    landed = class_name(classes, int(logits[walked.attacked][steps].argmax()))
    way = walked.crossings[walked.attacked]
    passed = ", ".join(class_name(classes, c.after) for c in way)
    ended = f"It ended in {landed}" + f" by way of {passed}" * (len(way) > 1) if way else f"It stayed in {landed}"
    there = ", ".join(f"{name} {number(notes[f'{name}.gap_refined'])}" for name in gaps)
    return View(
        figure,
        {"path": path.cpu().numpy(), "l2": l2}
        | {f"{name}.gap": gap for name, gap in gaps.items()}
        | {f"{name}.probabilities": p.numpy() for name, p in probabilities.items()},
        notes,
        f"From {class_name(classes, b)} towards {class_name(classes, k)}: the image, and its change since the base "
        f"(orange positive, blue negative; one scale). Above 0 a net prefers the base class, below the target. "
        f"{ended} after {plural(steps, 'step')}, L2 {number(float(l2[-2]))} in pixel values"
        + (
            f"; the first crossing is at {number(float(l2[-1]))}, where the gap is: {there}."
            if way
            else f"; the gap there: {there}."
        ),
        "Path to the boundary",
    )


def _pictures(
    figure: Any, path: Tensor, shown: Sequence[int], probabilities: Mapping[str, Tensor], classes: Sequence[str]
) -> None:
    difference = (path - path[:1]).cpu().numpy()
    size = float(np.abs(difference[list(shown)].mean(1)).max())
    scale = 1 / size if size > 0 else 1.0
    small = {"y": 0.42, "yanchor": "top", "showarrow": False, "font": {"size": 10, "color": LIGHT.muted}}
    heads = {"x": 0, "xref": "paper", "xanchor": "right", "xshift": 2, "align": "right"}
    figure.add_annotation(text="<br>".join(safe(name[:9]) for name in probabilities), **heads, **small)
    for x, i in enumerate(shown):
        pictures = [(image_pixels(path[i].cpu().numpy()), 1.5), (signed_pixels(difference[i], scale), 0.46)]
        for pixels, y in pictures if i else pictures[:1]:  # the base image has no difference
            figure.add_layout_image(place(png(pixels), x - 0.45, y, 0.9, 1) | {"sizing": "contain"})
        lines = []
        for own in probabilities.values():
            p, top = own[i].topk(1)
            lines.append(f"{class_label(classes, int(top), 7)}: {percent(float(p), 0)}")
        figure.add_annotation(text="<br>".join(lines), x=x, **small)
