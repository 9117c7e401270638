"""All five panels by hand in a real JupyterLab: help, names, focus and keys, small windows, presenting, what leaves by
button, and clicks at random."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

pytest.importorskip("anywidget")

from amkd_viz.panels import DistillLab
from tests.lab import CELL, Lab, browser, chromium
from tests.test_panels_given_back import TINY

CLICKS = int(os.environ.get("AMKD_VIZ_FUZZ", 0)) // 5  # at random in each panel, beside every button once
PARTS = ".amkd-controls :is(.noUi-handle, select), input[type=checkbox], button, summary"
AVOIDED = (
    "data",
    "teacher",
    "student",
    "device",
    "layout",
    "open",
    "overlay",
    "Export",
    "Find in EmbeddingLab",
    "Attack in SampleLab",
    "Show the first steps",  # a callout lies on what is beneath it until it is closed
)
# Mark a part of a panel that was not pressed, and return its words; null if there is none. Open groups are closed last.
# One of many pictures of samples, classes and further methods is enough.
NEXT = r"""(panel, pressed) => {
    const own = (e) => e.closest(".amkd-panel") === panel && !e.disabled && e.checkVisibility();
    const nth = (e) => [...(e.closest(".amkd-fold")?.querySelectorAll("[type=checkbox]") || [])].indexOf(e);
    const words = (e) => (nth(e) > 7 ? "another" : e.textContent || e.closest("label")?.textContent || "");
    const title = (e) => (e.closest(".amkd-gallery, .amkd-thumbs-strip") ? "a picture" : e.title || e.ariaLabel || "");
    const plain = (e) => words(e).replace(/ [▾▴↑↓]$|[0-9]+/g, "").trim();
    const key = (e) => [e.tagName, plain(e), nth(e) > 7 ? "" : title(e)].join("|");
    panel.querySelector("[data-next]")?.removeAttribute("data-next");
    const left = () => [...panel.querySelectorAll("button, summary, input[type=checkbox]")]
        .filter((e) => own(e) && !pressed.includes(key(e)));
    if (!left().length) panel.querySelector(".amkd-menu:not([open]) summary").click();
    const next = left().find((e) => !e.textContent.startsWith("▾ ")) || left()[0];
    if (!next) return null;
    next.dataset.next = "";
    return key(next);
}"""
# Mark the part of a panel at a share of those that may be pressed.
ONE = """(panel, [rule, avoided, share]) => {
    panel.querySelector("[data-next]")?.removeAttribute("data-next");
    const parts = [...panel.querySelectorAll(rule)].filter((e) => !e.disabled && e.checkVisibility()
        && e.closest(".amkd-panel") === panel && !avoided.includes(e.ariaLabel) && !avoided.includes(e.textContent));
    parts[Math.floor(share * parts.length)].dataset.next = "";
}"""
HEAR = """
import warnings
from amkd_viz.panels.panel import Panel
heard, first = [], globals().get("first") or Panel.fail  # the cell runs once for each panel
def hear(panel, text):
    heard.extend([text] if len(text.strip().splitlines()) > 1 else [])
    first(panel, text)
Panel.fail = hear
warnings.showwarning = lambda message, *_, **__: heard.append(str(message))
"""
CELLS = [
    "from amkd_viz.panels import BoundaryLab, DistillLab, EmbeddingLab, MethodRace, SampleLab\n"
    "from amkd_viz.runs import distill\n"
    "from tests.test_panels_given_back import DIGITS, TINY\n"
    "run = distill(DIGITS, 'digits')",
    "one = DistillLab(TINY.replace(epochs=500), pace=5.0)\none",
    "two = EmbeddingLab(run, how='pca', most=50)\ntwo",
    "three = SampleLab(run)\nthree",
    "four = BoundaryLab('blobs').set(epochs=1, num_train=40)\nfour",
    "five = MethodRace('blobs:classes=12').set(epochs=2, num_train=40)\nfive",
]
SHORT = "one.set(epochs=10, pace=5.0); two.set(how='pca', most=50); four.set(epochs=1); five.set(epochs=4, pace=2.0)"
NAMED = ("one", "two", "three", "four", "five")
SETTLED = ("Ready", "The map", "From ", "From ", "Press Start")
SIZES = {"700 px": (700, 900), "1280 x 720 at 150 %": (853, 480)}  # in CSS pixels
# Of panel n: the names of its controls; what each slider announces, and what stands beside it.
NAMES = """(n) => {
    const panel = document.querySelectorAll(".amkd-panel")[n], all = (rule) => [...panel.querySelectorAll(rule)];
    const parts = all(".amkd-controls :is(.noUi-handle, select, input:not([type=checkbox], .widget-readout))");
    return [
        parts.map((e) => e.getAttribute("aria-label")),
        all(".amkd-controls .noUi-handle").map((e) => [e.getAttribute("aria-valuetext"),
            e.closest(".jupyter-widgets").querySelector(".widget-readout").textContent]),
    ];
}"""
# Of panel n: its height; where its maps begin; what is cut; whether the controls are there.
LAYOUT = """(n) => {
    const panel = document.querySelectorAll(".amkd-panel")[n], all = (rule) => [...panel.querySelectorAll(rule)];
    const there = (e) => e.getClientRects().length > 0;
    const words = ".amkd-map figcaption, .amkd-facts span, .amkd-curves figcaption, .amkd-scroll, "
        + ".widget-html-content, .amkd-pictures .jupyter-button";
    const cut = all(words).filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth + 1).map((e) => e.className);
    return {
        height: panel.getBoundingClientRect().height,
        tops: all(".amkd-map canvas").filter(there).map((e) => Math.round(e.getBoundingClientRect().top)),
        sides: all(".amkd-map canvas").filter(there).map((e) => e.clientWidth),
        controls: all(".amkd-controls").some(there),
        share: all(".amkd-scatter-stage").filter(there)
            .map((e) => e.clientWidth / e.closest(".amkd-pictures").clientWidth),
        moved: all(".amkd-controls .widget-inline-hbox, .amkd-controls .widget-checkbox").filter(there).length,
        letters: all(".amkd-map figcaption").filter(there).map((e) => parseFloat(getComputedStyle(e).fontSize)),
        ticks: all(".amkd-maps").filter(there).map((e) => e.dataset.ticks),
        signs: all(".amkd-signs").map((e) => e.innerText),
        cut,
    };
}"""

# Of panel n: in how many rows the buttons of its head stand, and which; which parts of its controls and bars scroll,
# though a browser of a test does not draw their scroll bars; the numbers on the axes of its curves.
FITS = """(n) => {
    const panel = document.querySelectorAll(".amkd-panel")[n], all = (rule) => [...panel.querySelectorAll(rule)];
    const there = (e) => e.getClientRects().length > 0, box = (e) => e.getBoundingClientRect();
    const head = all(".amkd-head > *").filter(there);
    const over = (e, way, size) =>
        /auto|scroll/.test(getComputedStyle(e)[`overflow${way}`]) && e[`scroll${size}`] > e[`client${size}`];
    const rules = ".amkd-controls, .amkd-head, .amkd-bar, .amkd-scrubber, .amkd-controls *, .amkd-legend";
    const parts = all(`${rules}, .widget-html-content:has(> .amkd-table)`).filter(there);
    return {
        rows: new Set(head.map((e) => Math.round(box(e).top + box(e).height / 2))).size,
        buttons: head.map((e) => (e.matches("details") ? e.querySelector("summary") : e).textContent),
        beyond: head.filter((e) => box(e).right > box(panel).right).length,
        cut: all(".amkd-pictures").filter((e) => e.scrollWidth > e.clientWidth + 1).length,
        bars: parts.filter((e) => over(e, "X", "Width") || over(e, "Y", "Height")).map((e) => e.className),
        ticks: all(".amkd-curves canvas").filter(there).map((e) => e.dataset.ticks.split(" ").length),
    };
}"""


def at_rest(page: Any, number: int) -> dict[str, Any]:
    """Wait until a panel with its controls has been laid out in one way for half a second, and return the layout."""
    seen: list[Any] = []

    def right(now: dict[str, Any]) -> bool:
        seen.append((now["sides"], now["height"]))
        return now["controls"] and len(seen) > 10 and seen[-10:] == 10 * seen[-1:]

    return arranged(page, number, right)


def test_every_control_of_a_recipe_has_a_help() -> None:
    panel = DistillLab(TINY)
    try:
        assert [name for name, control in panel.controls.items() if not control.tooltip] == []
        helps = panel.status.helps
        for control in panel.controls.values():
            if control is not panel._back.slider:  # among the pictures
                (place,) = [name for name in control._dom_classes if name.startswith("amkd-control-")]
                assert helps[place] == control.tooltip
    finally:
        panel.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if chromium() is None:
        pytest.skip("needs Chromium")
    server = Lab(tmp_path_factory.mktemp("keys"), OMP_NUM_THREADS="1")
    try:
        allowed = ["clipboard-read", "clipboard-write"]
        with browser(viewport={"width": 1400, "height": 2000}, permissions=allowed) as context:
            notebook = server.open(context, server.write("keys.ipynb", *CELLS))
            for number in range(len(CELLS)):
                notebook.run(number)
            for number, words in enumerate(SETTLED):
                notebook.settled(words, panel=number)
            notebook.page.amkd = notebook
            yield notebook.page
            assert notebook.errors == []
    finally:
        server.close()


def press(page: Any, part: Any, draw: random.Random) -> None:
    """Click a part, choose an option of a menu, or move a slider by keys."""
    from playwright.sync_api import Error

    tag = part.evaluate("(e) => e.tagName")
    if tag == "SELECT":
        part.select_option(index=draw.randrange(part.locator("option").count()))
    elif tag == "DIV":
        part.focus()
        for _ in range(draw.randrange(1, 8)):
            page.keyboard.press(draw.choice(["ArrowRight", "ArrowLeft", "PageUp", "Home"]))
    else:
        try:
            part.click(timeout=5000)
        except Error:  # unless the end of a run, or another click, has disabled or hidden it meanwhile
            if part.count() and part.is_visible() and part.is_enabled():
                raise


def arranged(page: Any, number: int, right: Callable[[dict[str, Any]], bool], layout: str = LAYOUT) -> dict[str, Any]:
    """Wait until the layout of a panel is ``right``, and return it."""
    seen: dict[str, Any] = {}

    def look() -> bool:
        seen.update(page.evaluate(layout, number))
        return right(seen)

    try:
        page.amkd.until(look, 10)
    except AssertionError as error:
        raise AssertionError(f"panel {number}: {seen}") from error
    return seen


@pytest.mark.browser
class TestInABrowser:
    def test_help_names_and_values(self, page: Any) -> None:
        page.wait_for_selector(".amkd-controls [data-help]")
        without = page.evaluate(
            """() => [...document.querySelectorAll(".amkd-controls :is(.noUi-handle, select, input)")]
                .filter((e) => !e.getAttribute("aria-description") || e.getAttribute("aria-description") === "null"
                    || !(e.getAttribute("aria-label") || e.closest("label")?.textContent.trim()))
                .map((e) => e.closest(".jupyter-widgets").textContent)"""
        )
        assert without == []
        for number in range(5):
            names, said = page.evaluate(NAMES, number)
            assert len(names) >= 6
            assert len(set(names)) == len(names), sorted(names)
            assert all(value == shown for value, shown in said), said
        assert "boundary_kd weight ×" in page.evaluate(NAMES, 0)[0]
        panel = page.locator(".amkd-panel").nth(0)
        panel.get_by_role("button", name="Training", expanded=False).click()
        panel.get_by_role("button", name="Training", expanded=True).wait_for()
        rate = panel.locator(".noUi-handle[aria-label='learning rate']")
        assert rate.get_attribute("aria-valuetext") == "0.100"
        rate.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            """() => {
                const handle = document.querySelector(".noUi-handle[aria-label='learning rate']");
                const shown = handle.closest(".jupyter-widgets").querySelector(".widget-readout").textContent;
                return shown !== "0.100" && handle.getAttribute("aria-valuetext") === shown;
            }"""
        )
        box = rate.locator("xpath=ancestor::*[@data-help]")
        assert "learning rate" in box.evaluate("(e) => getComputedStyle(e, '::after').content")

    def test_the_focus_stays_in_the_row_of_a_button_that_is_disabled(self, page: Any) -> None:
        panel = page.locator(".amkd-panel").nth(0)
        start = panel.get_by_role("button", name="Start", exact=True)
        start.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.activeElement.textContent === 'Pause'")
        page.amkd.ask("one.stop()")
        page.amkd.settled("Stopped", panel=0)
        page.wait_for_function("() => document.activeElement.closest('.amkd-bar')")
        reached = int(page.amkd.ask("print(one.wait().log.done)"))  # of 500 epochs: the axis has room for twice as many
        last = min(500, max(8, 2 ** math.ceil(math.log2(reached + 1))))
        page.amkd.until(lambda: panel.locator(".amkd-curves").get_attribute("data-last") == str(last))

    def test_a_question_mark_opens_the_help(self, page: Any) -> None:
        for number in range(5):
            panel = page.locator(".amkd-panel").nth(number)
            about = panel.locator(".amkd-about").nth(0)
            panel.locator(".amkd-head button").nth(1).focus()
            for shown in (True, False):
                page.keyboard.press("?")
                about.wait_for(state="visible" if shown else "hidden")

    def test_the_morph_follows_arrows_and_clear_clears(self, page: Any) -> None:
        panel = page.locator(".amkd-panel").nth(1)
        root, slider = panel.locator(".amkd-scatter"), panel.locator("input[type=range]").nth(0)
        slider.focus()
        before = float(root.get_attribute("data-morph"))
        for key, after in (("ArrowRight", 0.05), ("ArrowRight", 0.1), ("ArrowLeft", 0.05)):
            page.keyboard.press(key)
            page.wait_for_function(
                "(v) => Math.abs(Number(document.querySelectorAll('.amkd-scatter')[1].dataset.morph) - v) < 1e-6",
                arg=before + after,
            )
        canvas = panel.locator(".amkd-scatter canvas[tabindex]")
        for clear in (lambda: page.keyboard.press("Escape"), lambda: panel.get_by_role("button", name="Clear").click()):
            canvas.focus()
            page.keyboard.press("ArrowRight")
            page.keyboard.press("Enter")
            page.amkd.until(lambda: root.get_attribute("data-selected") == "1")
            clear()
            page.amkd.until(lambda: root.get_attribute("data-selected") == "0")

    def test_space_plays_and_pauses_and_arrows_scrub(self, page: Any) -> None:
        walk = page.locator(".amkd-panel").nth(2).locator(".amkd-walk")
        slider, play = walk.locator("input[type=range]"), walk.locator("button").nth(0)
        slider.focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        page.amkd.until(lambda: page.amkd.ask("print(three.walk.step)") == 1)
        page.keyboard.press("Space")
        page.amkd.until(lambda: "pause" in play.inner_text())
        page.keyboard.press("Space")
        page.amkd.until(lambda: "play" in play.inner_text())
        page.keyboard.press("Home")
        play.focus()
        page.keyboard.press("ArrowRight")
        page.amkd.until(lambda: page.amkd.ask("print(three.walk.step)") == 1)

    def test_space_starts_pauses_and_goes_on_with_a_training_and_plays_epochs(self, page: Any) -> None:
        def press(number: int, name: str, state: str, wanted: str) -> None:
            page.locator(".amkd-panel").nth(number).locator(".amkd-maps-row").click(position={"x": 2, "y": 2})
            page.wait_for_function(f"() => document.querySelectorAll('.amkd-panel')[{number}].matches(':focus-within')")
            page.wait_for_timeout(700)  # a second press at once is part of the first
            page.keyboard.press("Space")
            page.amkd.until(lambda: page.amkd.ask(f"print({name}.{state})") == wanted)

        for number in (0, 4):
            panel = page.locator(".amkd-panel").nth(number)
            about = panel.locator(".amkd-about").nth(0)
            panel.get_by_role("button", name="?", exact=True).click()
            about.wait_for(state="visible")
            assert "Space starts the r" in about.inner_text()
            panel.get_by_role("button", name="?", exact=True).click()
        page.amkd.ask("one.set(pace=5.0); five.set(epochs=200, pace=2.0)")
        page.amkd.settled("Press Start", panel=4)
        for number, name in ((0, "one"), (4, "five")):
            press(number, name, "state", "running")
            press(number, name, "state", "paused")
            press(number, name, "state", "running")
            page.amkd.ask(f"{name}.{'stop' if name == 'one' else 'reset'}()")
        page.amkd.ask("five.set(epochs=2, pace=float('inf'))")
        page.amkd.settled("Press Start", panel=4)
        page.amkd.ask("five.start()")
        page.amkd.until(lambda: page.amkd.ask("print(five.wait().state)") == "done")
        page.amkd.ask("five.set(epoch=0)")
        press(4, "five", "values['epoch']", 2)  # the player goes on to the last one
        focus = page.locator(".amkd-panel").nth(4).get_by_role("button", name="Show code")
        focus.focus()
        page.keyboard.press("Space")  # a button takes its own
        page.locator(".amkd-panel").nth(4).locator(".amkd-about pre").wait_for()
        page.keyboard.press("Space")

    @pytest.mark.parametrize("size", SIZES)
    def test_in_a_small_window_nothing_is_cut_and_two_screens_are_enough(self, page: Any, size: str) -> None:
        width, height = SIZES[size]
        page.amkd.ask("two.map.names = [f'a class with a long name {k}' for k in range(10)]")
        page.set_viewport_size({"width": width, "height": height})
        try:
            for number in range(5):
                panel = page.locator(".amkd-panel").nth(number)
                tabs = panel.locator(".amkd-tabs button")
                rows = 1 + (number == 4)  # teacher and three methods: two by two
                for tab in range(max(1, tabs.count())):
                    if tabs.count():
                        tabs.nth(tab).click()
                    arranged(page, number, lambda seen: seen["height"] <= 2 * height and not seen["controls"])
                    arranged(page, number, lambda seen, rows=rows: len(set(seen["tops"])) <= rows and not seen["cut"])
                    arranged(page, number, lambda seen: min(seen["share"], default=1) > 0.9)
                for there in (True, False):
                    panel.locator(".amkd-drawer").click()
                    arranged(page, number, lambda seen, there=there: seen["controls"] is there)
        finally:
            page.amkd.ask("two.map.names = [str(k) for k in range(10)]")
            page.set_viewport_size({"width": 1400, "height": 2000})

    @pytest.mark.parametrize("width", [1400, 1000, 853, 700, 390])
    def test_the_head_is_one_row_and_nothing_scrolls_without_need(self, page: Any, width: int) -> None:
        page.amkd.ask(
            "from amkd_viz.panels.curve_canvas import Curve\n"
            "one.pictures.curves.show([('loss', 'nats')] * 10, "
            "[Curve(n, 'x', [(0, 1.0), (240, 2.0)], '#000000') for n in range(10)], [], 240)"
        )
        page.set_viewport_size({"width": width, "height": 2000})
        try:
            page.wait_for_function("() => document.querySelectorAll('.amkd-curves canvas[data-ticks]').length >= 10")
            for number in range(5):
                panel = page.locator(".amkd-panel").nth(number)
                arranged(page, number, lambda seen: seen["rows"] == 1 and not seen["bars"] and not seen["cut"], FITS)
                arranged(page, number, lambda seen: min(seen["ticks"], default=2) >= 2, FITS)
                if width > 900:
                    continue
                for _ in range(2):
                    panel.locator(".amkd-drawer").click()
                    arranged(page, number, lambda seen: not seen["bars"] and not seen["cut"], FITS)
                for there in (True, False):
                    panel.get_by_role("button", name="More").click()
                    arranged(page, number, lambda seen, there=there: ("Show code" in seen["buttons"]) is there, FITS)
                    arranged(
                        page, number, lambda seen, there=there: (seen["rows"] > 1) is there and not seen["beyond"], FITS
                    )
            if width == 1000:  # two nets side by side, and the third map beneath with the legends beside it
                seen = arranged(page, 3, lambda seen: min(seen["sides"]) > 200)
                assert len(set(seen["tops"])) == 2
                assert page.locator(".amkd-panel").nth(3).locator(".amkd-maps-row > .amkd-legends").is_visible()
        finally:
            page.amkd.ask("one.pictures.curves.show([], [], [], 1)")
            page.set_viewport_size({"width": 1400, "height": 2000})

    def test_a_long_list_of_methods_scrolls_within_the_panel(self, page: Any) -> None:
        opener = page.locator(".amkd-panel").nth(4).get_by_role("button", name="More methods")
        opener.click()
        sizes = opener.locator("xpath=following-sibling::*").evaluate
        page.amkd.until(lambda: sizes("(e) => e.scrollHeight") > 1500)
        assert sizes("(e) => e.clientHeight") <= 400
        opener.click()
        page.amkd.until(lambda: sizes("(e) => e.clientHeight") == 0)

    def test_wide_gives_the_pictures_the_room_of_the_controls(self, page: Any) -> None:
        for number in (0, 2, 3, 4):
            panel = page.locator(".amkd-panel").nth(number)
            narrow = min(at_rest(page, number)["sides"])
            panel.get_by_role("button", name="Wide").click()
            arranged(page, number, lambda seen, at=narrow: not seen["controls"] and min(seen["sides"]) > at + 40)
            panel.get_by_role("button", name="Wide").click()
            arranged(page, number, lambda seen, at=narrow: seen["controls"] and min(seen["sides"]) == at)

    def test_an_audience_sees_two_maps_in_large_type_and_three_controls(self, page: Any) -> None:
        for number in range(5):
            panel, maps = page.locator(".amkd-panel").nth(number), 0 if number == 1 else 2
            panel.get_by_role("button", name="Present").click()
            arranged(page, number, lambda seen, maps=maps: seen["moved"] == 3 and len(seen["sides"]) == maps)
            arranged(page, number, lambda seen: min(seen["letters"], default=18) >= 18)
            assert panel.locator(".amkd-head").is_visible()
            page.keyboard.press("Escape")
            arranged(page, number, lambda seen: seen["moved"] > 3)
            assert page.locator(".amkd-present").count() == 0

    def test_maps_name_their_axes_and_their_marks(self, page: Any) -> None:
        for number in (0, 2, 3, 4):
            for axis in page.evaluate(LAYOUT, number)["ticks"][0].split(" | "):
                assert len(axis.split()) >= 2
        letters = page.locator(".amkd-panel").nth(4).locator(".amkd-maps").get_attribute("data-letters").split()
        assert len(letters) >= 3  # of twelve classes: colours alone do not tell so many apart
        assert set(letters) <= set(map(str, range(12)))
        (words,) = page.evaluate(LAYOUT, 3)["signs"]
        for word in ("data points", "path of the attack", "on the student", "boundary sample", "margin .25 .5 .75"):
            assert word in words

    def test_pictures_code_and_state_leave_by_button(self, page: Any, tmp_path: Path) -> None:
        clipboard = "navigator.clipboard.readText()"
        for number, name in enumerate(("one", "two", "three")):
            panel = page.locator(".amkd-panel").nth(number)
            files = []
            for kind in ("PNG", "SVG"):
                panel.locator(".amkd-menu summary").click()
                with page.expect_download() as got:
                    panel.locator(".amkd-menu button", has_text=kind).click()
                files.append(tmp_path / got.value.suggested_filename)
                got.value.save_as(files[-1])
            root = ElementTree.parse(files[1]).getroot()
            size = int(root.get("width", "")), int(root.get("height", ""))
            with Image.open(files[0]) as picture:
                assert picture.size == (2 * size[0], 2 * size[1])
                assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 8
            assert len(root.findall(".//{*}path")) > 10  # lines, not pixels
            words = " ".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))
            title = page.amkd.ask(f"print(type({name}).__name__)")
            assert title in words
            assert "teacher" in words
            panel.locator(".amkd-menu summary").click()
            panel.locator(".amkd-menu button", has_text="Copy").click()
            page.amkd.settled("Copied the pictures.", panel=number)
            kinds = page.evaluate("navigator.clipboard.read().then((items) => items[0].types)")
            assert kinds == ["image/png"]
            panel.get_by_role("button", name="Copy state").click()
            line = f"panel = {page.amkd.ask(f'print({name}.line())')}; panel"
            page.amkd.until(lambda line=line: str(page.evaluate(clipboard)).endswith(line))  # type: ignore[misc]
            panel.get_by_role("button", name="Show code").click()
            page.amkd.until(lambda panel=panel: "import" in panel.locator("pre").first.inner_text())  # type: ignore[misc]
            panel.locator(".amkd-copy").first.click()
            code = page.amkd.ask(f"import json; print(json.dumps({name}.code()))")
            page.amkd.until(lambda code=code: page.evaluate(clipboard) == code)  # type: ignore[misc]
            panel.get_by_role("button", name="Show code").click()

    def test_a_double_click_on_a_name_resets_its_control(self, page: Any) -> None:
        page.amkd.ask("three.set(step_size=1.0).wait()")
        panel = page.locator(".amkd-panel").nth(2)
        panel.locator(".widget-label", has_text="step size").dblclick()
        page.amkd.until(lambda: page.amkd.ask("print(three['step_size'] < 0.5)") == "True")
        panel.get_by_role("button", name="Undo").click()

    @pytest.mark.slow
    @pytest.mark.parametrize("number", range(5))
    def test_every_button_can_be_pressed(self, page: Any, number: int) -> None:
        """Buttons, checkboxes and drawers, also those that come with a click; then some of everything at random."""
        name, draw = NAMED[number], random.Random(number)
        panel = page.locator(CELL).nth(number + 1).locator(".amkd-panel").first
        page.amkd.ask(f"{HEAR}\n{SHORT}")
        page.amkd.console.clear()
        pressed: list[str] = []
        while (found := panel.evaluate(NEXT, pressed)) is not None:
            pressed.append(found)
            press(page, panel.locator("[data-next]"), draw)
            if "|Present|" in found:
                page.keyboard.press("Escape")
            if "|Reset controls|" in found:
                page.amkd.ask(SHORT)
            page.amkd.ask("")  # the kernel has answered: what it hides is hidden
        assert [key for key in pressed if not key.split("|", 1)[1].strip("|")] == []  # each has a name
        assert {"Undo", "Show code", "Copy state", "Export", "Wide", "Present", "PNG"} <= {
            k.split("|")[1] for k in pressed
        }
        for _ in range(CLICKS):
            panel.evaluate(ONE, [PARTS, AVOIDED, draw.random()])
            press(page, panel.locator("[data-next]"), draw)
            page.amkd.ask("")
        if page.locator(".amkd-present").count():  # it covers the others
            panel.get_by_role("button", name="Present").click()
        page.amkd.ask(f"one.stop(); five.reset(); {name}.wait(300)")
        assert page.amkd.ask("import json; print(json.dumps(heard))") == []
        assert page.amkd.errors == []
        assert page.amkd.console == []
        help_ = panel.locator(".amkd-about").first
        before = help_.is_visible()
        panel.get_by_role("button", name="?", exact=True).first.click()
        help_.wait_for(state="hidden" if before else "visible")  # it still answers
