"""The log of a run as it grows: of a run of this process, of another one, or of a finished one."""

from __future__ import annotations

import math
import statistics
from typing import Any

from amkd_viz.runs import Run
from amkd_viz.views.curves import Series, series
from amkd_viz.views.labels import value_words

__all__ = ["RunLog"]

Line = dict[str, Any]


class RunLog:
    """Reads metrics.jsonl, each line once.

    Attributes:
        run: the run. lines: what has been read so far.
        epochs: the lines of finished epochs. series: name -> [(epoch, value)] of these.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._follower = run.follow()
        self._forget()

    def _forget(self) -> None:
        self.lines: list[Line] = []
        self.epochs: list[Line] = []
        self.series: Series = {}

    def poll(self) -> bool:
        """Read on; return whether there were new lines."""
        new = self._follower.poll()
        if self._follower.rewound:
            self._forget()
        epochs = [line for line in new if line.get("kind", "epoch") == "epoch"]
        self.lines += new
        self.epochs += epochs
        series(epochs, self.series)
        return bool(new)

    @property
    def notes(self) -> list[str]:
        """What a person should know before reading the numbers."""
        return [str(line.get("text")) for line in self.lines if line.get("kind") == "note"]

    @property
    def done(self) -> int:
        """Number of finished epochs."""
        return max((line["epoch"] for line in self.epochs), default=0)

    @property
    def step_seconds(self) -> float:
        """Median duration of a training step in seconds; NaN before the first epoch is done."""
        speeds = [line["images_per_s"] for line in self.epochs if line.get("images_per_s")]
        recipe = self.run.recipe
        batch = min(recipe.batch_size, recipe.num_train or recipe.batch_size)
        return batch / statistics.median(speeds) if speeds else math.nan

    def marks(self) -> list[tuple[float, str]]:
        """Return (epoch, words) of the overrides; the last value in an epoch stands for all."""
        marks: dict[tuple[int, str], str] = {}
        for line in self.lines:
            for name, value in line["changes"].items() if line.get("kind") == "intervention" else ():
                marks[line["epoch"], name] = f"{name} → {value_words(value)}"
        return [(float(epoch), words) for (epoch, _), words in marks.items()]

    def text(self, most: int = 200) -> str:
        """Return the last ``most`` lines in words, newest first."""
        return "\n".join(_words(line) for line in reversed(self.lines[-most:]))


def _words(line: Line) -> str:
    kind = line.get("kind", "epoch")
    if kind == "intervention":
        values = ", ".join(f"{name} → {value_words(value)}" for name, value in line["changes"].items())
        return f"you: {values} (epoch {line['epoch']}, batch {line['batch']})"
    if kind != "epoch":
        return f"{kind}: {line.get('text', '')}"
    terms = "  ".join(f"{name} {value:.3f}" for name, value in (line.get("terms") or {}).items())
    accuracy, speed = line.get("val_accuracy"), line.get("images_per_s")
    shown = f"  validation {100 * accuracy:.1f} %" if accuracy is not None else ""
    return f"epoch {line['epoch']}: {terms}{shown}" + (f"  {speed:,.0f}\N{NO-BREAK SPACE}images/s" if speed else "")
