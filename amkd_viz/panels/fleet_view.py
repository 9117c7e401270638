"""FleetView: all runs below a folder as they train; a click opens one in DistillLab."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets

from amkd_viz.panels.distill_lab import DistillLab
from amkd_viz.panels.live import Pulse
from amkd_viz.panels.panel import Panel
from amkd_viz.runs.fleet import Fleet, Seen
from amkd_viz.views.fleet import fleet_lines, fleet_sums
from amkd_viz.views.labels import safe

__all__ = ["FleetView"]

EVERY = 2.0  # seconds between two looks at the folder
FEWEST, ROWS = 4, 20  # lines of the list


class FleetView(Panel):
    """All runs below a folder, as they train. Choose one to open it in ``DistillLab`` below the list.

    Args:
        folder: of runs, or of folders of runs; by default that of new runs.

    Attributes:
        runs: what the last look has found. lab: the open ``DistillLab``, or None.

    Raises:
        InputError: there is no such folder.
    """

    title: ClassVar[str] = "Fleet"
    about: ClassVar[str] = (
        "One line per run: state, epochs done, validation accuracy with its curve (scaled to its own range), time left."
    )

    def __init__(self, folder: str | Path = "runs") -> None:
        fleet = Fleet(folder)
        super().__init__()
        self._fleet, self.runs = fleet, list[Seen]()
        self.lab: DistillLab | None = None
        states = ["all", "training", "finished", "stopped", "damaged"]
        shown = widgets.Dropdown(options=states, description="show", tooltip="runs in this state")
        self._list = widgets.Select(options=[], rows=ROWS, layout={"width": "100%"})
        self._list.add_class("amkd-fleet")
        self._list.tooltip = "the runs; choose one to open it"
        self._head = widgets.HTML("Looking for runs ...")
        self._head.add_class("amkd-fleet")
        self._below = widgets.VBox([])
        self.assemble({"Runs": {"show": shown}}, [self._head, self._list, self._below])
        self.controls["run"] = self._list
        self._list.observe(self._moved("run"), names="value")
        self.look()
        self._pulse = Pulse(self.look, EVERY)

    def look(self) -> None:
        """Read what has changed."""
        self.compute.ask("look", self._look)

    def _look(self) -> None:
        self.runs = self._fleet.look()
        state = self["show"]
        shown = [run for run in self.runs if state in ("all", run.state)]
        head, *lines = fleet_lines(shown)
        options = list(zip(lines, (str(run.path) for run in shown), strict=True))
        words = f"{fleet_sums(self.runs)}. Choose a run to open it."

        def paint() -> None:
            if tuple(self._list.options) != tuple(options):
                chosen = self._list.value
                self.put("run", options=options)
                self.put("run", value=chosen if chosen in [path for _, path in options] else None)
                self._list.rows = min(max(len(options), FEWEST), ROWS)
            self._head.value = f"<pre>{safe(head)}</pre>"
            self.say_now(words)

        self.paint.ask("list", paint)

    def changed(self, name: str, value: Any) -> None:
        if name == "show":
            self.look()
        elif value is not None:
            self.slow.ask("open", lambda: self.open(value))

    def open(self, run: str | Path) -> None:
        """Open a run in ``DistillLab`` below the list; the one before is closed."""
        before, self.lab = self.lab, DistillLab(run)
        lab = self.lab
        self.paint.ask("open", lambda: setattr(self._below, "children", (lab.widget,)), soon=True)
        if before is not None:
            before.close()

    def code(self) -> str:
        return f"from amkd_viz.runs.fleet import Fleet\n\nFleet({str(self._fleet.folder)!r}).look()"

    def close(self) -> None:
        """Close the open run, too."""
        if not self.closed:
            self._pulse.stop()
            if self.lab is not None:
                self.lab.close()
        super().close()
