"""A recorded session on a machine without torch: NumPy, Plotly and Pillow draw what ``Session.record`` wrote."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image
from plotly.subplots import make_subplots

from amkd_viz.core.errors import InputError

__all__ = ["replay_view"]

FORMAT = 1
FAINT, FULL, LEVELS = 0.18, 0.72, 8  # opacity at no and at full confidence, in few steps
Array = NDArray[Any]


def replay_view(file: str | Path) -> go.Figure:
    """The teacher's map, and the student's over its epochs behind a slider.

    Above each picture: on which share of the map the student agrees with the teacher; for a plane through images, which
    share of it lies outside the pixel box, where points are no pictures.

    Raises:
        InputError: no such file, no recording, a damaged one, or one of another format.
    """
    arrays, about = _read(Path(file))
    epochs, area, ink = arrays["epoch"].tolist(), arrays["area"].tolist(), about["theme"]["ink"]
    teacher, students = arrays["teacher.winner"], arrays["student.winner"]
    same = [float(((teacher == student) & (student >= 0)).mean()) for student in students]
    figure = make_subplots(1, 2, horizontal_spacing=0.03, subplot_titles=["<b>teacher</b>", "<b>student</b>"])

    def picture(winner: Array, confidence: Array, axis: str) -> dict[str, Any]:
        source = _png(_pixels(winner, confidence, about["colours"])[::-1])
        return _placed(source, area[0], area[2], area[1] - area[0], area[3] - area[2], axis, "below")

    last = len(epochs) - 1
    still = [picture(teacher, arrays["teacher.confidence"], "")]
    if "pictures" in arrays:
        still += [_thumbnail(p, at, area) for p, at in zip(arrays["pictures"], arrays["anchors"], strict=True)]
    moving = [picture(*parts, "2") for parts in zip(students, arrays["student.confidence"], strict=True)]
    titles = [f"<b>student</b>, epoch {e}  agrees on {100 * s:.1f} %" for e, s in zip(epochs, same, strict=True)]
    notes = [note.to_plotly_json() for note in figure.layout.annotations]
    frames = [
        go.Frame(
            name=str(epoch),
            layout={"images": [*still, moving[i]], "annotations": [*notes[:-1], {**notes[-1], "text": titles[i]}]},
        )
        for i, epoch in enumerate(epochs)
    ]
    for column in (1, 2):
        for trace in _marks(arrays, about):
            figure.add_trace(trace, row=1, col=column)
    for name, colour in zip(about["classes"][:12], about["colours"], strict=False):
        mark = {"size": 10, "symbol": "square", "color": colour}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=mark, name=html.escape(name), showlegend=True)
    figure.frames = frames
    figure.layout.annotations[-1].text = titles[last]
    go_to = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": str(e), "args": [[str(e)], go_to]} for e in epochs]
    slider = {"bgcolor": about["theme"]["line"], "bordercolor": about["theme"]["line"], "tickcolor": ink}
    outside = (
        f" · {100 * (1 - float(arrays['inside'].mean())):.0f} % outside the pixel box" if "inside" in arrays else ""
    )
    figure.update_layout(
        title={"text": html.escape(about["title"]) + outside, "x": 0, "xref": "paper"},
        images=[*still, moving[last]],
        sliders=[{"steps": steps, "active": last, "currentvalue": {"prefix": "epoch "}, "pad": {"t": 30}, **slider}],
        font={"color": ink},
        paper_bgcolor=about["theme"]["paper"],
        plot_bgcolor=about["theme"]["paper"],
        legend={"orientation": "h", "y": -0.42, "itemclick": False},
        height=620,
    )
    look = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    figure.update_xaxes(range=area[:2], **look)
    figure.update_yaxes(range=area[2:], **look)
    figure.layout.yaxis.scaleanchor = "x"
    figure.layout.yaxis2.update(scaleanchor="x2", showticklabels=False)
    return figure


NEEDED = ("about", "epoch", "area", "teacher.winner", "teacher.confidence", "student.winner", "student.confidence")


def _read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"There is no file {path}; give a recording that Session.record wrote.")
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        about = json.loads(str(arrays["about"]))
        if about["format"] != FORMAT:
            raise InputError(f"{path} has recording format {about['format']}, but this version reads {FORMAT}.")
        if not _whole(arrays, about):
            raise ValueError("its parts do not fit together")
    except InputError:
        raise
    except Exception as error:  # whatever a damaged archive makes zipfile, zlib, json and NumPy raise
        raise InputError(f"{path} is no recording of a session, or damaged ({error}).") from error
    return arrays, about


def _whole(arrays: dict[str, Array], about: dict[str, Any]) -> bool:
    """Whether all parts are there and fit together, so that they can be drawn."""
    sizes = {name: arrays[name].shape for name in NEEDED}
    frames, area = (*sizes["epoch"], *sizes["teacher.winner"]), arrays["area"].tolist()
    whole = len(frames) == 3 and min(frames) > 0
    whole &= sizes["student.winner"] == sizes["student.confidence"] == frames
    whole &= sizes["teacher.confidence"] == frames[1:]
    whole &= all(arrays[f"{net}.confidence"].dtype == np.uint8 for net in ("teacher", "student"))
    whole &= sizes["area"] == (4,) and bool(np.isfinite(area).all()) and area[0] < area[1] and area[2] < area[3]
    classes = len(about["colours"])
    whole &= all(_among(arrays[f"{net}.winner"], -1, classes) for net in ("teacher", "student"))
    whole &= arrays["epoch"].dtype.kind in "iu"
    colours = [*about["colours"], *(about["theme"][name] for name in ("ink", "line", "paper"))]
    whole &= all(re.fullmatch("#[0-9a-f]{6}", colour) is not None for colour in colours)
    whole &= all(isinstance(word, str) for word in (about["title"], *about["classes"], *about["names"]))
    if about["kind"] == "points":
        return whole and arrays["points"].shape == (*arrays["label"].shape, 2) and _among(arrays["label"], 0, classes)
    pictures, box = arrays["pictures"], arrays["box"].shape
    whole &= len(pictures.shape) == 4 and pictures.shape[3] in (1, 3) and pictures.size > 0
    whole &= pictures.dtype == np.uint8 and arrays["inside"].shape == frames[1:]
    return whole and arrays["anchors"].shape == (len(pictures), 2) == (len(about["names"]), 2) and box[1:] == (2,)


def _among(numbers: Array, low: int, high: int) -> bool:
    """Whole numbers from ``low`` to below ``high``."""
    return numbers.dtype.kind in "iu" and bool(((numbers >= low) & (numbers < high)).all())


def _pixels(winner: Array, confidence: Array, colours: list[str]) -> NDArray[np.uint8]:
    """RGBA (H, W, 4): class gives the colour, confidence (0 .. 255) the opacity; class -1 is transparent."""
    table = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in [*colours, "#000000"]], np.uint8)
    level = np.floor(confidence / 255 * (LEVELS - 1) + 0.5) / (LEVELS - 1)
    alpha = np.where(winner < 0, 0, 255 * (FAINT + (FULL - FAINT) * level))
    return np.concatenate([table[winner], alpha[..., None].astype(np.uint8)], axis=-1)


def _png(pixels: NDArray[np.uint8], at_least: int = 480) -> str:
    """A data URI, each cell a square of whole pixels so that no browser blurs it."""
    factor = -(-at_least // max(pixels.shape[:2]))
    file = io.BytesIO()
    Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _placed(source: str, x: float, y: float, width: float, height: float, axis: str, layer: str) -> dict[str, Any]:
    where = {"xref": f"x{axis}", "yref": f"y{axis}", "xanchor": "left", "yanchor": "bottom"}
    return {"source": source, "x": x, "y": y, "sizex": width, "sizey": height, "layer": layer} | where


def _thumbnail(picture: Array, at: Array, area: list[float]) -> dict[str, Any]:
    """One image of the plane beside its point, in the teacher's map."""
    side = 0.13 * (area[1] - area[0])
    x = min(max(float(at[0]) + side / 5, area[0]), area[1] - side)
    y = min(max(float(at[1]) + side / 5, area[2]), area[3] - side)
    return _placed(_png(picture.repeat(3 // picture.shape[-1], -1), 96), x, y, side, side, "", "above")


def _marks(arrays: dict[str, Array], about: dict[str, Any]) -> list[go.Scatter]:
    """Test points, or the three images of a plane and the edge of the pixel box."""
    ink, paper = about["theme"]["ink"], about["theme"]["paper"]
    quiet = {"showlegend": False, "hoverinfo": "skip"}
    if "points" in arrays:
        marker = {"size": 5, "color": [about["colours"][k] for k in arrays["label"]]}
        marker |= {"line": {"width": 0.8, "color": paper}}
        at = arrays["points"]
        return [go.Scatter(x=at[:, 0], y=at[:, 1], mode="markers", marker=marker, **quiet)]
    edge, at = np.concatenate([arrays["box"], arrays["box"][:1]]), arrays["anchors"]
    words = {"text": [html.escape(name) for name in about["names"]], "textposition": "bottom center"}
    marker = {"size": 9, "color": ink, "line": {"width": 1, "color": paper}}
    return [
        go.Scatter(x=edge[:, 0], y=edge[:, 1], mode="lines", line={"color": ink, "width": 1.4}, **quiet),
        go.Scatter(x=at[:, 0], y=at[:, 1], mode="markers+text", marker=marker, **words, **quiet),
    ]
