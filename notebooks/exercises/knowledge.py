"""What a method transfers, as a picture of its own: relations, attention, rankings, and weights per sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.objectives.zoo.relations import similarities
from amkd_viz.objectives.zoo.stages import unit
from amkd_viz.views import View
from amkd_viz.views.labels import class_name, percent, safe
from amkd_viz.views.theme import LIGHT, template

__all__ = ["attention_maps", "rank_lists", "relation_maps", "weights_over_margin"]

TITLE = 28  # pixels between two rows, for the words above a map
RISING = [[0, LIGHT.paper], [1, LIGHT.accent]]
Nets = Mapping[str, Classifier]


def _outputs(net: Classifier, x: Tensor, *layers: int) -> Any:
    with torch.no_grad():
        return net.eval().outputs(x, layers)


def _heatmaps(titles: list[str], maps: list[Any], columns: int, height: int, images: int = 0) -> Any:
    rows = -(-len(maps) // columns)
    apart = {"horizontal_spacing": 0.03, "vertical_spacing": TITLE / (height - 50)}
    figure = make_subplots(rows, columns, subplot_titles=titles, **apart)
    figure.update_layout(template=template(), height=height, margin={"t": 40, "l": 10, "r": 10, "b": 10})
    for n, z in enumerate(maps):
        at = {"row": n // columns + 1, "col": n % columns + 1}
        grey = [[0, "#ffffff"], [1, "#111111"]]
        colours = grey if n < images else RISING
        figure.add_heatmap(z=np.asarray(z)[::-1], colorscale=colours, showscale=False, hoverinfo="z", **at)
    figure.update_xaxes(visible=False).update_yaxes(visible=False, scaleanchor="x", constrain="domain")
    for i in range(2, len(maps) + 1):
        figure.update_layout({f"yaxis{i}": {"scaleanchor": f"x{i}"}})
    return figure


def relation_maps(nets: Nets, data: Dataset, per_class: int = 6) -> View:
    """Draw which test images each net sees alike: cosines of the last maps, images sorted by class.

    Args:
        nets: the teacher first. per_class: images per class.

    Returns:
        arrays ``NAME`` (N, N); notes ``NAME.likeness``: correlation with the first net's, off the diagonal.
    """
    order = torch.cat([(data.test.y == k).nonzero()[:per_class, 0] for k in range(data.num_classes)])
    x = data.test.floats(order)
    arrays = {name: similarities(_outputs(net, x, -1).layers[-1].flatten(1)).numpy() for name, net in nets.items()}
    off = ~np.eye(len(x), dtype=bool)
    first = next(iter(arrays.values()))[off]
    notes = {f"{name}.likeness": float(np.corrcoef(first, g[off])[0, 1]) for name, g in arrays.items()}
    titles = [f"<b>{safe(n)}</b>" + (f" {notes[f'{n}.likeness']:.2f}" if i else "") for i, n in enumerate(arrays)]
    caption = (
        f"{len(x)} test images by {len(x)}, sorted by class: darker means more alike in the net's last maps. "
        f"Squares on "
        "the diagonal are classes. The number is the correlation with the teacher's map, diagonal left out."
    )
    return View(_heatmaps(titles, list(arrays.values()), len(arrays), 300), arrays, notes, caption, "Relations")


def attention_maps(nets: Nets, data: Dataset, count: int = 6, layer: int = -2) -> View:
    """Draw where each net looks: the energy of each place of a stage, for the first test images.

    Args:
        nets: the teacher first. count: images. layer: stage, counted from the end.

    Returns:
        arrays ``NAME`` (N, H W), unit vectors; notes ``NAME.likeness``: mean cosine with the first
        net's, over 200 images.
    """
    x = data.test.floats(slice(0, 200))
    arrays, shapes = {}, {}
    for name, net in nets.items():
        maps = _outputs(net, x, layer).layers[layer].square().mean(1)
        shapes[name], arrays[name] = maps.shape[1:], maps
    side = min(tuple(shape) for shape in shapes.values())
    arrays = {name: unit(F.adaptive_avg_pool2d(maps[:, None], side)).numpy() for name, maps in arrays.items()}
    first = next(iter(arrays.values()))
    notes = {f"{name}.likeness": float((first * q).sum(1).mean()) for name, q in arrays.items()}
    shown = [x[i, 0].numpy() for i in range(count)]
    shown += [q[i].reshape(side) for q in arrays.values() for i in range(count)]
    titles = [""] * len(shown)
    for row, name in enumerate(arrays, 1):
        titles[row * count] = f"<b>{safe(name)}</b> {notes[f'{name}.likeness']:.2f}"
    figure = _heatmaps(titles, shown, count, 110 * (len(arrays) + 1) + 40, images=count)
    caption = (
        f"Top: images. Below: the mean square over channels at each of the {side[0]} x {side[1]} places of stage "
        f"{layer}, "
        "darker is more. The number is the mean cosine with the teacher's map over 200 test images."
    )
    return View(figure, arrays, notes, caption, "Attention maps")


def rank_lists(nets: Nets, data: Dataset, which: int = 0, places: int = 5) -> View:
    """Draw the first places of each net's ranking of the classes for one test image.

    Args:
        nets: the teacher first. which: position of the test image. places: of the ranking.

    Returns:
        arrays ``NAME`` (N, K), classes from the most likely one; notes ``NAME.same``: share of test images with the
        first net's first three places, in order.
    """
    if not 0 <= which < len(data.test):
        raise InputError(f"which must be 0 to {len(data.test) - 1}, got {which}.")
    x = data.test.floats()
    logits = {name: _outputs(net, x).logits for name, net in nets.items()}
    arrays = {name: z.argsort(1, descending=True).numpy() for name, z in logits.items()}
    first = next(iter(arrays.values()))[:, :3]
    notes = {f"{name}.same": float((ranks[:, :3] == first).all(1).mean()) for name, ranks in arrays.items()}
    figure = make_subplots(1, len(nets) + 1, column_widths=[0.6] + [1] * len(nets), horizontal_spacing=0.06)
    figure.update_layout(template=template(), height=240, showlegend=False, margin={"t": 40, "b": 40, "l": 10, "r": 10})
    grey = [[0, "#ffffff"], [1, "#111111"]]
    figure.add_heatmap(z=x[which, 0].numpy()[::-1], colorscale=grey, showscale=False, hoverinfo="skip", row=1, col=1)
    figure.update_xaxes(visible=False, row=1, col=1).update_yaxes(visible=False, scaleanchor="x", row=1, col=1)
    for n, (name, z) in enumerate(logits.items(), 2):
        p = z[which].softmax(0)[torch.as_tensor(arrays[name][which, :places])]
        words = [class_name(data.classes, int(k)) for k in arrays[name][which, :places]]
        figure.add_bar(
            x=p.numpy(), y=list(range(places)), orientation="h", marker={"color": LIGHT.accent}, row=1, col=n
        )
        figure.update_yaxes(tickvals=list(range(places)), ticktext=words, autorange="reversed", row=1, col=n)
        title = f"<b>{safe(name)}</b>" + (f" {percent(notes[f'{name}.same'], 0)}" if n > 2 else "")
        figure.update_xaxes(title=title, range=[0, 1], row=1, col=n)
    caption = (
        "The most likely classes of one test image and their probabilities. The number is the share of all test images "
        "for which the first three places are the teacher's, in order."
    )
    return View(figure, arrays, notes, caption, "Rankings")


def weights_over_margin(teacher: Classifier, data: Dataset) -> View:
    """Draw the weight that ``ada`` gives to the teacher's predictions of each test image, over the teacher's margin.

    Returns:
        arrays ``margin`` (N,), the largest minus the second probability, ``weight`` (N,) in [0, 1] and ``right`` (N,)
        bool; notes ``low``, ``high``: mean weight below margin 0.5 and above.
    """
    y = data.test.y
    p = _outputs(teacher, data.test.floats()).logits.softmax(1)
    own = p.gather(1, y[:, None])[:, 0]
    weight = (own - (1 - own) / (p.shape[1] - 1)).clamp_min(0).numpy()
    top = p.topk(2).values
    margin, right = (top[:, 0] - top[:, 1]).numpy(), (p.argmax(1) == y).numpy()
    sides = {"low": weight[margin < 0.5], "high": weight[margin >= 0.5]}
    notes = {side: float(own.mean()) if len(own) else float("nan") for side, own in sides.items()}
    figure = make_subplots(1, 1)
    figure.update_layout(template=template(), height=340, margin={"t": 20, "b": 50, "l": 60, "r": 10})
    for words, which, colour in (("teacher right", right, LIGHT.accent), ("teacher wrong", ~right, LIGHT.warm)):
        figure.add_scatter(x=margin[which], y=weight[which], mode="markers", name=words, marker={"color": colour})
    figure.update_xaxes(title="the teacher's margin: largest minus second probability", range=[-0.02, 1.02])
    figure.update_yaxes(title="weight of its prediction", range=[-0.03, 1.03])
    caption = (
        f"Each dot is one of {len(y)} test images. Where the teacher is wrong, its prediction weighs little and the "
        "label more."
    )
    return View(figure, {"margin": margin, "weight": weight, "right": right}, notes, caption, "Weights")
