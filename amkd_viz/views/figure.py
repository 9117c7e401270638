"""A scene as a Plotly figure, with or without a slider over epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from amkd_viz.views.decisions import letters
from amkd_viz.views.labels import class_letter, safe, shorten
from amkd_viz.views.layout import CROSS, DOTTED, RING, axes, class_legend, squares
from amkd_viz.views.raster import WARM, place, png
from amkd_viz.views.scene import SIGNS, Mark, Panel, Scene
from amkd_viz.views.theme import LIGHT, class_colour

__all__ = ["figure", "slider"]

LONG, LONGEST = 20, 26  # characters of a title: with a note beside it, and at most
IMAGE = 0.13  # side of an anchor's image as a share of the panel
ROOM = 64  # pixels of a slider
PLAYER, FRAME = 136, 350  # pixels of its two buttons, and milliseconds of each scene
MANY = 2000  # points beyond which WebGL draws them
SWATCH = f"<span style='color:rgb({','.join(map(str, WARM))})'>\N{BLACK SQUARE}</span> "
SYMBOLS = {
    "dots": ("circle", 5, 0.8),
    "square": ("circle", 9, 1),
    "diamond": ("diamond", 9, 1),
    "triangle": ("triangle-up", 11, 1),
}


def figure(scene: Scene) -> go.Figure:
    """Draw a scene; its panels have equal units in x and y and zoom together."""
    ranges = (scene.area[:2], scene.area[2:])
    drawn = squares(list(map(_title, scene.panels)), columns=scene.columns, ranges=ranges, unit=scene.units[0])
    if scene.units[1]:
        drawn.layout.yaxis.title = {"text": scene.units[1], "standoff": 2}
    drawn.layout.images = _images(scene)
    for n, panel in enumerate(scene.panels):
        where = {"xaxis": f"x{axes(n)}", "yaxis": f"y{axes(n)}"}
        for level in panel.margins:
            drawn.add_trace(_contour(panel, level, scene).update(where))
        for mark in scene.marks:
            if mark.panel in (None, n):
                _draw(drawn, mark, scene, where)
    drawn.layout.annotations += tuple(map(go.layout.Annotation, _letters(scene)))
    class_legend(drawn, scene.classes, scene.legend, _signs(scene))
    return drawn


def slider(scenes: Sequence[Scene], names: Sequence[str], prefix: str, opens: int = -1) -> go.Figure:
    """Draw scenes of the same area and marks behind a slider and a player; it opens on the scene number ``opens``."""
    drawn = figure(scenes[opens])
    lettered = [_letters(scene) for scene in scenes]
    notes = [note.to_plotly_json() for note in drawn.layout.annotations]
    notes, most = notes[: len(notes) - len(lettered[opens])], max(map(len, lettered))
    frames = []
    for scene, name, own in zip(scenes, names, lettered, strict=True):
        titles = [{**note, "text": _title(panel)} for note, panel in zip(notes, scene.panels, strict=False)]
        own += [{"text": "", "visible": False}] * (most - len(own))  # a frame changes annotations, and removes none
        layout = {"images": _images(scene), "annotations": titles + notes[len(titles) :] + own}
        frames.append(go.Frame(name=name, layout=layout))
    drawn.frames, drawn.layout.annotations = frames, frames[opens].layout.annotations
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": name, "args": [[name], at_once]} for name in names]
    place_ = {"x": 0, "len": 1, "y": 0, "yanchor": "top", "pad": {"t": 46, "l": PLAYER}}
    on = {**at_once, "fromcurrent": True, "frame": {"duration": FRAME, "redraw": True}}
    buttons: list[dict[str, Any]] = [{"label": "Play", "method": "animate", "args": [None, on]}]
    buttons += [{"label": "Pause", "method": "animate", "args": [[None], at_once]}]
    look = {"bgcolor": LIGHT.paper, "bordercolor": LIGHT.line, "font": {"color": LIGHT.ink}, "showactive": False}
    where = {"x": 0, "xanchor": "left", "y": 0, "yanchor": "top", "pad": {"t": 50}}
    drawn.update_layout(
        sliders=[{"steps": steps, "active": opens % len(scenes), "currentvalue": {"prefix": prefix}, **place_}],
        updatemenus=[{"type": "buttons", "direction": "right", "buttons": buttons, **where, **look}],
        margin={"b": (drawn.layout.margin.b or 0) + ROOM},
        meta={**drawn.layout.meta, "extra": drawn.layout.meta["extra"] + ROOM},
    )
    return drawn


def _signs(scene: Scene) -> dict[str, Any]:
    """Return what the marks mean, for a legend: words -> the look of a trace."""
    line = {"color": LIGHT.ink, "width": 1.4}
    looks: dict[str, Any] = {"path": {"line": line}, "dash": {"line": {**line, "dash": "dash"}}}
    looks |= {"ring": {"marker": RING}, "cross": {"marker": CROSS}}
    looks["triangle"] = {"marker": {"symbol": "triangle-up", "size": 9, "color": LIGHT.ink}}
    kinds = {mark.kind for mark in scene.marks} | {"dash" for mark in scene.marks if mark.dash}
    found = {SIGNS[kind]: look for kind, look in looks.items() if kind in kinds}
    if levels := dict.fromkeys(f"{level:g}" for panel in scene.panels for level in panel.margins):
        found[f"{SIGNS['margin']} {', '.join(levels)}"] = {"line": {**line, "dash": DOTTED}}
    return found


def _letters(scene: Scene) -> list[dict[str, Any]]:
    """Return the letters of the classes, each well inside its region."""
    x0, x1, y0, y1 = scene.area
    maps = {n: panel.map for n, panel in enumerate(scene.panels) if panel.map is not None}
    found = []
    for n, places in zip(maps, letters(list(maps.values()), len(scene.classes)), strict=True):
        side = len(maps[n].winner)
        for k, (row, column) in places.items():
            at = {"x": x0 + (column + 0.5) / side * (x1 - x0), "y": y0 + (row + 0.5) / side * (y1 - y0)}
            where = {"xref": f"x{axes(n)}", "yref": f"y{axes(n)}", "showarrow": False, "visible": True}
            box = {"bgcolor": LIGHT.paper, "opacity": 0.8, "borderpad": 0, "font": {"size": 11}}
            found.append({"text": f"<b>{safe(class_letter(scene.classes, k))}</b>", **at, **where, **box})
    return found


def _title(panel: Panel) -> str:
    swatch = SWATCH if panel.apart is not None else ""
    note = f"{'<br>' if len(panel.title) > LONG else '  '}{panel.note}" if panel.note else ""
    return f"{swatch}<b>{safe(shorten(panel.title, LONGEST))}</b>{note}"


def _images(scene: Scene) -> list[dict[str, Any]]:
    """Rasters below everything, the images of anchors above."""
    x0, x1, y0, y1 = scene.area
    side = IMAGE * (x1 - x0)
    found = []
    for n, panel in enumerate(scene.panels):
        if panel.pixels is not None:
            found.append(place(png(panel.pixels, 600), x0, y0, x1 - x0, y1 - y0, axes(n)))
    for mark in scene.marks:
        if mark.kind == "image" and mark.pixels is not None:
            x, y = mark.points[0]
            left = x - side / 5 - side if mark.left else x + side / 5
            low = y - side / 5 - side if mark.below else y + side / 5
            corner = min(max(left, x0), x1 - side), min(max(low, y0), y1 - side)
            shown = range(len(scene.panels)) if mark.panel is None else [mark.panel]
            found += [place(png(mark.pixels), *corner, side, side, axes(n)) | {"layer": "above"} for n in shown]
    return found


def _contour(panel: Panel, level: float, scene: Scene) -> go.Contour:
    assert panel.map is not None
    x0, x1, y0, y1 = scene.area
    size = len(panel.map.margin)
    step = max(1, size // 100)  # a line is interpolated and needs no more cells than this
    return go.Contour(
        z=panel.map.margin[::step, ::step],
        x0=x0 + (x1 - x0) / size / 2,
        dx=step * (x1 - x0) / size,
        y0=y0 + (y1 - y0) / size / 2,
        dy=step * (y1 - y0) / size,
        contours={"start": level, "end": level, "size": 1, "coloring": "none"},
        line={"color": LIGHT.ink, "width": 1.2, "dash": DOTTED},
        showscale=False,
        hoverinfo="skip",
        name=f"{panel.title}: margin {level:g}",
    )


def _draw(drawn: go.Figure, mark: Mark, scene: Scene, where: dict[str, str]) -> None:
    xy = mark.points
    if mark.kind == "image":
        return
    if mark.kind == "label":
        anchor, shift = ("right", -9) if mark.left else ("left", 9)
        at = {"x": xy[0, 0], "y": xy[0, 1], "xref": where["xaxis"], "yref": where["yaxis"]}
        box = {"bgcolor": LIGHT.paper, "borderpad": 1, "opacity": 0.85, "font": {"size": 11}, "showarrow": False}
        drawn.add_annotation(text=safe(mark.text[0]), xanchor=anchor, xshift=shift, **at, **box)
        return
    if mark.kind in ("path", "box"):
        if mark.kind == "box":
            drawn.add_shape(_veil(scene.area, xy, where))
            xy = np.concatenate([xy, xy[:1]])
        line = {"color": LIGHT.ink, "width": 1.4 if mark.kind == "box" else 1, "dash": "dash" if mark.dash else "solid"}
        look: dict[str, Any] = {"mode": "lines"}
        if mark.numbered:
            text = ["", *map(str, range(1, len(xy)))]
            size, font = [0] + [4] * (len(xy) - 1), {"size": 10, "color": LIGHT.ink}
            look = {"mode": "lines+markers+text", "text": text, "textposition": "top right", "textfont": font}
            look["marker"] = {"size": size, "color": LIGHT.ink}
        drawn.add_scatter(x=xy[:, 0], y=xy[:, 1], line=line, hoverinfo="skip", **look, **where)
        return
    kind = go.Scattergl if len(xy) > MANY else go.Scatter
    trace = kind(x=xy[:, 0], y=xy[:, 1], mode="markers", marker=_marker(mark), **where)
    if mark.text:
        tip = "%{text}<br>(%{x:.2f}, %{y:.2f})<extra></extra>"
        trace.update(text=list(map(safe, mark.text)), hovertemplate=tip)
    drawn.add_trace(trace)


def _marker(mark: Mark) -> dict[str, Any]:
    if mark.kind in ("ring", "cross"):
        return RING if mark.kind == "ring" else CROSS
    symbol, size, edge = SYMBOLS[mark.kind]
    colour = LIGHT.ink if mark.k is None else [class_colour(int(k)) for k in mark.k]
    return {"symbol": symbol, "size": size, "color": colour, "line": {"width": edge, "color": LIGHT.paper}}


def _veil(area: Iterable[float], corners: Any, where: dict[str, str]) -> dict[str, Any]:
    """The area without the valid pixel range, half covered, above the map and below the marks."""
    x0, x1, y0, y1 = area
    outer = f"M{x0},{y0}L{x1},{y0}L{x1},{y1}L{x0},{y1}Z"
    inner = "".join(f"{'M' if i == 0 else 'L'}{x},{y}" for i, (x, y) in enumerate(corners)) + "Z" * (len(corners) > 0)
    look = {"fillrule": "evenodd", "fillcolor": LIGHT.paper, "opacity": 0.45, "line": {"width": 0}, "layer": "between"}
    return {"type": "path", "path": outer + inner, "xref": where["xaxis"], "yref": where["yaxis"], **look}
