"""Decision regions on the plane through three images, for one or several nets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.views.adaptive import Refined, adaptive_levels
from amkd_viz.views.decisions import agreement, decisions, logits_at
from amkd_viz.views.labels import percent, safe
from amkd_viz.views.layout import NAMED, axes, class_legend, named, squares
from amkd_viz.views.planes import Plane
from amkd_viz.views.raster import class_pixels, image_pixels, place, png
from amkd_viz.views.theme import LIGHT
from amkd_viz.views.view import View

__all__ = ["plane_area", "plane_grid", "plane_levels", "plane_map", "plane_regions"]

Area = tuple[float, float, float, float]
NAMES = ("base", "boundary", "negative")  # for those who know that theirs are such
PLAIN = ("image 1", "image 2", "image 3")
WARM = [int(LIGHT.warm[i : i + 2], 16) for i in (1, 3, 5)]  # in pixels, which no theme changes
SWATCH = f"<span style='color:rgb({','.join(map(str, WARM))})'>\N{BLACK SQUARE}</span>"


def plane_area(plane: Plane, pad: float = 0.35) -> Area:
    """(x0, x1, y0, y1): a square around the three anchors, wider than they lie apart by ``pad`` on each side."""
    low, high = plane.anchors.min(0), plane.anchors.max(0)
    middle, half = (low + high) / 2, float((high - low).max()) * (0.5 + pad)
    return middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half


def plane_grid(area: Area, resolution: int, points: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """(N, 2) coordinates of the cell centres at rows and columns ``points`` (N, 2), by default of all cells."""
    if points is None:
        points = np.stack(np.meshgrid(*[np.arange(resolution)] * 2, indexing="ij"), -1).reshape(-1, 2)
    x0, x1, y0, y1 = area
    share = (points[:, ::-1] + 0.5) / resolution
    return np.asarray([x0, y0] + share * np.array([x1 - x0, y1 - y0]))


def plane_regions(net: nn.Module, plane: Plane, area: Area, resolution: int, exact: bool = False) -> Refined:
    """What ``net`` decides on a plane: ``exact`` evaluates every cell, else at most about a tenth of them."""
    *_, last = plane_levels(net, plane, area, resolution, exact)
    return last


def plane_levels(net: nn.Module, plane: Plane, area: Area, resolution: int, exact: bool = False) -> Iterator[Refined]:
    """The same, and before it coarser pictures of it, each after a round of evaluations."""

    def ask(points: NDArray[np.int64]) -> Tensor:
        parts = np.array_split(points, -(-len(points) // 1024))  # so many images at a time: a grid is 500 MB of them
        return torch.cat([_ask(net, plane.images(plane_grid(area, resolution, p))) for p in parts])

    if not exact:
        yield from adaptive_levels(ask, resolution)
        return
    rows = np.stack(np.meshgrid(*[np.arange(resolution)] * 2, indexing="ij"), -1).reshape(-1, 2)
    logits = ask(rows).cpu()
    found = decisions(logits).shaped(resolution, resolution)
    every = np.ones((resolution, resolution), bool)
    yield Refined(found, every, resolution**2, logits.reshape(resolution, resolution, -1))


def _ask(net: nn.Module, images: Tensor) -> Tensor:
    return logits_at(net, images.to(next((p.device for p in net.parameters()), torch.device("cpu"))))


def plane_map(
    nets: nn.Module | Mapping[str, nn.Module],
    anchors: Tensor | Sequence[Tensor],
    classes: Sequence[str],
    *,
    names: Sequence[str] = PLAIN,
    resolution: int = 200,
    exact: bool = False,
    area: Area | None = None,
    columns: int | None = None,
) -> View:
    """Every point of the plane through three images is an image; the map says what each net would call it.

    Teacher, student, and, for two nets, where they disagree. The pixel box, in which all pixels lie in [0, 1], is
    drawn, and what lies outside is veiled: those are no pictures.

    Args:
        nets: classifiers by name; agreement is with the first.
        anchors: three images (C, H, W) in [0, 1], not on one line: a base image, its boundary sample and an image of
            another class, or any three.
        classes: a name per class.
        names: of the anchors; ``NAMES`` where they are a base image, its boundary sample, which is drawn as a ring, and
            a negative.
        resolution: cells a side.
        exact: evaluate each cell; otherwise coarse to fine, with a tenth of the evaluations.
        area: (x0, x1, y0, y1) in L2 units from the first anchor.

    Returns:
        arrays ``x``, ``y`` (R,), ``anchors`` (3, 2), ``inside`` (R, R) bool and per net ``NAME.winner``,
        ``NAME.confidence``, ``NAME.evaluated`` (R, R); notes ``inside`` (share of the map), ``NAME.evaluations``,
        and against the first net ``NAME.agreement`` on the whole map and ``NAME.agreement_inside`` the box.

    Raises:
        InputError: the anchors lie on one line or are not three images, or the names are not three.

    >>> from amkd_viz import build, load
    >>> digits = load("digits")
    >>> net = build("cnn-tiny", digits)
    >>> view = plane_map(net, digits.test.floats([0, 1, 2]), digits.classes, names=("A", "B", "C"))
    >>> view.arrays["net.winner"].shape, view.notes["net.evaluations"] <= 4000
    ((200, 200), True)
    """
    if resolution < 2:
        raise InputError(f"A map needs a resolution of at least 2 cells a side, not {resolution}.")
    if len(names) != 3:
        raise InputError(f"plane_map needs a name for each of its three images, not {len(names)}.")
    given, plane = named(nets), Plane.through(anchors)
    if len(plane.shape) != 3:
        raise InputError("plane_map draws images (C, H, W); for points use boundary_map.")
    area = area or plane_area(plane)
    maps = {name: plane_regions(net, plane, area, resolution, exact) for name, net in given.items()}
    corners, faces = plane.box(area)
    grid = plane_grid(area, resolution)
    inside = plane.inside(grid, faces).reshape(resolution, resolution)
    notes: dict[str, Any] = {"inside": float(inside.mean())}
    reference = next(iter(maps.values())).decisions
    titles = []
    for name, (found, _, evaluations, _) in maps.items():
        notes[f"{name}.evaluations"] = evaluations
        notes[f"{name}.undecided"] = float((found.winner < 0).mean())
        title = f"<b>{safe(name)}</b>"
        if found is not reference:
            notes[f"{name}.agreement"] = agreement(reference, found)
            notes[f"{name}.agreement_inside"] = agreement(reference, found, where=inside)
            title += f"  agrees on {percent(notes[f'{name}.agreement'])}"
        if notes[f"{name}.undecided"]:
            title = f"<b>{safe(name)}</b>  undecided {percent(notes[f'{name}.undecided'])}"
        titles.append(title)
    layers = {name: class_pixels(m.decisions.winner, m.decisions.confidence) for name, m in maps.items()}
    if len(maps) == 2:
        apart = reference.winner != list(maps.values())[1].decisions.winner
        titles.append(f"{SWATCH} <b>disagreement</b>  {percent(float(apart.mean()))}")
        layers["disagreement"] = _warm(apart)

    unit = "L2, pixel values in [0, 1]"
    figure = squares(titles, columns=columns, ranges=(area[:2], area[2:]), unit=unit)
    stack = torch.stack(list(anchors)) if not isinstance(anchors, Tensor) else anchors
    for n, pixels in enumerate(layers.values()):
        figure.add_layout_image(
            place(png(pixels[::-1], 600), area[0], area[2], area[1] - area[0], area[3] - area[2], axes(n))
        )
        figure.add_shape(_veil(area, corners, axes(n)))
        figure.add_trace(_edge(corners).update({"xaxis": f"x{axes(n)}", "yaxis": f"y{axes(n)}"}))
        figure.add_trace(_marks(plane.anchors, names).update({"xaxis": f"x{axes(n)}", "yaxis": f"y{axes(n)}"}))
        for (x, y), image in zip(plane.anchors, stack, strict=True) if n == 0 else ():
            figure.add_layout_image(_thumbnail(image, x, y, area))
        for each in _words(plane.anchors, names, area):
            figure.add_annotation(_word(*each, axes(n)))
    largest = _largest([m.decisions.winner for m in maps.values()], len(classes))
    class_legend(figure, classes, largest[:NAMED])
    centres = plane_grid(area, resolution).reshape(resolution, resolution, 2)
    arrays: dict[str, NDArray[Any]] = {
        "x": centres[0, :, 0],
        "y": centres[:, 0, 1],
        "anchors": plane.anchors,
        "inside": inside,
        "box": corners,
    }
    for name, (found, evaluated, *_) in maps.items():
        arrays |= {f"{name}.winner": found.winner, f"{name}.confidence": found.confidence}
        arrays |= {f"{name}.evaluated": evaluated}
    first = next(iter(given))
    seen = [_plain(classes, int(k)) for k in decisions(_ask(given[first], stack)).winner]
    called = [f"{name} “{k}”" for name, k in zip(names, seen, strict=True)]
    told = f"{first} calls {', '.join(called[:2])} and {called[2]}. "
    told = _caption(list(given), told, notes, exact, resolution, len(classes), len(largest))
    return View(figure, arrays, notes, told, "Plane map")


def _plain(classes: Sequence[str], k: int) -> str:
    return "undecided" if k < 0 else (classes[k] if k < len(classes) else "") or f"class {k}"


def _warm(apart: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """One neutral colour where two nets differ; it is seen on light and on dark."""
    return np.where(apart[..., None], np.array([*WARM, 220]), 0).astype(np.uint8)


def _veil(area: Area, corners: NDArray[Any], axis: str) -> dict[str, Any]:
    """The area without the pixel box, half covered, and the box's edge."""
    x0, x1, y0, y1 = area
    outer = f"M{x0},{y0}L{x1},{y0}L{x1},{y1}L{x0},{y1}Z"
    inner = "".join(f"{'M' if i == 0 else 'L'}{x},{y}" for i, (x, y) in enumerate(corners)) + "Z" * (len(corners) > 0)
    return {
        "type": "path",
        "path": outer + inner,
        "fillrule": "evenodd",
        "fillcolor": LIGHT.paper,
        "opacity": 0.45,
        "line": {"width": 0},
        "layer": "between",  # above the map, below the marks
        "xref": f"x{axis}",
        "yref": f"y{axis}",
    }


def _edge(corners: NDArray[Any]) -> go.Scatter:
    closed = np.concatenate([corners, corners[:1]])
    line = {"color": LIGHT.ink, "width": 1.4}
    return go.Scatter(x=closed[:, 0], y=closed[:, 1], mode="lines", line=line, hoverinfo="skip")


def _marks(anchors: NDArray[Any], names: Sequence[str]) -> go.Scatter:
    ring = [name == NAMES[1] for name in names]  # a boundary sample
    symbols = ["circle-open" if is_ring else "circle" for is_ring in ring]
    edge = {"color": LIGHT.paper, "width": [2 if is_ring else 1 for is_ring in ring]}
    return go.Scatter(
        x=anchors[:, 0],
        y=anchors[:, 1],
        mode="markers",
        marker={"symbol": symbols, "size": 9, "color": LIGHT.ink, "line": edge},
        text=[safe(name) for name in names],
        hovertemplate="%{text}: (%{x:.2f}, %{y:.2f}) L2<extra></extra>",
    )


def _thumbnail(image: Tensor, x: float, y: float, area: Area) -> dict[str, Any]:
    side = 0.13 * (area[1] - area[0])
    left, low = _beside(x, y, area, side)
    return place(png(image_pixels(image.detach().cpu().numpy())), left, low, side, side) | {"layer": "above"}


def _beside(x: float, y: float, area: Area, side: float) -> tuple[float, float]:
    """Left lower corner of a square beside a point, away from the middle of the area and inside it."""
    gap = side / 5
    left = x + gap if x > (area[0] + area[1]) / 2 else x - gap - side
    low = y + gap if y > (area[2] + area[3]) / 2 else y - gap - side
    return min(max(left, area[0]), area[1] - side), min(max(low, area[2]), area[3] - side)


def _words(anchors: NDArray[Any], names: Sequence[str], area: Area) -> list[tuple[str, float, float, str]]:
    """The first name left of its point, the second right, where they cannot meet; the third away from its picture."""
    sides = ("left", "right", "left" if anchors[2, 0] > (area[0] + area[1]) / 2 else "right")
    return [(safe(name), x, y, side) for name, (x, y), side in zip(names, anchors, sides, strict=True)]


def _word(word: str, x: float, y: float, side: str, axis: str) -> dict[str, Any]:
    anchor, xshift = {"left": ("right", -9), "right": ("left", 9)}[side]
    where = {"x": x, "y": y, "xref": f"x{axis}", "yref": f"y{axis}", "xanchor": anchor, "xshift": xshift}
    box = {"bgcolor": LIGHT.paper, "borderpad": 1, "opacity": 0.85, "font": {"size": 11}}
    return {"text": word, "showarrow": False} | where | box


def _caption(
    names: list[str], corners: str, notes: Mapping[str, Any], exact: bool, resolution: int, classes: int, present: int
) -> str:
    told = "Each point of the plane is an image; colour is the class that the net gives it, opacity its confidence. "
    told += corners
    if exact:
        told += f"All {resolution} x {resolution} cells were evaluated. "
    else:
        asked = ", ".join(f"{name} {notes[f'{name}.evaluations']:,}" for name in names)
        told += f"Coarse to fine: of {resolution**2:,} cells were evaluated {asked}; the rest is interpolated. "
    told += (
        f"The outlined part ({percent(notes['inside'], 0)} of the map) is the pixel box; veiled points have pixels "
        "outside [0, 1] and are no pictures. "
    )
    for name in names[1:]:
        told += (
            f"{name} agrees with {names[0]} on {percent(notes[f'{name}.agreement'])} of the map, on "
            f"{percent(notes[f'{name}.agreement_inside'])} of the box. "
        )
    if len(names) == 2:
        told += f"Disagreement: brown where {names[0]} and {names[1]} give different classes, bare where the same. "
    if classes > NAMED:
        named = f"the {present} that are here" if present <= NAMED else f"the {NAMED} largest regions of {present}"
        told += f"Some of the {classes} classes have nearly the same colour; the legend names {named}, largest first."
    return told.strip()


def _largest(winners: Sequence[NDArray[Any]], classes: int) -> list[int]:
    """The classes that occur on maps, largest region first."""
    every = np.concatenate([winner[winner >= 0].ravel() for winner in winners])
    shares = np.bincount(every, minlength=classes)
    return [int(k) for k in (-shares).argsort(kind="stable") if shares[k]]
