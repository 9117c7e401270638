"""What will happen? Ask where an attack ends before its path is shown, and keep the score."""

from __future__ import annotations

from functools import partial
from typing import Any

import ipywidgets as widgets

from amkd_viz.boundary.samples import Status as Ending

__all__ = ["Prediction"]

ANSWERS = {"in the target class": Ending.TARGET, "in another class": Ending.OTHER, "not across": Ending.NOT_CROSSED}


class Prediction:
    """The question, its answers as buttons, and the score.

    Args:
        panel: its ``answer`` is called with the ``Ending`` of the button that was pressed.

    Attributes:
        row: the widget; hidden until a question is asked.
        hidden: whether the path has to stay hidden until the answer.
    """

    def __init__(self, panel: Any) -> None:
        self.question, self.hidden = widgets.HTML(), False
        self._paint, self._score = panel.paint, [0, 0]
        self._buttons = [panel.button(words, "", partial(panel.answer, ending)) for words, ending in ANSWERS.items()]
        self.row = widgets.HBox([self.question, *self._buttons])
        self.row.layout.display = "none"
        self.row.add_class("amkd-asked")

    def ask(self, steps: str, base: str, target: str) -> None:
        """Ask; ``steps`` are words such as "10 steps at most", the classes are HTML."""
        self.hidden = True
        self._show(f"<b>What will happen?</b> {steps} from {base} towards {target}: it ends ")

    def judge(self, right: bool, look: str, go_on: str) -> None:
        """Show whether the answer was right, and count it. The path may be shown from now on.

        Args:
            look: what to do after a wrong answer. go_on: a sentence on how to get the next question.
        """
        self.hidden = False
        self._score = [self._score[0] + right, self._score[1] + 1]
        verdict = "Right" if right else f"No: {look}"
        self._show(f"<b>{verdict}.</b> {self._score[0]} of {self._score[1]} so far. {go_on}")

    def drop(self) -> None:
        """Withdraw the question."""
        self.hidden = False
        self._paint.ask("question", lambda: setattr(self.row.layout, "display", "none"))

    def _show(self, text: str) -> None:
        hidden = self.hidden

        def show() -> None:
            self.question.value = text
            for button in self._buttons:
                button.disabled = not hidden
            self.row.layout.display = None

        self._paint.ask("question", show)
