"""A scene as a Pillow picture: stills of panels without a kernel, and the frames of an animation."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from amkd_viz.views.decisions import letters
from amkd_viz.views.labels import class_letter
from amkd_viz.views.scene import Mark, Scene
from amkd_viz.views.theme import THEMES, Theme, class_colour

__all__ = ["animation", "picture"]

SIDE, GAP, HEAD = 300, 12, 32  # pixels: a panel, the paper between panels, the line of words above one
IMAGE = 0.13  # side of an anchor's image as a share of the panel
RADIUS = {"dots": 3.5, "ring": 5.0, "cross": 4.0, "diamond": 4.0, "square": 4.0, "triangle": 5.0}


def picture(scene: Scene, side: int = SIDE, theme: str = "light", *, titles: bool = False) -> Image.Image:
    """Draw the panels of a scene side by side, ``side`` pixels each."""
    colours, head = THEMES[theme], HEAD if titles else 0
    drawn = Image.new("RGB", (len(scene.panels) * (side + GAP) - GAP, side + head), colours.paper)
    maps = {n: panel.map for n, panel in enumerate(scene.panels) if panel.map is not None}
    lettered = dict(zip(maps, letters(list(maps.values()), len(scene.classes)), strict=True))
    for n, panel in enumerate(scene.panels):
        square = Image.new("RGBA", (side, side), colours.paper)
        if panel.pixels is not None:
            raster = Image.fromarray(np.ascontiguousarray(panel.pixels))
            square.alpha_composite(raster.resize((side, side), Image.Resampling.NEAREST))
        for k, (row, column) in lettered.get(n, {}).items():
            cell = side / len(maps[n].winner)
            at = ((column + 0.5) * cell, side - (row + 0.5) * cell)
            pen, letter, font = ImageDraw.Draw(square), class_letter(scene.classes, k), ImageFont.load_default(14)
            pen.text(at, letter, colours.ink, font, anchor="mm", stroke_width=2, stroke_fill=colours.paper)
        for mark in scene.marks:
            if mark.panel in (None, n):
                _draw(square, mark, scene.area, colours)
        drawn.paste(square, (n * (side + GAP), head))
        if head:
            text = _plain(f"{panel.title}  {panel.note}".rstrip())
            pen, at = ImageDraw.Draw(drawn), (n * (side + GAP) + 2, 8)
            pen.text(at, text, fill=colours.ink, font=ImageFont.load_default(16))
    return drawn


def _draw(square: Image.Image, mark: Mark, area: Any, colours: Theme) -> None:
    pen, side, (x0, x1, y0, y1) = ImageDraw.Draw(square), square.width, area
    at = (mark.points - (x0, y0)) / (x1 - x0, y1 - y0) * (side, -side) + (0, side)
    if mark.kind == "box":
        veil = Image.new("L", square.size, 115)
        if len(at):
            ImageDraw.Draw(veil).polygon([tuple(p) for p in at], fill=0)
        square.paste(Image.new("RGBA", square.size, colours.paper), mask=veil)
        at = np.concatenate([at, at[:1]])
    if mark.kind in ("path", "box"):
        for a, b in pairwise(at):
            if np.isfinite([a, b]).all():
                pen.line([*a, *b], fill=colours.ink)
        for number, (u, v) in enumerate(at[1:] if mark.numbered else (), 1):
            pen.ellipse((u - 2, v - 2, u + 2, v + 2), fill=colours.ink)
            pen.text((u + 4, v - 13), str(number), fill=colours.ink, font=ImageFont.load_default(10))
    elif mark.kind == "image" and mark.pixels is not None:
        (x, y), size = at[0], round(IMAGE * side)
        left, top = x - size - 8 if mark.left else x + 8, y + 8 if mark.below else y - size - 8
        where = [round(min(max(v, 0), side - size)) for v in (left, top)]
        square.paste(Image.fromarray(mark.pixels).resize((size, size), Image.Resampling.NEAREST), tuple(where))
    elif mark.kind == "label":
        (x, y), font = at[0], ImageFont.load_default(11)
        half = pen.textlength(_plain(mark.text[0]), font=font) / 2
        middle = min(max(x - 9 - half if mark.left else x + 9 + half, half + 2), side - half - 2)
        pen.rectangle((middle - half - 2, y - 7, middle + half + 2, y + 8), fill=colours.paper)
        pen.text((middle, y), _plain(mark.text[0]), fill=colours.ink, font=font, anchor="mm")
    else:
        r, kinds = mark.size or RADIUS[mark.kind], [None] * len(at) if mark.k is None else mark.k
        for (u, v), k in zip(at, kinds, strict=True):
            fill = colours.ink if k is None else class_colour(int(k))
            box = (u - r, v - r, u + r, v + r)
            if mark.kind == "ring":
                pen.ellipse(box, outline=colours.ink, width=2)
            elif mark.kind == "cross":
                pen.line(box, fill=colours.ink, width=2)
                pen.line((u - r, v + r, u + r, v - r), fill=colours.ink, width=2)
            elif mark.kind == "dots":
                pen.ellipse(box, fill=fill, outline=colours.paper)
            else:
                sides, turn = (3, 0) if mark.kind == "triangle" else (4, 45 * (mark.kind == "diamond"))
                pen.regular_polygon((u, v, r * 1.4), sides, turn, fill, colours.paper)


def animation(scenes: Any, lines: list[str], theme: str, side: int) -> list[Image.Image]:
    """Draw one frame a scene, framed by paper, with the lines of a caption beneath."""
    colours, frames, line = THEMES[theme], [], 17
    for scene in scenes:
        drawn = picture(scene, side, theme, titles=True)
        frame = Image.new("RGB", (drawn.width + 2 * GAP, drawn.height + line * len(lines) + 2 * GAP), colours.paper)
        frame.paste(drawn, (GAP, 0))
        where, text = (GAP, drawn.height + GAP), _plain("\n".join(lines))
        ImageDraw.Draw(frame).text(where, text, fill=colours.muted, font=ImageFont.load_default(13))
        frames.append(frame)
    return frames


def _plain(text: str) -> str:
    """Replace the space that Pillow's built-in font lacks."""
    return text.replace("\N{NO-BREAK SPACE}", " ")
