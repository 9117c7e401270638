"""First steps: three callouts at a panel's parts, closed once and for all, and shown again on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pytest

from amkd_viz.panels import BoundaryLab, DistillLab, EmbeddingLab, MethodRace, SampleLab
from amkd_viz.panels.controls import slider
from amkd_viz.panels.panel import PARTS, Panel
from tests.lab import panel_page

CELL = """
from tests.test_panels_coach import Small
Small()
"""


class Small(Panel):
    """A panel without nets."""

    title = "Small"
    about = "A small panel."

    def __init__(self) -> None:
        super().__init__()
        picture = widgets.HTML("<div style='height: 300px'>a picture</div>")
        self.assemble({"Show": {"size": slider("size", 1.0, 0.0, 2.0, 0.1, "of the picture")}}, [picture])

    def changed(self, name: str, value: Any) -> None:
        """Draw nothing."""

    def code(self) -> str:
        return "pass"


@pytest.mark.parametrize("kind", [BoundaryLab, DistillLab, EmbeddingLab, MethodRace, SampleLab, Small])
def test_each_panel_has_three_short_ones_at_its_parts(kind: type[Panel]) -> None:
    assert len(kind.first_steps) == 3
    assert set(kind.first_steps) <= set(PARTS)
    assert all(20 < len(text) <= 140 for text in kind.first_steps.values())


@pytest.mark.parametrize(("value", "greets"), [("off", ""), ("", "Small")])
def test_one_variable_keeps_them_until_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, value: str, greets: str
) -> None:
    monkeypatch.setenv("AMKD_VIZ_COACH", value)
    panel = Small()
    assert panel.status.greets == greets
    assert len(panel.status.steps) == 3
    assert "amkd-tour" in panel._help.value
    panel.close()


@pytest.mark.slow
@pytest.mark.browser
def test_by_keyboard_once_and_again_from_the_help(tmp_path: Path) -> None:
    with panel_page(tmp_path, CELL, lambda made: made.run(0), AMKD_VIZ_COACH="") as notebook:
        page = notebook.page
        panel, card = page.locator(".amkd-panel"), page.locator(".amkd-coach")
        card.wait_for()
        texts = list(Small.first_steps.values())

        def shown(number: int, part: str) -> None:
            card.get_by_text(f"{number} of 3").wait_for()
            assert card.locator("p").inner_text() == texts[number - 1]
            assert panel.locator(f".amkd-pointed.amkd-{part}").count() == 1
            assert panel.locator(".amkd-pointed").count() == 1
            assert inside(card.bounding_box(), panel.bounding_box())

        shown(1, "controls")
        assert page.get_by_role("region", name="First steps").count() == 1
        assert card.locator("p").get_attribute("aria-live") == "polite"
        panel.locator(".amkd-head :is(button, summary):visible").last.focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Next"
        page.keyboard.press("Enter")
        shown(2, "pictures")
        page.keyboard.press("Escape")
        card.wait_for(state="detached")
        assert page.evaluate("document.activeElement.textContent") == "?"

        notebook.run(0)  # a new panel of this kind, in the same browser
        panel.locator(".amkd-status[data-kind]").wait_for()
        panel.locator(".amkd-presenter").wait_for()  # made in the same frame as a callout
        assert card.count() == 0
        page.keyboard.press("Escape")
        panel.get_by_role("button", name="?").click()
        panel.get_by_role("button", name="Show the first steps").click()
        shown(1, "controls")
        assert page.evaluate("document.activeElement.textContent") == "Next"
        page.set_viewport_size({"width": 420, "height": 900})  # the controls are a drawer now
        page.wait_for_function("() => document.querySelector('.amkd-panel').offsetWidth < 420")
        page.wait_for_timeout(200)
        assert inside(card.bounding_box(), panel.bounding_box())
        for word in ("Next", "Next", "Done"):
            card.get_by_role("button", name=word).click()
        card.wait_for(state="detached")
        assert panel.locator(".amkd-pointed").count() == 0


def inside(small: dict[str, float] | None, large: dict[str, float] | None) -> bool:
    assert small
    assert large
    left, right = large["x"] <= small["x"], small["x"] + small["width"] <= large["x"] + large["width"]
    return left and right and large["y"] <= small["y"]
