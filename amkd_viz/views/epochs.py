"""A student's decision map over its epochs: one HTML file with a slider, or a GIF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.data import Dataset
from amkd_viz.views.decisions import agreement, by_area
from amkd_viz.views.figure import slider
from amkd_viz.views.labels import class_name, percent, used_of
from amkd_viz.views.layout import NAMED, alike, largest_only
from amkd_viz.views.scene import Area, Panel, Scene
from amkd_viz.views.slices import NAMES, Slice, telling_triple
from amkd_viz.views.view import View

if TYPE_CHECKING:
    from amkd_viz.runs import Run

__all__ = ["epochs", "recording"]

MOST_FRAMES = 61
OPENS = {"first": 0, "last": -1}


def epochs(
    nets: Mapping[int, nn.Module],
    dataset: Dataset,
    *,
    teacher: nn.Module | None = None,
    anchors: Tensor | None = None,
    labels: tuple[int, ...] = (),
    area: Area | None = None,
    resolution: int = 160,
    points: int = 300,
    opens: str = "last",
) -> View:
    """Draw the student's map after each epoch behind a slider: a 2-D problem exactly, images on a plane through three.

    ``view.save("x.html")`` writes one file that works without a kernel or a network; ``view.save("x.gif")`` an
    animation.

    Args:
        nets: epoch -> classifier, such as ``{e: run.student(e) for e in run.snapshots()}``; at most 61 evenly spaced
            epochs are drawn, the last one among them.
        teacher: shown beside, and the reference of the agreement.
        anchors: three images (3, C, H, W) in [0, 1] for a plane, such as those of ``slices.telling_triple``; labels:
            their classes.
        area: (x0, x1, y0, y1); by default around the data or the anchors.
        resolution: grid resolution, cells per side.
        points: maximum number of test points to draw.
        opens: epoch shown before the slider moves, "first" or "last".

    Returns:
        arrays ``epoch`` (E,), ``winner`` and ``confidence`` (E, R, R), ``x``, ``y`` (R,); of a plane ``anchors``
        (3, 2), ``box`` (V, 2), ``inside`` (R, R), else ``points`` (P, 2), ``label`` (P,); with a teacher
        ``teacher.winner`` and ``teacher.confidence`` (R, R). Notes ``agreement`` (E,) with the teacher (of a
        plane in the valid pixel range), NaN without.

    Raises:
        InputError: no net, a data set of images without three anchors, or ``opens`` is another word.

    >>> from amkd_viz import build, load
    >>> moons = load("moons", n=40)
    >>> epochs({e: build("mlp-tiny", moons, seed=e) for e in (1, 2)}, moons, resolution=8).arrays["winner"].shape
    (2, 8, 8)
    """
    if not nets:
        raise InputError("epochs needs at least one net.")
    if opens not in OPENS:
        raise unknown("opens", opens, OPENS)
    here = Slice(dataset, anchors, labels, area)
    order = sorted(nets)
    # an even stride: frames that skip now one epoch, now two would look like a jump in training
    order = sorted({*order[:: -(-len(order) // MOST_FRAMES)], order[-1]})
    maps = [here.decisions(nets[epoch], resolution) for epoch in order]
    reference = here.decisions(teacher, resolution) if teacher is not None else None
    inside = here.arrays(resolution).get("inside")
    shares = [agreement(reference, found, where=inside) if reference else float("nan") for found in maps]
    names = [f"{n}: {class_name(dataset.classes, k)}" for n, k in zip(NAMES, labels, strict=False)] or NAMES
    marks, beside = here.marks(names, points=points), [Panel("teacher", map=reference)] if reference else []
    largest = by_area([*maps, *([reference] if reference else [])], len(dataset.classes))
    of = "of the map" if inside is None else "in range"
    words = [f", agrees on {percent(share)} {of}" if reference else "" for share in shares]
    scenes = [
        Scene(
            [*beside, Panel("student", f"epoch {epoch}{same}", found)],
            here.area,
            marks,
            dataset.classes,
            here.units,
            legend=[] if here.plane is None else largest[:NAMED],
        )
        for epoch, found, same in zip(order, maps, words, strict=True)
    ]
    arrays: dict[str, Any] = here.arrays(resolution) | {
        "epoch": np.array(order),
        "winner": np.stack([found.winner for found in maps]),
        "confidence": np.stack([found.confidence for found in maps]),
    }
    if reference:
        arrays |= {"teacher.winner": reference.winner, "teacher.confidence": reference.confidence}
    if here.plane is None:
        arrays |= {"points": marks[0].points, "label": marks[0].k}
        what, shown = "Exact map", f"Dots are {used_of(len(marks[0].points), len(dataset.test), 'test point')}. "
        colours = alike(dataset.classes, "a dot").strip()
    else:
        outside = percent(here.outside(resolution), 0)
        what, shown = "Map", f"Outlined: the valid pixel range; {outside} of the map lies outside, veiled. "
        colours = largest_only(len(dataset.classes), len(largest))
    caption = f"{what} after each of {len(order)} epochs, all in one window. {shown}"
    if reference:
        caption += f"Agreement with the teacher: {percent(shares[0])} first, {percent(shares[-1])} last. "
    return View(
        slider(scenes, [str(epoch) for epoch in order], "epoch ", OPENS[opens]),
        arrays,
        {"agreement": shares},
        (caption + colours).strip(),
        f"{dataset.name} over epochs",
        tuple(scenes),
    )


def recording(run: Run, **options: Any) -> View:
    """Draw the student of a run after each epoch of which there is a snapshot, behind a slider; see ``epochs``.

    The map of images lies in the plane through ``slices.telling_triple`` of the teacher, by the attack of the recipe.

    Args:
        run: finished or not. options: of ``epochs``; it opens on the first epoch.

    Raises:
        InputError: the run has no snapshots or no teacher, or its data or teacher cannot be read.
    """
    kept = run.snapshots()
    if not kept:
        raise InputError(f"The run {run.path} has no snapshots, so there is nothing to play back.")
    data, teacher, recipe = run.dataset(), run.teacher(), run.settled
    if data.kind == "images":
        attack: dict[str, Any] = {
            "step_size": recipe.step_size,
            "steps": recipe.attack_steps,
            "step_rule": recipe.step_rule,
        }
        images, labels = telling_triple(teacher, data, **attack)
        options = {"anchors": images, "labels": tuple(labels), "resolution": 80, **options}
    nets = {epoch: run.student(epoch) for epoch in kept}
    view = epochs(nets, data, teacher=teacher, **{"opens": "first", **options})
    return replace(view, title=f"{data.name}: the student of {recipe.method}, seed {recipe.seed}")
