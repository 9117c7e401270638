"""A student's decision map over its epochs: a slider in the page, or a GIF."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.views.boundary_map import Window, exact_map, window
from amkd_viz.views.captioned import wrapped
from amkd_viz.views.decisions import agreement
from amkd_viz.views.labels import class_label, percent, safe, used_of
from amkd_viz.views.layout import alike, class_legend, keep, squares
from amkd_viz.views.raster import class_pixels, place, png
from amkd_viz.views.theme import THEMES, class_colour
from amkd_viz.views.view import View

__all__ = ["epochs", "gif"]

MOST_FRAMES = 61
HEAD, GAP = 32, 8  # pixels of an animation: the line of words, the paper around a map
LINE = 17  # of the caption


def epochs(
    nets: Mapping[int, nn.Module],
    dataset: Dataset,
    *,
    teacher: nn.Module | None = None,
    area: Window | None = None,
    resolution: int = 160,
    points: int = 300,
) -> View:
    """The exact map of a 2-D problem after each epoch, in one fixed window, with a slider.

    Args:
        nets: epoch -> classifier, such as the snapshots of a run.
        teacher: shown beside, and the reference of the agreement.
        points: at most so many test points are drawn.

    Returns:
        arrays ``epoch`` (E,), ``winner`` and ``confidence`` (E, R, R), ``points`` (P, 2), ``label`` (P,); notes
        ``agreement`` (E,) with the teacher, NaN without one. With a teacher also ``teacher.winner`` and
        ``teacher.confidence`` (R, R). ``view.save("x.gif")`` writes an animation.

    Raises:
        InputError: no net, or the data set is not two-dimensional.
    """
    if not nets:
        raise InputError("There is no epoch to show; give at least one net.")
    if dataset.kind != "points":
        raise InputError("epochs draws 2-D problems; lay an image problem out with embedding, one net an epoch.")
    area, order = area or window(dataset), sorted(nets)
    # an even stride: frames that skip now one epoch, now two would look like a jerk in training
    order = sorted({*order[:: -(-len(order) // MOST_FRAMES)], order[-1]})
    maps = [exact_map(nets[epoch], area, resolution)[2] for epoch in order]
    reference = exact_map(teacher, area, resolution)[2] if teacher is not None else None
    agreements = [agreement(reference, m) if reference else float("nan") for m in maps]

    def title(i: int) -> str:
        told = f"  agrees on {percent(agreements[i])}" if reference else ""
        return f"<b>student</b>, epoch {order[i]}{told}"

    def picture(i: int, axis: str) -> dict[str, Any]:
        source = png(class_pixels(maps[i].winner, maps[i].confidence)[::-1], 480)
        return place(source, area[0], area[2], area[1] - area[0], area[3] - area[2], axis)

    figure = squares([*(["<b>teacher</b>"] if reference else []), title(len(order) - 1)], ranges=(area[:2], area[2:]))
    still, axis = [], ""
    if reference:
        source = png(class_pixels(reference.winner, reference.confidence)[::-1], 480)
        still, axis = [place(source, area[0], area[2], area[1] - area[0], area[3] - area[2], "")], "2"
    figure.layout.images = [*still, picture(len(order) - 1, axis)]
    chosen = keep(len(dataset.test), points)
    at, label = dataset.test.x[chosen].cpu().numpy(), dataset.test.y[chosen].cpu().numpy()
    for name in ("", axis) if axis else ("",):
        dots = {"size": 5, "color": [class_colour(int(k)) for k in label], "line": {"width": 0.8, "color": "#fefefe"}}
        figure.add_scatter(
            x=at[:, 0],
            y=at[:, 1],
            mode="markers",
            marker=dots,
            text=[class_label(dataset.classes, int(k)) for k in label],
            customdata=dataset.test.index[chosen].cpu().numpy(),
            hovertemplate="test %{customdata}: %{text}<extra></extra>",
            xaxis=f"x{name}",
            yaxis=f"y{name}",
        )
    class_legend(figure, dataset.classes)
    notes = [note.to_plotly_json() for note in figure.layout.annotations]
    figure.frames = [
        go.Frame(
            name=str(epoch),
            layout={
                "images": [*still, picture(i, axis)],
                "annotations": [*notes[:-1], {**notes[-1], "text": title(i)}],
            },
        )
        for i, epoch in enumerate(order)
    ]
    _slider(figure, order)
    return View(
        figure,
        {
            "epoch": np.array(order),
            "winner": np.stack([m.winner for m in maps]),
            "confidence": np.stack([m.confidence for m in maps]),
            "points": at,
            "label": label,
            "area": np.array(area),
        }
        | ({"teacher.winner": reference.winner, "teacher.confidence": reference.confidence} if reference else {}),
        {"agreement": agreements},
        f"Exact map after each of {len(order)} epochs, all in one window. Dots are "
        f"{used_of(len(chosen), len(dataset.test), 'test point')}. "
        + (
            f"Agreement with the teacher: {percent(agreements[0])} first, {percent(agreements[-1])} last."
            if reference
            else ""
        ).strip()
        + alike(dataset.classes, "a dot"),
        f"{safe(dataset.name)} over epochs",
    )


def _slider(figure: go.Figure, order: list[int]) -> None:
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": str(e), "args": [[str(e)], still]} for e in order]
    room = 64
    figure.update_layout(
        sliders=[
            {
                "steps": steps,
                "active": len(order) - 1,
                "currentvalue": {"prefix": "epoch "},
                "x": 0,
                "len": 1,
                "y": 0,
                "yanchor": "top",
                "pad": {"t": 46},
            }
        ],
        margin={"b": (figure.layout.margin.b or 0) + room},
        meta={**figure.layout.meta, "extra": figure.layout.meta["extra"] + room},
    )


def gif(view: View, theme: str = "light", side: int = 420, seconds: float = 0.25) -> bytes:
    """The frames of :func:`epochs` as an endless GIF, the caption beneath; the last one stays longer.

    Args:
        side: of the map, in pixels.
        seconds: a frame.

    Raises:
        InputError: the view has no epochs.
    """
    if "epoch" not in view.arrays or "winner" not in view.arrays:
        raise InputError("Only a view over epochs saves as .gif; see amkd_viz.views.epochs.")
    colours, a = THEMES[theme], view.arrays
    low, size = a["area"][[0, 2]], a["area"][1] - a["area"][0]
    spots = np.stack([(a["points"][:, 0] - low[0]) / size, 1 - (a["points"][:, 1] - low[1]) / size], 1) * side

    def panel(winner: NDArray[Any], confidence: NDArray[Any], title: str) -> Image.Image:
        drawn = Image.new("RGBA", (side, side + HEAD), colours.paper)
        pixels = Image.fromarray(class_pixels(winner, confidence)[::-1].copy())
        drawn.alpha_composite(pixels.resize((side, side), Image.Resampling.NEAREST), (0, HEAD))
        pen = ImageDraw.Draw(drawn)
        pen.text((2, 8), _plain(title), fill=colours.ink, font=ImageFont.load_default(16))
        for (x, y), k in zip(spots, a["label"], strict=True):
            box = (x - 3.5, y - 3.5 + HEAD, x + 3.5, y + 3.5 + HEAD)
            pen.ellipse(box, fill=class_colour(int(k)), outline=colours.paper)
        return drawn

    beside = [panel(a["teacher.winner"], a["teacher.confidence"], "teacher")] if "teacher.winner" in a else []
    frames, width = [], (len(beside) + 1) * (side + GAP) + GAP
    lines = wrapped(_plain(view.caption), width)
    words = Image.new("RGB", (width, LINE * len(lines) + GAP), colours.paper)
    ImageDraw.Draw(words).text((GAP, 0), "\n".join(lines), fill=colours.muted, font=ImageFont.load_default(13))
    for i, epoch in enumerate(a["epoch"]):
        title = f"student, epoch {epoch}"
        if beside:
            title += f", agrees on {percent(view.notes['agreement'][i], 0)}"
        panels = [*beside, panel(a["winner"][i], a["confidence"][i], title)]
        frame = Image.new("RGB", (width, side + HEAD + GAP + words.height), colours.paper)
        for n, drawn in enumerate(panels):
            frame.paste(drawn, (GAP + n * (side + GAP), 0))
        frame.paste(words, (0, side + HEAD + GAP))
        frames.append(frame.quantize(128, dither=Image.Dither.NONE))
    file = io.BytesIO()
    times = [round(1000 * seconds)] * (len(frames) - 1) + [1500]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return file.getvalue()


def _plain(text: str) -> str:
    """Pillow's built-in font has no such space."""
    return text.replace("\N{NO-BREAK SPACE}", " ")
