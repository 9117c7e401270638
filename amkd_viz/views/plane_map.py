"""Decision regions on the plane through three images, for one or several nets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.views.decisions import agreement, by_area, decide
from amkd_viz.views.figure import figure
from amkd_viz.views.labels import class_name, percent
from amkd_viz.views.layout import NAMED, largest_only, named
from amkd_viz.views.scene import Area, Scene, compared, differing
from amkd_viz.views.slices import Slice, plane_regions
from amkd_viz.views.view import View

__all__ = ["plane_map"]

PLAIN = ("image 1", "image 2", "image 3")


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
    temperature: float = 1.0,
) -> View:
    """Draw what each net predicts on the plane through three images, every point of which is an image.

    For two nets a further map shows where they disagree. The valid pixel range, in which all pixels lie in [0, 1], is
    outlined, and what lies outside is veiled.

    Args:
        nets: classifiers by name; agreement is with the first.
        anchors: three images (C, H, W) in [0, 1], not on one line: a base image, its boundary sample and an image of
            another class, or any three.
        classes: a name per class.
        names: of the anchors; ``slices.NAMES`` where they are a base image, its boundary sample, which is drawn as a
            ring, and a negative.
        resolution: grid resolution, cells per side.
        exact: evaluate each cell; otherwise coarse to fine, with a tenth of the evaluations.
        area: (x0, x1, y0, y1) in L2 units from the first anchor.
        temperature: divides the logits: softer probabilities, the same classes.

    Returns:
        arrays ``x``, ``y`` (R,), ``anchors`` (3, 2), ``box`` (V, 2), ``inside`` (R, R) bool and per net
        ``NAME.winner``, ``NAME.confidence``, ``NAME.evaluated`` (R, R); notes ``inside`` (share of the map),
        ``NAME.evaluations``, ``NAME.undecided``, and against the first net ``NAME.agreement`` on the whole map and
        ``NAME.agreement_inside`` the valid pixel range.

    Raises:
        InputError: the anchors lie on one line or are not three images, or the names are not three.

    >>> from amkd_viz import build, load
    >>> digits = load("digits")
    >>> net = build("cnn-tiny", digits)
    >>> view = plane_map(net, digits.test.floats([0, 1, 2]), digits.classes, names=("A", "B", "C"))
    >>> view.arrays["net.winner"].shape, view.notes["net.evaluations"] <= 4000
    ((200, 200), True)
    """
    if len(names) != 3:
        raise InputError(f"plane_map needs a name for each of its three images, got {len(names)}.")
    given = named(nets)
    images = anchors if isinstance(anchors, Tensor) else torch.stack(list(anchors))
    here = Slice(images=images, area=area)
    assert here.plane is not None
    if len(here.plane.shape) != 3:
        raise InputError("plane_map draws images (C, H, W); for points use boundary_map.")
    arrays: dict[str, NDArray[Any]] = here.arrays(resolution)
    found = {name: plane_regions(net, here.plane, here.area, resolution, exact) for name, net in given.items()}
    maps = {name: result.again(temperature) for name, result in found.items()}
    panels, shares = compared(maps, arrays["inside"])
    notes: dict[str, Any] = {"inside": float(arrays["inside"].mean())} | shares
    notes |= {f"{name}.evaluations": result.evaluations for name, result in found.items()}
    if len(maps) == 2:
        one, other = maps.values()
        panels.append(differing(one, other, f"{percent(1 - agreement(one, other, where=arrays['inside']))} in range"))
    largest = by_area(list(maps.values()), len(classes))
    scene = Scene(panels, here.area, here.marks(names), classes, here.units, columns, largest[:NAMED])
    for name, decided in maps.items():
        arrays |= {f"{name}.winner": decided.winner, f"{name}.confidence": decided.confidence}
        arrays[f"{name}.evaluated"] = found[name].evaluated
    first, net = next(iter(given.items()))
    seen = [class_name(classes, int(k)) for k in decide(net, images).winner]
    called = [f"{name} “{k}”" for name, k in zip(names, seen, strict=True)]
    caption = "Each point of the plane is an image; colour is the class that the net predicts, opacity its confidence. "
    caption += f"{first} calls {', '.join(called[:2])} and {called[2]}. "
    caption += f"Probabilities at temperature {temperature:g}. " if temperature != 1 else ""
    caption += _caption(list(given), notes, exact, resolution) + largest_only(len(classes), len(largest))
    return View(figure(scene), arrays, notes, caption.strip(), "Plane map")


def _caption(names: list[str], notes: Mapping[str, Any], exact: bool, resolution: int) -> str:
    if exact:
        caption = f"All {resolution} x {resolution} cells were evaluated. "
    else:
        evaluated = ", ".join(f"{name} {notes[f'{name}.evaluations']:,}" for name in names)
        caption = f"Coarse to fine: evaluated {evaluated} of {resolution**2:,} cells; the rest is interpolated. "
    caption += (
        f"The outlined part ({percent(notes['inside'], 0)} of the map) is the valid pixel range; veiled points have "
        "pixels outside [0, 1]. "
    )
    for name in names[1:]:
        caption += (
            f"{name} agrees with {names[0]} on {percent(notes[f'{name}.agreement'])} of the map, on "
            f"{percent(notes[f'{name}.agreement_inside'])} of the valid range. "
        )
    if len(names) == 2:
        caption += f"Disagreement: brown where {names[0]} and {names[1]} predict different classes. "
    return caption
