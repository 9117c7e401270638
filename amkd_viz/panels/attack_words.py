"""The attack path of one input: on a map, in a table and in a sentence."""

from __future__ import annotations

import numpy as np

from amkd_viz.boundary import BoundarySamples
from amkd_viz.boundary.samples import Status as Ending
from amkd_viz.views.labels import class_label, class_name, number, plural, safe, shorten
from amkd_viz.views.scene import Mark
from amkd_viz.views.walk import Walk

__all__ = ["attack_table", "attack_words", "class_words", "path_marks", "walk_words"]

ENDINGS = {Ending.TARGET: "target reached", Ending.OTHER: "another class", Ending.NOT_CROSSED: "not crossed"}
HEADINGS = ("attacked", "from", "towards", "ending", "steps", "path length (data units)", "distance to boundary")


def path_marks(found: BoundarySamples, dash: bool, panel: int | None = None) -> list[Mark]:
    """Return one sample's path, a ring at its end, and a cross at the refined point on the boundary."""
    assert found.path is not None
    path = found.path[:, 0].numpy()
    marks = [Mark("path", path, dash=dash, panel=panel)]
    if bool(found.crossed):
        marks += [Mark("ring", path[-1:], size=5, panel=panel), Mark("cross", found.x.numpy(), size=4, panel=panel)]
    return marks


def attack_table(samples: dict[str, BoundarySamples], classes: tuple[str, ...]) -> str:
    """Return an HTML table of what the attack did to each net."""
    rows = []
    for name, found in samples.items():
        assert found.path is not None
        length = float(np.linalg.norm(np.diff(found.path[:, 0].numpy(), axis=0), axis=1).sum())
        cells = [
            safe(name),
            class_label(classes, int(found.base)),
            class_label(classes, int(found.target)),
            ENDINGS[Ending(int(found.status))] if int(found.base) != int(found.target) else "already there",
            str(int(found.steps)),
            number(length),
            number(float((found.x - found.origin).norm())),
        ]
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    head = "".join(f"<th>{words}</th>" for words in HEADINGS)
    return f"<table class='amkd-table'>{''.join(f'<tr>{row}</tr>' for row in (head, *rows))}</table>"


def class_words(classes: tuple[str, ...], k: int) -> str:
    """Return the name of class ``k`` as plain text, shortened."""
    return shorten(class_name(classes, k))


def attack_words(
    samples: BoundarySamples, name: str, classes: tuple[str, ...], *, here: str, hidden: str = "", more: str = ""
) -> str:
    """Say where the first of ``samples`` starts and ends, and in how many steps of the attack on the net ``name``.

    Args:
        here: what to say of the place where the attack has nothing to do.
        hidden: what to do first; the end, which has to be predicted, is then left out.
        more: in brackets, after the number of steps.
    """
    base, target = (class_words(classes, int(k[0])) for k in (samples.base, samples.target))
    if hidden:
        return f"From {base} towards {target}: where will it end? {hidden}"
    if base == target:
        return f"The {name} already predicts {base}, the target, {here}."
    taken = f"after {plural(int(samples.steps[0]), 'step')}{more}"
    if int(samples.status[0]) == Ending.NOT_CROSSED:
        return f"From {base} towards {target}: {taken} the {name} still predicts {base}."
    landed = class_words(classes, int(samples.logits[0].argmax()))
    return f"From {base} towards {target}: {taken} the {name} predicts {landed}."


def walk_words(samples: BoundarySamples, path: Walk, classes: tuple[str, ...], hidden: bool) -> str:
    """Say the same of an image, and what the other nets predict."""
    more = f" (L2 {number(float(path.l2()[path.steps]))})"
    asked, here = "Answer first." if hidden else "", "for this image: choose another target"
    text = attack_words(samples, path.attacked, classes, here=here, hidden=asked, more=more)
    for name, crossing in path.crossings.items() if path.crossed and path.steps and not hidden else ():
        if name != path.attacked:
            first = class_words(classes, int(path.logits[name][0].argmax()))
            when = f"leaves {first} after {number(crossing.at, 1)} steps" if crossing else f"keeps predicting {first}"
            text = f"{text[:-1]}; the {name} {when}."
    return text
