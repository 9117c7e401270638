"""``predict("00.map", view)``: commit, then reveal. A result stays hidden until a prediction is locked.

A prediction is a word (a button each), a number (a slider), or a place on a map (a click). Where it is locked, the
result appears with the distance between prediction and truth, and with what the rest of the class predicted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib import import_module
from typing import Any
from uuid import uuid4

import ipywidgets as widgets
import numpy as np
from IPython.display import display, update_display

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.views import View
from amkd_viz.views.caption import html_caption
from amkd_viz.views.decisions import Decisions
from amkd_viz.views.page import dark_style, revived
from amkd_viz.views.scene import Mark
from exercises.checking import TOPICS, choice, number
from exercises.classroom import add, drawn
from exercises.live import display_live, still

__all__ = ["Question", "predict", "question", "questions"]

WAITING = "The result appears here once you have locked your prediction."


@dataclass(frozen=True)
class Question:
    """What is to be predicted, and how its truth is read from the result.

    Attributes:
        truth: takes what ``predict`` was given; returns the truth and a sentence on it.
        choices: the words to choose from; without, a number from ``low`` to ``high``, or a place on the map ``of``.
        unit: of the number, or of the map's axes. classes: names of the classes of that map.
    """

    name: str
    text: str
    truth: Callable[..., tuple[Any, str]]
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 100.0
    step: float = 1.0
    unit: str = ""
    of: str = ""
    classes: tuple[str, ...] = ()

    def answer(self, *result: Any) -> tuple[Any, str]:
        """Return the truth, and the sentence on it with a space before each per cent sign."""
        truth, why = self.truth(*result)
        return truth, re.sub(r"(?<=\d)%", " %", why)

    def read(self, guess: Any) -> Any:
        """Return a guess as one of the choices, a number in range, or a place.

        Raises:
            InputError: it is none.
        """
        if self.choices:
            return choice(guess, self.choices)
        if self.of:
            place = tuple(number(v, "two numbers") for v in guess)
            if len(place) != 2:
                raise InputError(f"{self.name} takes a place (x, y), got {guess!r}.")
            return place
        value = number(guess, f"a number from {self.low:g} to {self.high:g}")
        if not self.low <= value <= self.high:
            raise InputError(f"{self.name} takes a number from {self.low:g} to {self.high:g}, got {guess!r}.")
        return value

    def judged(self, guess: Any, truth: Any) -> str:
        """Return one sentence: the guess, the truth, and how far apart they are."""
        if self.choices:
            return f"Right: {truth}." if guess == truth else f"You predicted: {guess}. It is: {truth}."
        if self.of:
            return f"Your place is {np.hypot(*np.subtract(guess, truth)):.2f} {self.unit} from where it ends."
        return f"You predicted {guess:g}{self.unit}; it is {truth:.3g}{self.unit}, {abs(guess - truth):.2g} away."


_known: dict[str, Question] = {}


def question(name: str, text: str, **how: Any) -> Callable[[Callable[..., tuple[Any, str]]], Any]:
    """Register the function that reads the truth of the prediction ``name``; see :class:`Question` for the rest."""

    def register(truth: Callable[..., tuple[Any, str]]) -> Any:
        _known[name] = Question(name, text, truth, **how)
        return truth

    return register


def questions() -> dict[str, Question]:
    """Return every prediction of the notebooks, by name."""
    for topic in TOPICS.values():
        import_module(f"exercises.{topic}")
    return {name: _known[name] for name in sorted(_known)}


def predict(name: str, *result: Any, guess: Any = ...) -> None:
    """Ask for a prediction, and show the result of the cell once it is locked.

    Args:
        name: such as "00.map", as in the notebook.
        result: what is shown: a view, or text. Some questions need more, such as the samples that a map shows.
        guess: the prediction, where buttons and sliders do not work: it is locked at once.

    Raises:
        InputError: ``name`` is unknown, or ``guess`` does not fit the question.
    """
    known = questions()
    if name not in known:
        raise unknown("prediction", name, known)
    fixed = guess if guess is ... else known[name].read(guess)
    asked = _Asked(known[name], result)
    if fixed is not ...:
        asked.lock(fixed)
    elif os.environ.get("AMKD_REVEAL"):  # for pages that are made without a reader
        asked.show("")


class _Place(MapCanvas, style="panel.css"):
    """A map outside a panel, which brings the style sheet itself."""


class _Asked:
    """A question in the outputs of a cell: the widget, its still, the figure, and the verdict with its caption."""

    def __init__(self, asked: Question, result: tuple[Any, ...]) -> None:
        self.question, self.result = asked, result
        self.words = widgets.HTML(f"<b>{escape(asked.text)}</b>")
        self.map: Any = None
        self.box = widgets.VBox([self.words, *self._controls()])
        self.box.add_class("amkd-guess")
        quiet = bool(os.environ.get("AMKD_REVEAL"))
        self.ids: list[str] = [] if quiet else [display_live(self.box, f"{asked.text} {WAITING}")]
        while len(self.ids) < 2 + (not quiet):
            self.ids.append(uuid4().hex)
            display({"text/plain": ""}, raw=True, display_id=self.ids[-1])

    def _controls(self) -> list[Any]:
        asked = self.question
        if asked.choices:
            made = [widgets.Button(description=word) for word in asked.choices]
            for button, word in zip(made, asked.choices, strict=True):
                button.on_click(partial(lambda word, _: self.lock(word), word))
            return [widgets.HBox(made, layout={"flex_flow": "row wrap"})]
        button = widgets.Button(
            description="Lock my prediction", button_style="primary", layout={"width": "max-content"}
        )
        if not asked.of:
            middle = asked.low + round((asked.high - asked.low) / 2 / asked.step) * asked.step
            slider = widgets.FloatSlider(
                middle, min=asked.low, max=asked.high, step=asked.step, readout_format=".3g", layout={"width": "30em"}
            )
            slider.tooltip = asked.text
            button.on_click(lambda _: self.lock(slider.value))
            return [widgets.HBox([slider, widgets.Label(asked.unit), button], layout={"flex_flow": "row wrap"})]
        self.map, button.disabled = self._canvas(), True
        self.map.observe(lambda change: setattr(button, "disabled", not change["new"]), names="point")
        button.on_click(lambda _: self.lock(tuple(self.map.point)))
        return [self.map, button]

    def _canvas(self) -> Any:
        view, samples = self.result
        found = Decisions(*(view.arrays[f"{self.question.of}.{part}"] for part in Decisions._fields))
        x, y = view.arrays["x"], view.arrays["y"]
        dx, dy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
        canvas = _Place(interactive=True, layout={"max_width": "460px"})
        canvas.add_class("amkd-alone")
        canvas.classes(self.question.classes)
        canvas.marks = [Mark("diamond", samples.origin[:1].numpy()), Mark("label", samples.origin[:1], text=["start"])]
        canvas.show({self.question.of: found}, (x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy))
        return canvas

    def lock(self, guess: Any) -> None:
        """Take the prediction as final, and show the result."""
        for widget in _all(self.box):
            if hasattr(widget, "disabled"):
                widget.disabled = True
        if self.map is not None:
            self.map.interactive = False
        add(self.question.name, guess)
        truth, _ = self.question.answer(*self.result)
        verdict = self.question.judged(guess, truth)
        self.show(verdict, guess)
        self.words.value = f"<b>{escape(self.question.text)}</b> {escape(verdict)}"  # last: the result is there then

    def show(self, verdict: str, guess: Any = None) -> None:
        """Show the result, the distance between guess and truth, and why."""
        asked, first = self.question, self.result[0]
        truth, why = asked.answer(*self.result)
        if len(self.ids) > 2:
            self._put(0, still(f"{asked.text} {verdict}"))
        after = f"<p>{escape(why)}</p>{drawn(asked, guess, truth)}"
        if not isinstance(first, View):
            self._put(-2, {"text/html": f"<pre>{escape(str(first))}</pre>", "text/plain": str(first)})
            self._put(-1, {"text/html": after, "text/plain": why})
            return
        if asked.of and guess is not None:
            first = _with_guess(first, guess, truth)
        figure = first.for_notebook()
        self._put(-2, first._repr_mimebundle_())
        self._put(-1, {"text/html": after + html_caption(first.caption) + dark_style() + revived(figure)})

    def _put(self, place: int, data: dict[str, Any]) -> None:
        update_display(data, raw=True, display_id=self.ids[place])


def _all(widget: Any) -> list[Any]:
    return [widget, *(below for child in getattr(widget, "children", ()) for below in _all(child))]


def _with_guess(view: View, guess: tuple[float, float], truth: tuple[float, float]) -> View:
    """Return the map with a line from the predicted place to the true one."""
    figure = view.figure.__class__(view.figure)
    (x0, y0), (x1, y1) = guess, truth
    figure.add_scatter(x=[x0, x1], y=[y0, y1], mode="lines", line={"dash": "dot", "width": 3}, showlegend=False)
    figure.add_scatter(
        x=[x0],
        y=[y0],
        mode="markers+text",
        text=["your prediction"],
        textposition="top center",
        showlegend=False,
        marker={"symbol": "x", "size": 12},
    )
    return View(figure, view.arrays, view.notes, view.caption, view.title)
