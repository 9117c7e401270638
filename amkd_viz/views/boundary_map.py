"""Exact decision maps of a 2-D problem: what each net predicts at every point of one fixed window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.views.crossings import Crossing, crossings_of
from amkd_viz.views.decisions import Decisions
from amkd_viz.views.figure import figure
from amkd_viz.views.labels import class_name, percent, plural, used_of
from amkd_viz.views.layout import alike, named
from amkd_viz.views.scene import Area, Mark, Scene, compared
from amkd_viz.views.slices import Slice
from amkd_viz.views.view import View

__all__ = ["attack_marks", "boundary_map"]

FEW = 3  # samples whose steps are numbered and whose crossings are marked

SPLITS = {"train": "training", "val": "validation", "test": "test"}


def boundary_map(
    nets: nn.Module | Mapping[str, nn.Module],
    dataset: Dataset,
    *,
    samples: BoundarySamples | Mapping[str, BoundarySamples] | None = None,
    area: Area | None = None,
    resolution: int = 200,
    margin: float | Sequence[float] | None = 0.5,
    split: str = "test",
    points: int = 400,
    temperature: float = 1.0,
    columns: int | None = None,
) -> View:
    """Draw decision maps of one or several nets in the same window, with data and boundary samples on each.

    Args:
        nets: a classifier of 2-D points, or several by name; the first is the reference for agreement.
        dataset: gives classes, points and (without ``area``) the window.
        samples: boundary samples, drawn as a ring each with the attack path from its base point; on every map, or by
            the name of the net whose map shows them. The steps of up to three by name are numbered, and a cross marks
            each place where the path enters another class of the net.
        area: (x0, x1, y0, y1) in the data's units.
        resolution: grid resolution, cells per side.
        margin: also draw the lines on which the two largest probabilities differ by this much, or each of these; None
            for no line.
        split: "train", "val" or "test"; points: the maximum number of its points to draw.
        temperature: divides the logits: softer probabilities, the same classes.

    Returns:
        arrays ``x``, ``y`` (R,), ``NAME.winner``, ``NAME.confidence``, ``NAME.margin`` (R, R); notes
        ``NAME.agreement`` with the first net over the window, ``NAME.undecided``; of up to three samples by name also
        ``NAME.crossings`` (C, 3): the sample, and the place of each crossing.

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
    here, given = Slice(dataset, area=area), named(nets)
    drawn = {net: here.decisions(net, resolution, temperature) for net in dict.fromkeys(given.values())}
    maps = {name: drawn[net] for name, net in given.items()}  # a net agrees with itself: nothing to say of it
    margins = () if margin is None else (margin,) if isinstance(margin, int | float) else tuple(margin)
    panels, notes = compared(maps, margins=margins)
    marks = here.marks(split=split, points=points)
    every: Mapping[str, BoundarySamples] = {"": samples} if isinstance(samples, BoundarySamples) else samples or {}
    extra = dataset.extra if split == "train" else 0
    shown = used_of(len(marks[0].points), len(getattr(dataset, split)) - extra, f"{SPLITS[split]} point")
    arrays: dict[str, Any] = here.arrays(resolution)
    for name, found in every.items():
        if not len(found) or (name and name not in maps):
            continue
        if not name or len(found) > FEW:
            marks += _attack(found, dataset.classes, list(maps).index(name) if name else None)
            continue
        ways = [crossings_of(given[name], found, i) for i in range(len(found))]
        arrays[f"{name}.crossings"] = np.array([(i, *c.x.tolist()) for i, way in enumerate(ways) for c in way])
        for i, way in enumerate(ways):
            marks += attack_marks(found[i : i + 1], way, dataset.classes, list(maps).index(name))
    scene = Scene(panels, here.area, marks, dataset.classes, here.units, columns)
    arrays |= {f"{k}.{part}": getattr(found, part) for k, found in maps.items() for part in Decisions._fields}
    caption = f"Colour is the predicted class, opacity the confidence; dots are {shown}."
    shares = [f"{name} {percent(notes[f'{name}.agreement'])}" for name in maps if f"{name}.agreement" in notes]
    if shares:
        caption += f" Same class as {next(iter(maps))}, share of the window: {', '.join(shares)}."
    if margins:
        caption += f" Dotted: the two largest probabilities differ by {', '.join(f'{level:g}' for level in margins)}."
    if extra:
        caption += f" Triangles: {plural(extra, 'training point')} added by hand."
    if temperature != 1:
        caption += f" Probabilities at temperature {temperature:g}."
    rings = [
        plural(len(found), "boundary sample")
        + (f" of the {name}" if name else "")
        + f" ({percent(float(found.crossed.float().mean()), 0)} crossed)"
        for name, found in every.items()
        if len(found)
    ]
    if rings:
        caption += f" Rings: {' and '.join(rings)}, with the attack paths."
    if any(f"{name}.crossings" in arrays for name in every):
        caption += " Numbers: attack steps. Crosses: where a path enters another class, found between two steps."
    caption += f" Each of the {resolution} x {resolution} cells was evaluated, none interpolated. Axes: the data's two "
    caption += "coordinates."
    caption += alike(dataset.classes, "a dot")
    return View(figure(scene), arrays, notes, caption, f"Decision maps of {dataset.name}")


def attack_marks(
    samples: BoundarySamples, way: Sequence[Crossing], classes: Sequence[str], panel: int | None, dash: bool = False
) -> list[Mark]:
    """Return the path of one sample with its steps numbered, a ring at its end, and a cross at each crossing."""
    steps = torch.stack([samples.origin[0], samples.x[0]])
    if samples.path is not None:
        steps = samples.path[: int(samples.steps) + 1, 0]
    marks = [Mark("path", steps.cpu().numpy(), dash=dash, numbered=True, panel=panel)]
    text = [f"boundary sample, {class_name(classes, int(samples.base))} to {class_name(classes, int(samples.target))}"]
    if bool(samples.crossed):
        marks.append(Mark("ring", samples.x.cpu().numpy(), text=text, panel=panel))
    if way:
        text = [f"from {class_name(classes, c.before)} into {class_name(classes, c.after)}" for c in way]
        marks.append(Mark("cross", torch.stack([c.x for c in way]).cpu().numpy(), text=text, panel=panel))
    return marks


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
