"""What every panel can do, on a panel of nothing but sliders; and whose cell it is."""

from __future__ import annotations

import sys
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
import pytest
from PIL import Image

import amkd_viz.panels.panel as panel_module
from amkd_viz.core.errors import InputError
from amkd_viz.objectives import methods
from amkd_viz.objectives.methods import known_terms
from amkd_viz.panels.controls import choice, from_fields, slider, toggle, with_values
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.term_controls import TermControls, objective_values
from amkd_viz.training import Recipe
from amkd_viz.views import View
from tests.waiting import until


class Small(Panel):
    title = "Small"
    about = "Nothing: $x = x$."

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, Any]] = []
        self.assemble(
            {
                "Numbers": {
                    "margin": slider("margin", 1.0, 0.0, 4.0, 0.1, "a margin"),
                    "rate": slider("rate", 0.1, 0.001, 10.0, 0.02, "a rate", log=True),
                },
                "Rest": {
                    "kind": choice("kind", "a", ["a", ("the other", "b")], "a kind"),
                    "on": toggle("on", True, ""),
                },
            },
            [],
            folded=["Rest"],
        )

    def changed(self, name: str, value: Any) -> None:
        if value == 3.0:
            raise InputError("3 is not for today.")
        self.heard.append((name, value))

    def code(self) -> str:
        return f"margin = {self['margin']} # <b>"

    def view(self) -> View | None:
        return View(go.Figure(), {}, {}, "", "Small")

    def still(self) -> Image.Image | None:
        return Image.new("RGB", (30, 20), "red")


@pytest.fixture
def panel() -> Iterator[Small]:
    made = Small()
    yield made
    made.close()


def test_set_moves_controls_as_a_person_does(panel: Small) -> None:
    assert panel.set(margin=2.0, kind="b", on=False) is panel
    assert panel.heard == [("margin", 2.0), ("kind", "b"), ("on", False)]
    assert panel.values == {"margin": 2.0, "rate": 0.1, "kind": "b", "on": False}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"margine": 1}, "Unknown control of Small 'margine'"),
        ({"margin": 9}, "margin must be between 0 and 4, got 9"),
        ({"margin": "high"}, "margin must be between 0 and 4"),
        ({"margin": [1]}, "margin must be between 0 and 4"),
        ({"margin": None}, "margin must be between 0 and 4"),
        ({"on": "yes"}, "on does not take 'yes'"),
        ({"kind": []}, "Unknown kind"),
        ({"rate": 100.0}, "rate must be between 0.001 and 10"),
        ({"kind": "c"}, "Unknown kind 'c'"),
    ],
)
def test_set_refuses_in_a_sentence_and_moves_nothing(panel: Small, values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        panel.set(**{"on": False, **values})
    assert "\n" not in str(caught.value)
    assert panel.heard == []
    assert panel["on"] is True


def test_a_refused_value_is_in_the_status_line_and_put_calls_nothing(panel: Small) -> None:
    panel.put("margin", value=2.5)
    assert (panel["margin"], panel.heard) == (2.5, [])
    panel.set(margin=3.0)
    panel.wait()
    assert (panel.status.text, panel.status.kind) == ("3 is not for today.", "error")


def in_page(panel: Panel, name: str) -> bool:
    """Whether a control is among the widgets that the page draws."""

    def below(widget: Any) -> list[Any]:
        return [widget, *(part for child in getattr(widget, "children", ()) for part in below(child))]

    return panel.controls[name] in below(panel.widget)


def test_the_page_has_the_controls_on_show_alone(panel: Small) -> None:
    assert [in_page(panel, name) for name in ("margin", "rate", "kind", "on")] == [True, True, False, False]
    panel._folds[1].children[0].click()
    panel.show(only=["rate", "on"]).wait()
    assert [in_page(panel, name) for name in ("margin", "rate", "kind", "on")] == [False, True, False, True]
    panel._folds[1].children[0].click()
    panel.show().wait()
    assert [in_page(panel, name) for name in ("margin", "rate", "kind", "on")] == [True, True, False, False]


def test_closing_a_panel_closes_the_controls_that_the_page_does_not_have() -> None:
    panel = Small()
    panel.close()
    assert all(control.comm is None for control in panel.controls.values())


def test_controls_of_a_term_are_made_when_they_are_first_needed() -> None:
    terms = TermControls({"_sum": toggle("sum", True, "")})
    joined: list[list[str]] = []
    terms.joined = lambda made: joined.append(list(made))
    assert "boundary_triplet.margin" in terms
    assert list(terms) == ["_sum"]
    assert terms["boundary_triplet.margin"].layout.display == "none"
    terms.fit([methods["kd"]()])
    assert joined[0][:2] == ["_boundary_triplet", "boundary_triplet.scale"]
    assert joined[1:] == [["_ce", "ce.scale"], ["_kd", "kd.scale", "kd.temperature", "kd.t2"]]
    shown = [name for name, made in terms.items() if made.layout.display != "none"]
    assert shown == ["_sum", "_ce", "ce.scale", "_kd", "kd.scale", "kd.temperature", "kd.t2"]
    with pytest.raises(KeyError, match=r"kd\.margin"):
        terms["kd.margin"]
    assert "boundary_triplet.variant" not in TermControls(menus=False)
    assert set(objective_values(methods["amkd"]())) <= set(terms.names)


def test_show_hides_the_other_controls(panel: Small) -> None:
    panel.show(only=["margin"])
    hidden = {name: control.layout.display == "none" for name, control in panel.controls.items()}
    assert hidden == {"margin": False, "rate": True, "kind": True, "on": True}
    assert [fold.layout.display for fold in panel._folds] == [None, "none"]
    panel.show(only=[])
    assert panel.widget.children[3].children[0].layout.display == "none"
    panel.show()
    assert all(control.layout.display is None for control in panel.controls.values())
    with pytest.raises(InputError, match="Unknown control"):
        panel.show(only=["margin", "colour"])


def test_what_a_slider_adds_up_is_read_as_a_person_reads_it(panel: Small) -> None:
    for raw, read in ((1.600000023841858, 1.6), (0.1 + 0.2, 0.3)):
        panel.controls["margin"].value = panel.controls["rate"].value = raw
        assert panel["margin"] == panel["rate"] == read
        assert {name: panel.values[name] for name in ("margin", "rate")} == {"margin": read, "rate": read}
        assert panel.heard[-2:] == [("margin", read), ("rate", read)]
        assert panel.code().startswith(f"margin = {read} ")
        assert f"margin={read}, rate={read}, kind=" in panel.settings()


def test_help_and_code_open_and_close_and_other_code_stays_open(panel: Small) -> None:
    for action, part in ((panel.help, panel._help), (panel.show_code, panel._code)):
        for shown in (None, "none", None):
            action()
            panel.wait()
            assert part.layout.display == shown
    assert "margin = 1.0 # &lt;b&gt;" in panel._code.value
    panel.set(margin=2.0).show_code()
    panel.wait()
    assert panel._code.layout.display is None
    assert "margin = 2.0" in panel._code.value


def test_the_name_of_a_written_file_goes_after_some_seconds(panel: Small, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(panel_module, "SAID", 0.2)
    panel.say("Ready.")
    panel.paint.wait(5)
    panel.export(tmp_path / "one.html")
    panel.paint.wait(5)
    assert panel.status.text.startswith("Wrote")
    until(lambda: panel.status.text == "Ready.")


def test_after_two_files_the_line_is_that_before_both(panel: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_module, "SAID", 60)
    panel.say("Here is a picture.")
    panel.wait()
    panel.tell_file("Wrote one.")
    monkeypatch.setattr(panel_module, "SAID", 0.05)
    panel.wait().tell_file("Wrote two.")
    until(lambda: panel.status.text == "Here is a picture.")


def test_exports_never_overwrite(panel: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [panel.export(), panel.export()]
    assert [str(path) for path in paths] == ["exports/Small-1.html", "exports/Small-2.html"]
    assert all(path.is_file() for path in paths)


def test_a_panel_without_a_session_has_no_button_for_it(panel: Small) -> None:
    labels = [child.description for child in panel.widget.children[0].children[1:]]
    assert labels == ["?", "Undo", "Reset controls", "Show code", "Export"]
    with pytest.raises(InputError, match="no run to save"):
        panel.save_session()


def test_a_traceback_is_one_sentence_and_the_rest_under_the_code(panel: Small) -> None:
    panel.compute.ask("broken", lambda: [][1])
    panel.wait()
    assert panel.status.text.startswith("Unexpected error: IndexError")
    assert "\n" not in panel.status.text
    assert "Traceback" in panel._code.value


def test_cancel_is_heard_by_long_work(panel: Small) -> None:
    over = panel.cancel_point("map")
    assert not over()
    panel.status.cancelled += 1
    assert over()
    assert not panel.cancel_point("map")()


def test_closing_twice_ends_the_threads_once(panel: Small) -> None:
    panel.close()
    panel.close()
    until(lambda: not [t.name for t in threading.enumerate() if t.name.startswith("Small")])
    assert repr(panel) == "Small(closed)"
    for act in (lambda: panel.set(margin=2.0), panel.wait, panel.export, panel.save_session):
        with pytest.raises(InputError, match="Small is closed; run its cell again"):
            act()
    assert panel.heard == []


# cells


def run_cell(monkeypatch: pytest.MonkeyPatch, cell: str, message: str) -> None:
    parent = {"metadata": {"cellId": cell}, "header": {"msg_id": message}}
    shell = types.SimpleNamespace(kernel=types.SimpleNamespace(get_parent=lambda: parent))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))


def test_a_cell_that_runs_again_closes_its_own_panels_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    run_cell(monkeypatch, "one", "1")
    first, beside = Small(), Small()
    run_cell(monkeypatch, "two", "2")
    other = Small()
    assert not first.closed  # two in a cell, and one in the next
    assert not beside.closed
    run_cell(monkeypatch, "one", "3")
    again = Small()
    assert first.closed
    assert beside.closed
    assert not other.closed
    again.close()
    other.close()


def test_outside_a_notebook_there_is_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    parentless = types.SimpleNamespace(kernel=types.SimpleNamespace(get_parent=lambda: {"metadata": {}, "header": {}}))
    for shell in (None, parentless):
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda shell=shell: shell))
        one, two = Small(), Small()
        assert not one.closed
        one.close()
        two.close()


# controls from fields


@pytest.mark.parametrize("name", list(known_terms()))
def test_steps_of_a_slider_reach_the_value_that_it_shows(name: str) -> None:
    """A page moves any other value to the nearest step and sends it back as a change by hand."""
    term = known_terms()[name]
    for control in from_fields(term, [own.name for own in fields(term)]).values():
        if type(control).__name__ == "FloatSlider":
            steps = (control.value - control.min) / control.step
            assert steps == pytest.approx(round(steps), abs=1e-6), control.description


def test_fields_become_controls_and_values_become_fields() -> None:
    recipe = Recipe(step_size=5.0, max_boundary_samples=900)
    names = ["precision", "epochs", "attack_steps", "step_size", "learning_rate", "num_train", "device", "batch_size"]
    made = from_fields(recipe, names, epochs={"high": 200, "help": "passes"}, device={"choices": ["auto", "cpu"]})
    assert {name: type(control).__name__ for name, control in made.items()} == {
        "precision": "Dropdown",
        "epochs": "IntSlider",
        "attack_steps": "IntSlider",
        "step_size": "FloatSlider",
        "learning_rate": "LogSlider",
        "num_train": "BoundedIntText",
        "device": "Dropdown",
        "batch_size": "BoundedIntText",
    }
    assert (made["epochs"].max, made["epochs"].tooltip) == (200, "passes")
    assert made["step_size"].max == 5.0  # the value widens what is shown
    assert made["num_train"].value == 0  # None: all
    values = {name: control.value for name, control in made.items()}
    assert with_values(recipe, values | {"not a field": 1}) == recipe
    changed = with_values(recipe, values | {"step_size": 0.1 + 0.2, "num_train": 60, "precision": "bf16"})
    assert (changed.step_size, changed.num_train, changed.precision) == (0.3, 60, "bf16")
    with pytest.raises(InputError, match="epochs"):
        with_values(recipe, {"epochs": 0})
    own = recipe.replace(step_size="auto")
    slider = from_fields(own, ["step_size"])["step_size"]
    assert (slider.value, slider.min, slider.tooltip.endswith("; 0 for auto")) == (0, 0, True)  # as 0 stands for None
    assert with_values(own, {"step_size": slider.value}) == own
    assert with_values(own, {"step_size": 0.2}) == recipe.replace(step_size=0.2)


def test_a_term_of_your_own_gets_controls_too() -> None:
    @dataclass(frozen=True)
    class Mine:
        scale: float = 1.5
        margin: float = field(default=0.2, metadata={"low": 0.0, "high": 4.0})
        squared: bool = False
        norm: str = field(default="l2", metadata={"choices": ("l1", "l2")})

    made = from_fields(Mine())
    assert [type(c).__name__ for c in made.values()] == ["BoundedFloatText", "FloatSlider", "Checkbox", "Dropdown"]
    made["margin"].value += made["margin"].step
    assert with_values(Mine(), {n: c.value for n, c in made.items()}) == Mine(margin=0.25)


def test_a_long_job_says_how_much_time_is_left(panel: Small) -> None:
    panel.say_now("Working.", "busy", 0.1)
    assert panel.status.text == "Working."  # too early to say
    begun, share = panel._since
    panel._since = begun - 100, share
    panel.say_now("Working.", "busy", 0.6)
    assert panel.status.text == "Working. 80 s left."
    panel._since = begun - 1000, share
    panel.say_now("Working.", "busy", 0.6)
    assert panel.status.text == "Working. 13 min left."
    panel.say_now("Training: epoch 3 of 9", "busy", 0.22)
    assert panel.status.text.startswith("Training: epoch 3 of 9. ")
    panel.say_now("Another job.", "busy", 0.0)
    assert panel.status.text == "Another job."
    panel.say_now("Done.", "done")
    assert panel.status.text == "Done."


def test_what_was_refused_stays_until_the_next_action(panel: Small) -> None:
    panel.fail("No.")
    panel.wait()
    panel.say("Epoch 3.", "busy", 0.5)
    panel.wait()
    assert (panel.status.text, panel.status.kind) == ("No.", "error")
    panel.controls["margin"].value = 2.5
    panel.say("Epoch 4.", "busy", 0.5)
    panel.wait()
    assert panel.status.text == "Epoch 4."
    panel.fail("No.")
    panel.button("Go", "", lambda: panel.say("Going.", "busy")).click()
    panel.wait()
    assert panel.status.text == "Going."
    picture = widgets.IntSlider()  # what stands for one: a person drags a point, picks a sample
    panel.watch(picture, "value", lambda _: panel.say("Another point.", "busy"))
    panel.fail("No.")
    picture.value = 3
    panel.wait()
    assert panel.status.text == "Another point."
    panel.fail("No.")
    panel.say("The end.", "done")
    panel.wait()
    assert panel.status.text == "The end."


def test_a_double_click_does_one_thing(panel: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(panel_module, "TWICE", 0.3)
    done: list[str] = []
    once = panel.button("Start", "", lambda: done.append("start"))
    each = panel.button("Step", "", lambda: done.append("step"), again=True)
    for _ in range(2):
        once.click()
        each.click()
        panel.wait()
    assert done == ["start", "step", "step"]
    time.sleep(0.4)
    once.click()
    panel.wait()
    assert done.count("start") == 2


def test_undo_takes_back_one_drag_and_reset_everything(panel: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    panel.set(margin=2.0)
    panel.set(margin=2.5)  # of the same drag
    panel.set(kind="b")
    panel.undo()
    assert panel.values == {"margin": 2.5, "rate": 0.1, "kind": "a", "on": True}
    panel.undo()
    assert panel["margin"] == 1.0
    panel.undo()
    panel.wait()
    assert panel.status.text == "Nothing to undo."
    monkeypatch.setattr(panel_module, "ONE_MOVE", 0.0)
    panel.set(margin=2.0).set(margin=2.5).undo()
    assert panel["margin"] == 2.0
    panel.put("rate", value=1.0)  # the panel's own choice is what there is to go back to
    panel.set(on=False, rate=2.0)
    panel.controls["on"].disabled = True
    panel.reset_controls()
    assert panel.values == {"margin": 1.0, "rate": 1.0, "kind": "a", "on": False}
    panel.undo()
    assert panel.values == {"margin": 2.0, "rate": 2.0, "kind": "a", "on": False}
    panel.set(margin=4.0, kind="b")
    panel.status.reset = next(place for place, name in panel._places.items() if name == "margin")
    panel.wait()
    assert (panel["margin"], panel["kind"], panel.status.reset) == (1.0, "b", "")
    panel.opens_with(margin=3.0)
    panel.undo()
    panel.set(margin=2.0).reset_controls()
    assert panel["margin"] == 3.0  # not that of a panel that was given nothing
    assert "margin=3.0" in panel.differing()
