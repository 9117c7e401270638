"""Exact decision maps of a 2-D problem: what each net predicts at every point of one fixed window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.views.decisions import Decisions
from amkd_viz.views.figure import figure
from amkd_viz.views.labels import class_name, percent, plural, used_of
from amkd_viz.views.layout import alike, named
from amkd_viz.views.scene import Area, Mark, Scene, compared
from amkd_viz.views.slices import Slice
from amkd_viz.views.view import View

__all__ = ["boundary_map"]


def boundary_map(
    nets: nn.Module | Mapping[str, nn.Module],
    dataset: Dataset,
    *,
    samples: BoundarySamples | Mapping[str, BoundarySamples] | None = None,
    area: Area | None = None,
    resolution: int = 200,
    margin: float | None = 0.5,
    points: int = 400,
    columns: int | None = None,
) -> View:
    """Draw decision maps of one or several nets in the same window, with data and boundary samples on each.

    Args:
        nets: a classifier of 2-D points, or several by name; the first is the reference for agreement.
        dataset: gives classes, points and (without ``area``) the window.
        samples: boundary samples, drawn as a ring each with the attack path from its base point; on every map, or by
            the name of the net whose map shows them.
        area: (x0, x1, y0, y1) in the data's units.
        resolution: grid resolution, cells per side.
        margin: also draw the line on which the two largest probabilities differ by this much; None for no line.
        points: maximum number of test points to draw.

    Returns:
        arrays ``x``, ``y`` (R,), ``NAME.winner``, ``NAME.confidence``, ``NAME.margin`` (R, R); notes
        ``NAME.agreement`` with the first net over the window, ``NAME.undecided``.

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
    here = Slice(dataset, area=area)
    maps = {name: here.decisions(net, resolution) for name, net in named(nets).items()}
    panels, notes = compared(maps, margin=margin)
    marks, every = here.marks(points=points), {"": samples} if isinstance(samples, BoundarySamples) else samples or {}
    shown = len(marks[0].points)
    for name, found in every.items():
        panel = list(maps).index(name) if name in maps else None
        if len(found) and (name in maps or not name):
            marks += _attack(found, dataset.classes, panel)
    scene = Scene(panels, here.area, marks, dataset.classes, here.units, columns)
    arrays: dict[str, Any] = here.arrays(resolution)
    arrays |= {f"{k}.{part}": getattr(found, part) for k, found in maps.items() for part in Decisions._fields}
    caption = (
        f"Each of the {resolution} x {resolution} cells was evaluated (exact, not interpolated); colour is the class, "
        f"opacity the confidence, dots are {used_of(shown, len(dataset.test), 'test point')}; axes are the data's two "
        "coordinates."
    )
    if margin is not None:
        caption += f" Dotted: the two largest probabilities differ by {margin:g}."
    rings = [
        plural(len(found), "boundary sample")
        + (f" of the {name}" if name else "")
        + f" ({percent(float(found.crossed.float().mean()), 0)} crossed)"
        for name, found in every.items()
        if len(found)
    ]
    if rings:
        caption += f" Rings: {' and '.join(rings)}, with the attack paths."
    shares = [f"{name} {percent(notes[f'{name}.agreement'])}" for name in maps if f"{name}.agreement" in notes]
    if shares:
        caption += f" Same class as {next(iter(maps))}, share of the window: {', '.join(shares)}."
    caption += alike(dataset.classes, "a dot")
    return View(figure(scene), arrays, notes, caption, f"Decision maps of {dataset.name}")


def _attack(samples: BoundarySamples, classes: tuple[str, ...], panel: int | None) -> list[Mark]:
    """Return a path from each base point through the iterates to the sample, and a ring there."""
    steps = samples.path if samples.path is not None else torch.stack([samples.origin, samples.x])
    gap = torch.full_like(samples.x, torch.nan)  # separates the paths
    paths = torch.cat([steps, torch.stack([samples.x, gap])])  # a refined sample is not the last iterate
    pairs = zip(samples.base.tolist(), samples.target.tolist(), strict=True)
    text = [f"boundary sample, {class_name(classes, base)} to {class_name(classes, target)}" for base, target in pairs]
    return [
        Mark("path", paths.transpose(0, 1).reshape(-1, 2).cpu().numpy(), panel=panel),
        Mark("ring", samples.x.cpu().numpy(), text=text, panel=panel),
    ]
