"""A picture file says beneath itself what a page says around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from amkd_viz.views import View
from amkd_viz.views.caption import captioned, wrapped
from amkd_viz.views.layout import blank, class_legend, height_of, squares
from amkd_viz.views.theme import DARK, LIGHT

CAPTION = "PCA of <all> embeddings, with crosses & lines that nobody understands without a word on what they mean. "


def test_the_caption_is_beneath_the_whole_figure() -> None:
    figure = squares(["a", "b"])
    class_legend(figure, ["cat", "dog"])
    found = captioned(figure, 4 * CAPTION, 600)
    before = height_of(figure, 600)
    room = found.layout.height - before
    lines = found.layout.title.text.split("<br>")
    assert len(lines) == len(wrapped(4 * CAPTION, 600)) > 3
    assert room > 15 * len(lines)
    assert "&lt;all&gt; embeddings, with crosses &amp; lines" in " ".join(lines)
    assert found.layout.title.font.color == LIGHT.muted
    assert found.layout.margin.b == figure.layout.margin.b + room  # the plot keeps its height
    assert found.layout.legend.y * found.layout.height == pytest.approx(room)  # above the words
    assert height_of(found, 600) == found.layout.height
    assert figure.layout.title.text is None  # the view's own figure stays as it was


def test_a_title_of_its_own_stays_and_no_caption_takes_no_room() -> None:
    figure = go.Figure(layout={"title": "mine", "height": 300})
    found = captioned(figure, CAPTION, 900)
    assert found.layout.title.text == "mine"
    assert "PCA" in found.layout.annotations[0].text
    assert captioned(blank(height=300), "", 900).layout.height == 300


@pytest.mark.browser
@pytest.mark.slow
def test_the_words_are_in_the_picture(tmp_path: Path) -> None:
    from amkd_viz.views.chromium import browser

    if browser() is None:
        pytest.skip("needs Chromium")
    figure = go.Figure(go.Scatter(y=[1.0, 2.0]), layout={"template": blank().layout.template, "height": 200})
    pixels = {}
    for told in ("", CAPTION):
        with Image.open(View(figure, caption=told).save(tmp_path / "x.png", theme="dark", width=500)) as picture:
            pixels[told] = np.asarray(picture.convert("RGB"))
    assert pixels[""].shape == (400, 1000, 3)
    assert tuple(pixels[""][1, 1]) == tuple(int(DARK.paper[i : i + 2], 16) for i in (1, 3, 5))
    room = len(pixels[CAPTION]) - len(pixels[""])
    assert room > 2 * 15 * len(wrapped(CAPTION, 500))
    strip = pixels[CAPTION][-room:]
    muted = [int(DARK.muted[i : i + 2], 16) for i in (1, 3, 5)]
    written = (np.abs(strip.astype(int) - muted).max(-1) < 12).nonzero()
    assert len(written[0]) > 300
    assert written[1].max() < 980  # no line ends outside
    assert written[0].max() < room - 10
    assert "crosses &amp; lines" in View(figure, caption=CAPTION).save(tmp_path / "x.svg").read_text("utf-8")
