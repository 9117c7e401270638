"""Teacher and student embeddings of the same samples in one aligned layout, boundary samples among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.data import Dataset
from amkd_viz.errors import InputError
from amkd_viz.models import Classifier, freeze
from amkd_viz.objectives.metric import embed
from amkd_viz.views.fidelity import triplets_kept, trustworthiness
from amkd_viz.views.labels import class_label, number, percent, safe
from amkd_viz.views.layout import RING, SYMBOLS, axes, class_legend, named, squares
from amkd_viz.views.layouts import joint_layout
from amkd_viz.views.theme import LIGHT, class_colour
from amkd_viz.views.view import View

__all__ = ["embedding", "spaces"]

NEIGHBOURS = 15
TRIPLETS = 5000
NAMED = 20  # with more classes than this, names would cover the points


def spaces(nets: Mapping[str, nn.Module], x: Tensor, kind: str = "logit") -> dict[str, NDArray[np.float32]]:
    """Unit embeddings (N, D) of x (N, ...) by each net, D its own; ``kind`` as in ``objectives.metric.embed``."""
    found = {}
    for name, net in nets.items():
        if not isinstance(net, Classifier):
            raise InputError(f"{name} is a {type(net).__name__} without embed(); wrap(module, ...) it first.")
        with freeze(net), torch.no_grad():
            parts = [embed(kind, *net.embed(part)[:2]).float().cpu() for part in x.split(500)]
        found[name] = torch.cat(parts).numpy()
    return found


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
    """One panel a net, the same sample at nearly the same place: fitted on the first net, the others aligned to it.

    Args:
        nets: classifiers by name, the teacher first; several epochs of a student work as well.
        samples: boundary samples to lay out among the test samples (rings).
        most: at most so many test samples, the same for every net.
        kind: the space: "logit" (centred, unit norm), "prob" or "feature".
        how: "umap" or "pca" (at once, linear).
        seed: of UMAP and of the triplets that are checked.

    Returns:
        arrays ``index`` (positions in the test split), ``label``, ``boundary`` (bool), all (N,), and per net
        ``NAME.high`` (N, D) and ``NAME.low`` (N, 2); notes per net ``NAME.trustworthiness`` (k = 15, in [0, 1]),
        ``NAME.residual`` (Procrustes, in [0, 1]) and ``NAME.triplets``: the share of triplets (anchor, same class,
        other class) whose order of distances is the same in the picture as in truth.

    Raises:
        InputError: there is no test sample, or a net gives values that are not finite.

    >>> from amkd_viz import build, load
    >>> digits = load("digits")
    >>> nets = {"teacher": build("cnn-small", digits), "student": build("cnn-tiny", digits)}
    >>> view = embedding(nets, digits, most=50, how="pca")
    >>> view.arrays["student.low"].shape, view.notes["teacher.residual"]
    ((45, 2), 0.0)
    """
    given = named(nets)
    chosen = torch.arange(len(dataset.test))[:: max(1, -(-len(dataset.test) // most))]
    x, label = dataset.test.floats(chosen), dataset.test.y[chosen].cpu().numpy()
    ring = np.zeros(len(label), bool)
    if samples is not None and len(samples):
        x, label = torch.cat([x, samples.x]), np.concatenate([label, samples.base.cpu().numpy()])
        ring = np.concatenate([ring, np.ones(len(samples), bool)])
    high = spaces(given, x, kind)
    laid = joint_layout(list(high.values()), how, seed, NEIGHBOURS)
    triplets = _triplets(label, seed)
    notes: dict[str, Any] = {}
    for (name, space), (low, residual) in zip(high.items(), laid, strict=True):
        notes[f"{name}.trustworthiness"] = trustworthiness(space, low, NEIGHBOURS)
        notes[f"{name}.residual"] = residual
        kept = triplets_kept(space, low, triplets)
        notes[f"{name}.triplets"] = float(kept.mean()) if len(kept) else float("nan")

    titles = [f"<b>{safe(name)}</b>" for name in given]
    everything = np.concatenate([low for low, _ in laid])
    middle = (everything.min(0) + everything.max(0)) / 2
    half = max(float(np.ptp(everything, axis=0).max()) * 0.54, 1e-6)
    figure = squares(
        titles, columns=columns, ranges=((middle[0] - half, middle[0] + half), (middle[1] - half, middle[1] + half))
    )
    for update in (figure.update_xaxes, figure.update_yaxes):  # directions and units of such a layout mean nothing
        update(showticklabels=False, showline=True, mirror=True, linecolor=LIGHT.grid)
    words = [class_label(dataset.classes, int(k)) for k in label]
    index = np.concatenate([dataset.test.index[chosen].cpu().numpy(), np.full(int(ring.sum()), -1)])
    for n, (low, _) in enumerate(laid):
        where = {"xaxis": f"x{axes(n)}", "yaxis": f"y{axes(n)}"}
        figure.add_trace(_dots(low, label, words, index, ~ring, SYMBOLS[min(n, 1)]).update(where))
        if ring.any():
            figure.add_trace(_rings(low, label, words, ring).update(where))
        for k, (u, v) in _centres(low[~ring], label[~ring]).items():
            figure.add_annotation(_name(class_label(dataset.classes, k), u, v, axes(n)))
    if len(dataset.classes) <= 12:
        class_legend(figure, dataset.classes)
    return View(
        figure,
        {"index": index, "label": label, "boundary": ring, "triplets": triplets}
        | {f"{name}.high": space for name, space in high.items()}
        | {f"{name}.low": low for name, (low, _) in zip(high, laid, strict=True)},
        notes,
        _caption(list(given), notes, how, kind, int((~ring).sum()), int(ring.sum())),
        f"Embeddings of {dataset.name}",
    )


def _triplets(label: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """(T, 3) anchor, positive of its class, negative of another one; drawn by the seed."""
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, len(label), (TRIPLETS * 20, 3))
    a, p, n = drawn.T
    return np.asarray(drawn[(a != p) & (label[a] == label[p]) & (label[a] != label[n])][:TRIPLETS])


def _dots(low: Any, label: Any, words: list[str], index: Any, which: Any, symbol: str) -> go.Scatter:
    kind = go.Scattergl if which.sum() > 3000 else go.Scatter
    return kind(
        x=low[which, 0],
        y=low[which, 1],
        mode="markers",
        marker={"symbol": symbol, "size": 6, "opacity": 0.8, "color": [class_colour(int(k)) for k in label[which]]},
        text=[word for word, take in zip(words, which, strict=True) if take],
        customdata=index[which],
        hovertemplate="test %{customdata}: %{text}<extra></extra>",
    )


def _rings(low: Any, label: Any, words: list[str], ring: Any) -> go.Scatter:
    colours = [class_colour(int(k)) for k in label[ring]]
    return go.Scatter(
        x=low[ring, 0],
        y=low[ring, 1],
        mode="markers",
        marker={**RING, "symbol": "circle", "color": colours, "size": 8},
        text=[word for word, take in zip(words, ring, strict=True) if take],
        hovertemplate="boundary sample of %{text}<extra></extra>",
    )


def _centres(low: Any, label: Any) -> dict[int, tuple[float, float]]:
    """Where to write each class: the sample nearest to its median, so that the word stands among its points."""
    found = {}
    present = np.unique(label)
    for k in present if len(present) <= NAMED else ():
        own = low[label == k]
        nearest = own[((own - np.median(own, 0)) ** 2).sum(1).argmin()]
        found[int(k)] = (float(nearest[0]), float(nearest[1]))
    return found


def _name(text: str, x: float, y: float, axis: str) -> dict[str, Any]:
    where = {"x": x, "y": y, "xref": f"x{axis}", "yref": f"y{axis}", "yshift": 14, "showarrow": False}
    return {"text": f"<b>{text}</b>", "bgcolor": LIGHT.paper, "opacity": 0.8, "borderpad": 1} | where


def _caption(names: list[str], notes: Mapping[str, float], how: str, kind: str, points: int, rings: int) -> str:
    method = {"umap": "UMAP", "pca": "PCA"}[how]
    trust = ", ".join(f"{name} {number(notes[f'{name}.trustworthiness'])}" for name in names)
    kept = ", ".join(f"{name} {percent(notes[f'{name}.triplets'], 0)}" for name in names)
    told = f"{method} of the {kind} embeddings of {points} test samples" + (
        f" and {rings} boundary samples (ringed, in the colour of their base class)" if rings else ""
    )
    told += f", fitted on {names[0]}" + ("; each next one starts there and is aligned to it. " if names[1:] else ". ")
    told += f"Trustworthiness (k = {NEIGHBOURS}, 1 is best): {trust}. "
    if names[1:]:
        told += "Procrustes residual (0 is the same shape): "
        told += ", ".join(f"{name} {number(notes[f'{name}.residual'])}" for name in names[1:]) + ". "
    return told + f"Triplets whose order of distances the picture keeps: {kept}. Axes have no unit."
