"""On a page of every view: Plotly's mode bar lies on no word, and in JupyterLab Dark every word can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import pytest

from amkd_viz.views.layout import BAR, blank, height_of, squares, with_bar
from amkd_viz.views.page import dark_style
from amkd_viz.views.theme import DARK, LIGHT
from tests.lab import browser, chromium

# The words under the mode bar of plot ``n``, which is shown while the pointer is over the plot.
UNDER = """(n) => {
    const plot = document.querySelectorAll(".js-plotly-plot")[n], box = (e) => e.getBoundingClientRect();
    const bar = box(plot.querySelector(".modebar-group").parentElement);
    if (bar.width < 40 || bar.height < 10) return ["no bar"];
    return [...plot.querySelectorAll(".main-svg text")].filter((word) => {
        const { left, right, top, bottom, width } = box(word);
        return width && left < bar.right && right > bar.left && top < bar.bottom && bottom > bar.top;
    }).map((word) => word.textContent);
}"""
# Sides of the maps, and pairs of bold titles that overlap, of the figures with more than one panel.
SIDES = """() => [...document.querySelectorAll(".plot")].filter((p) => p.layout.meta?.aspect)
    .map((p) => p._fullLayout.xaxis._length)"""
TITLES = """() => [...document.querySelectorAll(".plot")].flatMap((plot) => {
    const words = [...plot.querySelectorAll(".annotation text")].filter((w) => w.querySelector("tspan[style*=bold]"));
    const boxes = words.map((w) => [w.textContent, w.getBoundingClientRect()]);
    const over = ([, a], [, b]) => a.left < b.right && a.right > b.left && a.top < b.bottom && a.bottom > b.top;
    return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => over(a, b)).map((b) => `${a[0]} / ${b[0]}`));
})"""
COLOURS = """() => [...document.querySelectorAll(".js-plotly-plot :is(text, tspan)")]
    .filter((word) => word.textContent.trim()).map((word) => getComputedStyle(word).fill)"""


def test_the_room_is_above_everything_else() -> None:
    for figure in (blank(height=300), blank(), go.Figure(), squares(["a", "b"])):
        made = with_bar(figure)
        assert height_of(made, 700) == height_of(figure, 700) + BAR
        assert made.layout.margin.t >= BAR
    at_top = blank(height=300, legend={"y": 1, "yref": "container"})
    assert with_bar(at_top).layout.legend.y * (300 + BAR) == pytest.approx(300)
    assert with_bar(blank(margin={"t": 40})).layout.margin.t == 40 + BAR
    assert with_bar(blank()).layout.margin.t == 34 + BAR


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from docs.gallery import gallery_page

    if chromium() is None:
        pytest.skip("needs Chromium")
    path = gallery_page(tmp_path_factory.mktemp("gallery") / "gallery.html")
    with browser(viewport={"width": 1100, "height": 900}) as context:
        page: Any = context.new_page()
        page.set_content(path.read_text(encoding="utf-8"), wait_until="load")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.plot')].every((p) => p.querySelector('.modebar'))"
        )
        yield page


@pytest.mark.slow
@pytest.mark.browser
def test_the_bar_lies_on_no_word(page: Any) -> None:
    plots = page.locator(".js-plotly-plot")
    assert plots.count() > 8
    for number in range(plots.count()):
        plots.nth(number).hover()
        assert page.evaluate(UNDER, number) == []


@pytest.mark.slow
@pytest.mark.browser
def test_in_jupyterlab_dark_no_word_keeps_a_colour_of_the_light_theme(page: Any) -> None:
    page.evaluate("(style) => document.head.insertAdjacentHTML('beforeend', style)", dark_style())
    seen = [page.evaluate(COLOURS)]
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    seen.append(page.evaluate(COLOURS))
    light, dark = ({rgb(theme.ink), rgb(theme.muted)} for theme in (LIGHT, DARK))
    assert light <= {*seen[0]}
    assert not light & {*seen[1]}
    assert dark <= {*seen[1]}


@pytest.mark.slow
@pytest.mark.browser
def test_a_caption_has_two_lines_until_more_is_asked_for(page: Any) -> None:
    lines = """() => [...document.querySelectorAll("figcaption")]
        .map((c) => c.getBoundingClientRect().height / parseFloat(getComputedStyle(c).lineHeight))"""
    closed = page.evaluate(lines)
    assert max(closed) < 2.5
    more = page.locator("figcaption summary")
    assert more.count() > 5
    more.first.click()
    assert max(page.evaluate(lines)) > 2.5
    more.first.click()
    assert page.evaluate(lines) == closed


@pytest.mark.slow
@pytest.mark.browser
def test_a_button_under_the_pointer_keeps_its_words_readable(page: Any) -> None:
    button = page.locator(".updatemenu-button").first
    button.hover()
    fill = "(b) => getComputedStyle(b.querySelector('.updatemenu-item-rect')).fill"
    page.wait_for_function(f"(b) => ({fill})(b).includes('0.25')", arg=button.element_handle())
    page.mouse.move(0, 0)


@pytest.mark.slow
@pytest.mark.browser
def test_on_a_phone_no_title_lies_on_another_and_maps_stay_large(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => [...document.querySelectorAll('.plot')].every((p) => +p.dataset.width < 390)")
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for side in page.evaluate(SIDES):
        assert side >= 160
    assert page.evaluate(TITLES) == []
    scrolls = page.locator(".plot[data-scrolls]")
    assert scrolls.count() > 5
    hint = "(e) => getComputedStyle(e.closest('figure'), '::before').content"
    assert "scroll sideways" in scrolls.first.evaluate(hint)


def rgb(colour: str) -> str:
    """Return a colour as a browser writes it."""
    return "rgb({}, {}, {})".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)))
