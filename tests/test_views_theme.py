"""Colours, words, pictures in bytes, and the page that loads nothing."""

from __future__ import annotations

import base64
import colorsys
import io
import itertools
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import methods
from amkd_viz.views import View, class_colour, method_colour, method_colours
from amkd_viz.views.labels import class_label, mean_sd, number, percent, safe
from amkd_viz.views.page import document
from amkd_viz.views.raster import class_pixels, image_pixels, png, signed_pixels
from amkd_viz.views.theme import APART, DARK, LIGHT, METHODS, OTHERS, _channels, _luminance, in_theme, template
from amkd_viz.views.writers import figure_block


def opened(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def test_two_hundred_classes_have_two_hundred_colours() -> None:
    colours = [class_colour(k) for k in range(200)]
    assert len(set(colours)) == 200
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert not set(colours) & {*vars(LIGHT).values(), *vars(DARK).values()}  # or a theme would recolour a class


def test_thirty_classes_have_colours_apart() -> None:
    colours = [class_colour(k) for k in range(APART)]
    assert APART == 30
    for one, other in itertools.combinations(colours, 2):
        assert far(one, other) > (19 if {one, other} <= set(colours[:10]) else 31), (one, other)
    for colour in colours[10:]:
        assert min(far(colour, method_colour(name)) for name in methods) > 12


def test_a_class_has_its_colour_whatever_else_is_there() -> None:
    alone = class_pixels(np.array([[3]]), np.ones((1, 1)))
    among = class_pixels(np.array([[0, 3, 9, 150]]), np.ones((1, 4)))
    assert (alone[0, 0] == among[0, 1]).all()
    assert tuple(alone[0, 0, :3]) == tuple(int(class_colour(3)[i : i + 2], 16) for i in (1, 3, 5))


def test_confidence_is_opacity_and_undecided_is_nothing() -> None:
    pixels = class_pixels(np.array([[0, 0, 0, -1]]), np.array([[0.1, 0.5, 1.0, 0.0]]))
    assert pixels[0, 0, 3] < pixels[0, 1, 3] < pixels[0, 2, 3]
    assert pixels[0, 3, 3] == 0
    assert len(np.unique(pixels[0, :3, :3], axis=0)) == 1  # never a second hue


@pytest.mark.parametrize("classes", [1, 2, 10, 200])
def test_png_gives_every_pixel_back(classes: int) -> None:
    chance = np.random.default_rng(0)
    pixels = class_pixels(chance.integers(-1, classes, (20, 30)), chance.random((20, 30)))
    back = opened(png(pixels, 60))
    assert back.shape == (40, 60, 4)
    visible = pixels[..., 3] > 0
    assert (back[::2, ::2][visible] == pixels[visible]).all()
    assert (back[1::2, 1::2] == back[::2, ::2]).all()  # enlarged by whole pixels


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 64, 64)])
def test_images_grey_and_coloured(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    pixels = image_pixels(image)
    assert pixels.shape == (*shape[1:], 4)
    assert np.abs(pixels[..., 0] / 255 - image[0]).max() <= 0.5 / 255 + 1e-6
    assert image_pixels(np.full(shape, np.nan)).max() == 255


def test_a_difference_keeps_its_sign() -> None:
    pixels = signed_pixels(np.array([[[-0.5, 0.0, 0.5]]]), scale=2)
    assert pixels[0, 0, 2] > pixels[0, 0, 0]
    assert pixels[0, 2, 0] > pixels[0, 2, 2]
    assert pixels[0, :, 3].tolist() == [255, 0, 255]


def test_words() -> None:
    names = ["<script>alert(1)</script>", "", "a" * 90]
    assert "<" not in class_label(names, 0, 60)
    assert class_label(names, 1) == "class 1"
    assert len(class_label(names, 2)) == 18
    assert class_label(names, 7) == "class 7"
    assert safe("'\"<&") == "&#x27;&#34;&lt;&amp;"
    assert percent(None) == number(float("nan")) == mean_sd(None, None) == "—"
    assert number(-1.5) == "−1.50"
    assert method_colour("kd") != method_colour("amkd")
    assert method_colour("my own") == method_colour("my own")


def far(one: str, other: str) -> float:
    """Distance in CIELAB, D65."""
    found = []
    for colour in (one, other):
        v = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        v = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
        to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        x, y, z = np.cbrt(to_xyz @ v / [0.9505, 1, 1.089])
        found.append(np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)]))
    return float(np.linalg.norm(found[0] - found[1]))


def test_methods_have_colours_apart() -> None:
    known = [name for name in methods if not name.startswith(("mine", "test"))]
    random = np.random.default_rng(0)
    for _ in range(50):  # as many as a comparison of thirteen methods
        some = [*known[:7], *random.choice(known[7:], 6, replace=False)]
        found = method_colours({name: name for name in some})
        assert [found[name] for name in known[:7]] == [method_colour(name) for name in known[:7]]
        for one, other in itertools.combinations(some, 2):
            assert far(found[one], found[other]) > 25, (one, other)
        for method in some:  # nor does a curve look like a class of the map above it
            assert min(far(found[method], class_colour(k)) for k in range(10)) > 20, method


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, in [1, 21], as WCAG 2 defines it."""
    low, high = sorted(0.05 + _luminance(_channels(colour)) for colour in (one, other))
    return high / low


def test_methods_are_seen_on_both_papers_and_so_are_the_words() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    several = {f"{name} {i}": name for name in METHODS for i in range(3)}
    lines = [*METHODS.values(), *OTHERS, *method_colours(several).values()]
    for theme in (LIGHT, DARK):
        assert min(contrast(colour, theme.paper) for colour in lines) >= 3
        for ground in (theme.paper, theme.page):
            assert min(contrast(word, ground) for word in (theme.ink, theme.muted, theme.accent)) >= 4.5
    script = files("amkd_viz.playground").joinpath("static", "draw.js").read_text(encoding="utf-8")
    (lines_there,) = re.findall("const LINES = (.*?);", script)
    assert set(json.loads(lines_there)) <= set(METHODS.values())


def test_settings_of_a_method_are_steps_of_its_own_hue() -> None:
    margins = [f"amkd (boundary_triplet.margin={m})" for m in (0.1, 0.2, 0.5, 1.0, 1.5, 2.0)]
    found = method_colours(dict.fromkeys(margins, "amkd") | {"kd (a)": "kd", "kd (b)": "kd", "ce": "ce"})
    assert found["ce"] == method_colour("ce")
    hues = [colorsys.rgb_to_hls(*(int(found[m][i : i + 2], 16) / 255 for i in (1, 3, 5)))[0] for m in margins]
    own = colorsys.rgb_to_hls(*(int(method_colour("amkd")[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0]
    assert max(abs(hue - own) for hue in hues) < 0.01
    assert min(far(one, other) for one, other in itertools.combinations(found.values(), 2)) > 5
    assert len(set(method_colours({str(i): "kd" for i in range(40)}).values())) == 40


class Tags(HTMLParser):
    """What a browser would take for tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs


def figure() -> go.Figure:
    return go.Figure(
        go.Scatter(y=[1.0, float("nan"), float("inf"), 2.0]), layout={"template": template(), "height": 200}
    )


def test_dark_is_light_told_otherwise_and_back() -> None:
    dark = in_theme(figure(), "dark")
    assert dark.layout.template.layout.paper_bgcolor == DARK.paper
    assert not any(colour in dark.to_json() for colour in vars(LIGHT).values())
    with pytest.raises(InputError, match="Unknown theme 'drak'; did you mean 'dark'"):
        in_theme(figure(), "drak")


def test_a_page_loads_nothing_and_runs_nothing_that_a_name_says(tmp_path: Path) -> None:
    evil = "</script><img src=http://example.com/x onerror=alert(1)>"
    view = View(figure().update_layout(title=safe(evil)), caption=evil, title=evil)
    page = view.save(tmp_path / "page.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert "img" not in tags.seen
    assert not [value for name, value in tags.attributes if name in ("src", "href", "onerror", "onload")]
    assert "default-src 'none'" in page
    assert page.count("plotly.js v") <= 2
    specs = re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert len(specs) == 1
    assert json.loads(specs[0])["data"][0]["type"] == "scatter"  # strict JSON: no NaN
    assert "NaN" not in specs[0]
    assert "Infinity" not in specs[0]


def test_one_page_holds_plotly_once() -> None:
    view = View(figure())
    one, three = (document("t", figure_block(view) * n) for n in (1, 3))
    assert len(three) - len(one) < 100_000


def test_save_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Unknown file ending '\.pgn'; did you mean '\.png'"):
        View(figure()).save(tmp_path / "x.pgn")
    with pytest.raises(InputError, match="over epochs"):
        View(figure()).save(tmp_path / "x.gif")
    View(figure(), {"a": np.arange(3)}).save(tmp_path / "deep" / "x.npz")
    assert np.load(tmp_path / "deep" / "x.npz")["a"].tolist() == [0, 1, 2]


def test_pictures_without_a_browser_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amkd_viz.views.chromium.browser", lambda: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs Chromium"):
        View(figure()).save(tmp_path / "x.png")
