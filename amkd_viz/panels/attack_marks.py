"""The attack path of one point: on the map, and in a table."""

from __future__ import annotations

import html

import numpy as np

from amkd_viz.boundary import BoundarySamples
from amkd_viz.boundary.samples import Status as Ending
from amkd_viz.views.labels import class_label, number
from amkd_viz.views.scene import Mark

__all__ = ["attack_table", "path_marks"]

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
            html.escape(name),
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
