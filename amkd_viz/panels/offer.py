"""Offer to do what helps, such as to continue the run or the race that a kernel left unfinished."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

import ipywidgets as widgets

from amkd_viz.core.errors import InputError
from amkd_viz.panels.view_widget import close_whole
from amkd_viz.runs import Race, Run
from amkd_viz.runs.follow import locked
from amkd_viz.views.labels import safe

__all__ = ["Offer", "interrupted"]

MOST = 30  # folders that are looked at
FILES: dict[type, str] = {Run: "config.json", Race: "race.json"}
Shown = TypeVar("Shown", Run, Race)


def interrupted(kind: type[Shown], folder: Path, dataset: str) -> tuple[Shown, int] | None:
    """Return the newest run or race of a data set in a folder, and the number of epochs in its checkpoint.

    None if it is finished, has no checkpoint, or is being trained.
    """
    files = sorted(folder.glob(f"*/{FILES[kind]}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[:MOST]:
        with suppress(InputError):  # not one of ours, damaged, or being trained
            found = kind.open(file.parent)
            if found.recipe.dataset != dataset:
                continue
            runs = list(found.runs.values()) if isinstance(found, Race) else [found]
            if all(run.finished for run in runs):
                return None
            with ExitStack() as held:
                for run in runs:
                    held.enter_context(locked(run.path / "lock", str(run.path)))
                done = [run.load_checkpoint() for run in runs if not run.finished]
            if not all(done):
                return None
            return found, min(state["epoch"] for state in done if state)
    return None


class Offer:
    """A row with a question and two buttons, hidden until there is something to offer.

    Attributes:
        row: the widget.
    """

    def __init__(self, panel: Any) -> None:
        self._panel = panel
        self.row = widgets.HBox([])
        self.row.add_class("amkd-asked")
        self.row.layout.display = "none"

    def ask(self, found: tuple[Run | Race, int] | None, go_on: Callable[[Any], None]) -> None:
        """Ask whether to continue what ``interrupted`` found; "Continue" calls ``go_on`` with it."""
        if found is None:
            return
        shown, epoch = found
        what = "race" if isinstance(shown, Race) else "run"
        text = f"<b>Continue {what} {safe(shown.path.name)} from epoch {epoch} of {shown.recipe.epochs}?</b>&nbsp;"

        stays = f"The {what} stays in its folder"
        self.show(text, "Continue", "from its newest checkpoint", lambda: go_on(shown), stays)

    def show(self, text: str, label: str, tip: str, action: Callable[[], Any], otherwise: str = "") -> None:
        """Show a button that calls ``action``, and one that withdraws the offer.

        Args:
            text: HTML before the buttons. label, tip: of the button. otherwise: what the other one leaves.
        """

        def accept() -> None:
            self.drop()
            action()

        def show() -> None:
            self.row.children = (
                widgets.HTML(text),
                self._panel.button(label, tip, accept, primary=True),
                self._panel.button("Not now", otherwise, self.drop),
            )
            self.row.layout.display = None

        self._panel.paint.ask(f"offer {id(self)}", show)

    def drop(self) -> None:
        """Withdraw the question."""

        def hide() -> None:
            old, self.row.children = self.row.children, ()
            self.row.layout.display = "none"
            for part in old:
                close_whole(part)

        self._panel.paint.ask(f"offer {id(self)}", hide)
