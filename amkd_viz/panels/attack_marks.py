"""The way of an attacked point: on the map, and in a table."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from amkd_viz.boundary import BoundarySamples
from amkd_viz.boundary.samples import Status as Ending
from amkd_viz.panels.canvas import mark
from amkd_viz.views.labels import class_label, number

__all__ = ["attack_table", "path_marks"]


def path_marks(found: BoundarySamples, dash: bool, **shown: Any) -> list[dict[str, Any]]:
    """The way of one attacked sample: its path, a ring where it ended, a cross at the refined point of the boundary."""
    assert found.path is not None
    way = found.path[:, 0].numpy()
    made = [mark("path", way, dash=dash, **shown)]
    if bool(found.crossed):
        made.append(mark("ring", way[-1:], size=5, **shown))
        made.append(mark("cross", found.x.numpy(), size=4, **shown))
    return made


def attack_table(samples: dict[str, BoundarySamples], classes: tuple[str, ...]) -> str:
    """What the attack did to each net, as an HTML table."""
    words = {Ending.TARGET: "target reached", Ending.OTHER: "another class", Ending.NOT_CROSSED: "not across"}
    rows = []
    for name, found in samples.items():
        assert found.path is not None
        way = found.path[:, 0]
        length = float(np.linalg.norm(np.diff(way.numpy(), axis=0), axis=1).sum())
        cells = [
            html.escape(name),
            class_label(classes, int(found.base)),
            class_label(classes, int(found.target)),
            words[Ending(int(found.status))] if int(found.base) != int(found.target) else "already there",
            str(int(found.steps)),
            number(length),
            number(float((found.x - found.origin).norm())),
        ]
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    head = ["attacked", "from", "towards", "ending", "steps", "way taken (data units)", "boundary at distance"]
    top = "".join(f"<th>{c}</th>" for c in head)
    return f"<table class='amkd-table'><tr>{top}</tr>{''.join(rows)}</table>"
