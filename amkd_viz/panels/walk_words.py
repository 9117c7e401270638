"""One sentence about an attack path."""

from __future__ import annotations

import html

from amkd_viz.boundary import BoundarySamples
from amkd_viz.views.labels import class_label, number, plural
from amkd_viz.views.walk import Walk

__all__ = ["class_words", "walk_words"]


def class_words(classes: tuple[str, ...], k: int) -> str:
    """Return the name of class ``k`` as plain text, shortened."""
    return html.unescape(class_label(classes, k))


def walk_words(samples: BoundarySamples, path: Walk, classes: tuple[str, ...], hidden: bool) -> str:
    """Say where the first of ``samples`` starts and ends, in how many steps, and what the other net predicts.

    Args:
        hidden: leave out the end, which has to be predicted.
    """
    base, target = (class_words(classes, k) for k in (path.base, path.target))
    if hidden:
        return f"From {base} towards {target}: where will it end? Answer first."
    if path.steps == 0:
        return f"The {path.attacked} already predicts {base}, the target, for this image: choose another target."
    taken = f"{plural(path.steps, 'step')} (L2 {number(float(path.l2()[path.steps]))})"
    if not path.crossed:
        return f"From {base} towards {target}: after {taken} the {path.attacked} still predicts {base}."
    landed = class_words(classes, int(samples.logits[0].argmax()))
    text = f"From {base} towards {target}: after {taken} the {path.attacked} predicts {landed}"
    for name, crossing in path.crossings.items():
        if name != path.attacked:
            first = class_words(classes, int(path.logits[name][0].argmax()))
            when = f"leaves {first} after {number(crossing.at, 1)} steps" if crossing else f"keeps predicting {first}"
            text += f"; the {name} {when}"
    return text + "."
