"""Exact decision maps of a 2-D problem: what each net would say at every point of one fixed window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.views.decisions import Decisions, agreement, decide
from amkd_viz.views.labels import class_label, percent, plural, safe, shorten, used_of
from amkd_viz.views.layout import DOTTED, RING, alike, axes, class_legend, keep, named, squares
from amkd_viz.views.raster import class_pixels, place, png
from amkd_viz.views.theme import LIGHT, class_colour
from amkd_viz.views.view import View

__all__ = ["boundary_map", "exact_map", "grid_points", "window"]

Window = tuple[float, float, float, float]
LONG, LONGEST = 20, 26  # characters of a name: beside a number, and at all; the caption has it whole


def window(dataset: Dataset, pad: float = 0.08) -> Window:
    """(x0, x1, y0, y1), a square around the training points: a function of the data alone, so maps of different nets
    and epochs can be laid over each other."""
    low, high = dataset.train.x.aminmax(dim=0)
    middle, half = (low + high) / 2, float((high - low).max()) * (0.5 + pad)
    (x, y) = middle.tolist()
    return x - half, x + half, y - half, y + half


def exact_map(
    model: nn.Module, area: Window, resolution: int = 200
) -> tuple[NDArray[np.float32], NDArray[np.float32], Decisions]:
    """Evaluate a net of 2-D points at the centre of every cell of ``area``.

    Returns:
        x (R,), y (R,), both ascending, and Decisions of shape (R, R), row i at y[i].
    """
    if resolution < 2:
        raise InputError(f"A map needs a resolution of at least 2 cells a side, not {resolution}.")
    points = grid_points(area, resolution)
    x, y = points[:resolution, 0].numpy(), points[::resolution, 1].numpy()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return x, y, decide(model, points.to(device), 8192).shaped(resolution, resolution)


def grid_points(area: Window, resolution: int) -> Tensor:
    """(R * R, 2) centres of the cells of ``area``: row by row from the bottom, each from the left."""
    centres = (np.arange(resolution) + 0.5) / resolution
    x = (area[0] + (area[1] - area[0]) * centres).astype(np.float32)
    y = (area[2] + (area[3] - area[2]) * centres).astype(np.float32)
    return torch.from_numpy(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))


def boundary_map(
    nets: nn.Module | Mapping[str, nn.Module],
    dataset: Dataset,
    *,
    samples: BoundarySamples | Mapping[str, BoundarySamples] | None = None,
    area: Window | None = None,
    resolution: int = 200,
    margin: float | None = 0.5,
    points: int = 400,
    columns: int | None = None,
) -> View:
    """Decision maps of one or several nets in the same window, with data and boundary samples on each.

    Args:
        nets: a classifier of 2-D points, or several by name; the first is the reference for agreement.
        dataset: gives classes, points and (without ``area``) the window.
        samples: boundary samples: a ring at each, and the path that led to it from its base point; on every map, or by
            the name of the net whose map shows them.
        area: (x0, x1, y0, y1) in the data's units.
        resolution: cells a side.
        margin: also draw the line where the two largest probabilities differ by so much; None for none.
        points: at most so many test points are drawn.

    Returns:
        arrays ``x``, ``y`` (R,), ``NAME.winner``, ``NAME.confidence`` (R, R); notes ``NAME.agreement`` with the first
        net over the window, ``NAME.undecided``.

    Raises:
        InputError: the data set is not two-dimensional, or an argument is out of range.

    >>> from amkd_viz import build, load
    >>> moons = load("moons", n=40)
    >>> nets = {"teacher": build("mlp", moons), "student": build("mlp-tiny", moons)}
    >>> view = boundary_map(nets, moons, resolution=20)
    >>> view.arrays["student.winner"].shape, 0 <= view.notes["student.agreement"] <= 1
    ((20, 20), True)
    """
    if dataset.kind != "points":
        raise InputError(f"boundary_map draws 2-D problems; for images such as {dataset.name} use plane_map.")
    given, area = named(nets), area or window(dataset)
    maps = {name: exact_map(net, area, resolution) for name, net in given.items()}
    x, y, reference = next(iter(maps.values()))
    notes: dict[str, Any] = {}
    titles = []
    for name, (_, _, found) in maps.items():
        notes[f"{name}.undecided"] = float((found.winner < 0).mean())
        title = f"<b>{safe(shorten(name, LONGEST))}</b>"
        if found is not reference:
            notes[f"{name}.agreement"] = agreement(reference, found)
            # a long name leaves no room beside it
            title += f"{'<br>' if len(name) > LONG else '  '}agrees on {percent(notes[f'{name}.agreement'])}"
        if notes[f"{name}.undecided"]:
            title = f"<b>{safe(shorten(name, LONGEST))}</b>  undecided {percent(notes[f'{name}.undecided'])}"
        titles.append(title)

    figure = squares(titles, columns=columns, ranges=(area[:2], area[2:]), unit="x1")
    figure.layout.yaxis.title = {"text": "x2", "standoff": 2}
    chosen = keep(len(dataset.test), points)
    for number, (name, (_, _, found)) in enumerate(maps.items()):
        source = png(class_pixels(found.winner, found.confidence)[::-1], 600)
        figure.add_layout_image(place(source, area[0], area[2], area[1] - area[0], area[3] - area[2], axes(number)))
        where = {"xaxis": f"x{axes(number)}", "yaxis": f"y{axes(number)}"}
        if margin is not None:
            figure.add_trace(_margin_line(x, y, found, margin, name).update(where))
        figure.add_traces([t.update(where) for t in _points(dataset, chosen)])
        own = samples.get(name) if isinstance(samples, Mapping) else samples
        if own is not None and len(own):
            figure.add_traces([t.update(where) for t in _samples(own, dataset.classes)])
    class_legend(figure, dataset.classes)
    return View(
        figure,
        {"x": x, "y": y} | {f"{k}.{part}": getattr(m[2], part) for k, m in maps.items() for part in Decisions._fields},
        notes,
        _caption(dataset, maps, notes, samples, margin, resolution, len(chosen)) + alike(dataset.classes, "a dot"),
        f"Decision maps of {dataset.name}",
    )


def _margin_line(x: Any, y: Any, found: Decisions, margin: float, name: str) -> go.Contour:
    step = max(1, len(x) // 100)  # a line needs no more cells than this; it is interpolated, the map is not
    return go.Contour(
        x=x[::step],
        y=y[::step],
        z=found.margin[::step, ::step],
        contours={"start": margin, "end": margin, "size": 1, "coloring": "none"},
        line={"color": LIGHT.ink, "width": 1.2, "dash": DOTTED},
        showscale=False,
        hoverinfo="skip",
        name=f"{name}: margin {margin:g}",
    )


def _points(dataset: Dataset, chosen: list[int]) -> list[go.Scatter]:
    at, classes = dataset.test.x[chosen].cpu().numpy(), dataset.test.y[chosen].cpu().numpy()
    kind = go.Scattergl if len(chosen) > 2000 else go.Scatter
    return [
        kind(
            x=at[:, 0],
            y=at[:, 1],
            mode="markers",
            marker={
                "size": 5,
                "color": [class_colour(int(k)) for k in classes],
                "line": {"width": 0.8, "color": LIGHT.paper},
            },
            text=[class_label(dataset.classes, int(k)) for k in classes],
            customdata=dataset.test.index[chosen].cpu().numpy(),
            hovertemplate="test %{customdata}: %{text}<br>(%{x:.2f}, %{y:.2f})<extra></extra>",
        )
    ]


def _samples(samples: BoundarySamples, classes: tuple[str, ...]) -> list[go.Scatter]:
    """A line from each base point through the iterates to the sample, and a ring there."""
    steps = samples.path if samples.path is not None else torch.stack([samples.origin, samples.x])
    steps = torch.cat([steps, samples.x[None]])  # a refined sample is not the last iterate
    ends = torch.full_like(steps[:1], float("nan"))
    line: Tensor = torch.cat([steps, ends]).transpose(0, 1).reshape(-1, 2).cpu()
    at = samples.x.cpu().numpy()
    ways = [
        f"{class_label(classes, b)} to {class_label(classes, k)}"
        for b, k in zip(samples.base.tolist(), samples.target.tolist(), strict=True)
    ]
    return [
        go.Scatter(
            x=line[:, 0].numpy(),
            y=line[:, 1].numpy(),
            mode="lines",
            line={"width": 1, "color": LIGHT.ink},
            hoverinfo="skip",
        ),
        go.Scatter(
            x=at[:, 0],
            y=at[:, 1],
            mode="markers",
            marker=RING,
            text=ways,
            hovertemplate="boundary sample, %{text}<br>(%{x:.2f}, %{y:.2f})<extra></extra>",
        ),
    ]


def _caption(
    dataset: Dataset,
    maps: Mapping[str, Any],
    notes: Mapping[str, float],
    samples: BoundarySamples | Mapping[str, BoundarySamples] | None,
    margin: float | None,
    resolution: int,
    points: int,
) -> str:
    told = [
        f"Each of the {resolution} x {resolution} cells was evaluated (exact, not interpolated); colour is the class, "
        f"opacity the confidence, dots are {used_of(points, len(dataset.test), 'test point')}; axes are the data's two "
        "coordinates."
    ]
    if margin is not None:
        told.append(f"Dotted: the two largest probabilities differ by {margin:g}.")
    given = samples if isinstance(samples, Mapping) else {} if samples is None else {"": samples}
    rings = []
    for name, own in given.items():
        if len(own):
            what = plural(len(own), "boundary sample") + (f" of the {name}" if name else "")
            rings.append(f"{what} ({percent(float(own.crossed.float().mean()), 0)} crossed)")
    if rings:
        told.append(f"Rings: {' and '.join(rings)}, with the path that the attack took.")
    first = next(iter(maps))
    shares = [f"{name} {percent(notes[f'{name}.agreement'])}" for name in maps if f"{name}.agreement" in notes]
    if shares:
        told.append(f"Same class as {first}, share of the window: {', '.join(shares)}.")
    return " ".join(told)
