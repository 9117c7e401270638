"""One sentence on the way of an attacked image."""

from __future__ import annotations

import html

from amkd_viz.boundary import BoundarySamples
from amkd_viz.views.labels import class_label, number, plural
from amkd_viz.views.walk import Walk

__all__ = ["class_words", "walk_words"]


def class_words(classes: tuple[str, ...], k: int) -> str:
    """The name of class ``k`` as plain text."""
    return html.unescape(class_label(classes, k))


def walk_words(found: BoundarySamples, way: Walk, classes: tuple[str, ...], hidden: bool) -> str:
    """Where the first of ``found`` comes from and ends, in how many steps, and what the other net says meanwhile.

    Args:
        hidden: the end is not to be told yet.
    """
    base, target = (class_words(classes, k) for k in (way.base, way.target))
    if hidden:
        return f"From {base} towards {target}: where will it end? Answer first."
    if way.steps == 0:
        return f"The {way.attacked} calls this image {base} already, which is the target: choose another target."
    taken = f"{plural(way.steps, 'step')}, L2 {number(float(way.l2()[way.steps]))}"
    if not way.crossed:
        return f"From {base} towards {target}: {taken}, and the {way.attacked} still calls it {base}."
    told = f"From {base} towards {target}: {taken}, and the {way.attacked} calls it "
    told += class_words(classes, int(found.logits[0].argmax()))
    for name, crossing in way.crossings.items():
        if name != way.attacked:
            first = class_words(classes, int(way.logits[name][0].argmax()))
            when = f"leaves {first} after {number(crossing.at, 1)} steps" if crossing else f"keeps saying {first}"
            told += f"; the {name} {when}"
    return told + "."
