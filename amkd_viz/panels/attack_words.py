"""The attack path of one input: on a map, in a table and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from amkd_viz.boundary import BoundarySamples
from amkd_viz.boundary.samples import Status as Ending
from amkd_viz.views.crossings import Crossing
from amkd_viz.views.labels import class_label, class_name, number, plural, safe, shorten
from amkd_viz.views.walk import Walk

__all__ = ["attack_table", "attack_words", "class_words", "walk_words"]

HEADINGS = ("attacked", "from", "towards", "ends in", "steps", "path, data units", "first crossing at", "crossings")


def attack_table(
    samples: Mapping[str, BoundarySamples], ways: Mapping[str, Sequence[Crossing]], classes: Sequence[str]
) -> str:
    """Return an HTML table of what the attack did to each net; ``ways`` are the crossings of its path."""
    rows = []
    for name, found in samples.items():
        assert found.path is not None
        length = float(np.linalg.norm(np.diff(found.path[:, 0].numpy(), axis=0), axis=1).sum())
        way, first = ways[name], "no crossing"
        if way:
            first = f"{number(float((way[0].x - found.origin[0]).norm()))}, into {class_label(classes, way[0].after)}"
        cells = [
            safe(name),
            class_label(classes, int(found.base)),
            class_label(classes, int(found.target)),
            "already there" if int(found.base) == int(found.target) else class_label(classes, _end(found)),
            str(int(found.steps)),
            number(length),
            first,
            str(len(way)),
        ]
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    head = "".join(f"<th>{words}</th>" for words in HEADINGS)
    return f"<table class='amkd-table'>{''.join(f'<tr>{row}</tr>' for row in (head, *rows))}</table>"


def _end(samples: BoundarySamples) -> int:
    """Return the class in which the walk of the first sample ended."""
    return int(samples.logits[0].argmax())


def class_words(classes: Sequence[str], k: int) -> str:
    """Return the name of class ``k`` as plain text, shortened."""
    return shorten(class_name(classes, k))


def attack_words(
    samples: BoundarySamples,
    name: str,
    classes: Sequence[str],
    *,
    here: str,
    hidden: str = "",
    more: str = "",
    way: Sequence[Crossing] = (),
) -> str:
    """Say where the first of ``samples`` starts and ends, and in how many steps of the attack on the net ``name``.

    Args:
        here: what to say of the place where the attack has nothing to do.
        hidden: what to do first; the end, which has to be predicted, is then left out.
        more: in brackets, after the number of steps.
        way: the crossings of its path, named where there are several.
    """
    base, target = (class_words(classes, int(k[0])) for k in (samples.base, samples.target))
    if hidden:
        return f"From {base} towards {target}: where will it end? {hidden}"
    if base == target:
        return f"The {name} already predicts {base}, the target, {here}."
    taken = f"after {plural(int(samples.steps[0]), 'step')}{more}"
    still = "still " if int(samples.status[0]) == Ending.NOT_CROSSED else ""
    passed = ", ".join(class_words(classes, c.after) for c in way)
    leapt = f" A step leapt: on the way it entered {passed}; a smaller step size stops at the first." * (len(way) > 1)
    landed = class_words(classes, _end(samples))
    return f"From {base} towards {target}: {taken} the {name} {still}predicts {landed}.{leapt}"


def walk_words(samples: BoundarySamples, path: Walk, classes: tuple[str, ...], hidden: bool) -> str:
    """Say the same of an image, and what the other nets predict."""
    more = f" (L2 {number(float(path.l2()[path.steps]))})"
    asked, here = "Answer first." if hidden else "", "for this image: choose another target"
    way = path.crossings[path.attacked]
    text = attack_words(samples, path.attacked, classes, here=here, hidden=asked, more=more, way=way)
    for name, crossings in path.crossings.items() if path.crossed and path.steps and not hidden else ():
        if name != path.attacked:
            first = class_words(classes, int(path.logits[name][0].argmax()))
            left = crossings and f"leaves {first} after {number(crossings[0].at, 1)} steps"
            text = f"{text} The {name} {left or f'keeps predicting {first}'}."
    return text
