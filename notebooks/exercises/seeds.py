"""One seed lies: seeds are drawn one by one, each trained now, and the interval of a difference shrinks."""

from __future__ import annotations

import statistics
from typing import Any
from uuid import uuid4

import ipywidgets as widgets
import plotly.graph_objects as go
from IPython.display import display, update_display

from amkd_viz.core.errors import InputError
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.run import finished_run
from amkd_viz.runs.stats import paired
from amkd_viz.training import Recipe
from amkd_viz.training.teachers import cache_folder
from amkd_viz.views.labels import safe
from amkd_viz.views.layout import blank
from amkd_viz.views.page import bundle
from amkd_viz.views.theme import LIGHT
from exercises.live import display_live

__all__ = ["Seeds"]

MOST = 40


class Seeds:
    """Two methods, one more seed per press of a button. Runs stay in the cache, so a second reading takes no time.

    Args:
        recipe: of both, but for method and seed.
        methods: two names; the difference is the second minus the first.

    Attributes:
        differences: in percentage points, one per seed.
    """

    def __init__(self, recipe: Recipe, methods: tuple[str, str]) -> None:
        if len(methods) != 2:
            raise InputError(f"Seeds compares two methods, got {len(methods)}.")
        self.recipe, self.methods = recipe, methods
        self.shares: list[tuple[float, float]] = []
        self.words, self._place = widgets.HTML(), ""
        one = widgets.Button(description="Draw a seed", button_style="primary")
        five = widgets.Button(description="Draw five")
        one.on_click(lambda _: self.draw())
        five.on_click(lambda _: self.draw(5))
        self.widget = widgets.VBox([widgets.HBox([one, five]), self.words])
        self._show()

    def _ipython_display_(self) -> None:
        self._place = uuid4().hex
        display_live(self.widget, self.sentence())
        display(self._bundle(), raw=True, display_id=self._place)

    @property
    def differences(self) -> list[float]:
        return [100 * (b - a) for a, b in self.shares]

    def draw(self, count: int = 1) -> None:
        """Train both methods with ``count`` more seeds, or read the runs from the cache."""
        for _ in range(count):
            seed = len(self.shares)
            if seed == MOST:
                return
            self.words.value = f"Training seed {seed} &hellip;"
            a, b = (self._accuracy(method, seed) for method in self.methods)
            self.shares.append((a, b))
            self._show()

    def _accuracy(self, method: str, seed: int) -> float:
        recipe = self.recipe.replace(method=method, seed=seed, magsim_samples=0, evaluate_every=self.recipe.epochs)
        path = cache_folder() / "seeds" / f"{recipe.dataset}-{method}-{recipe.hash}"
        run = finished_run(path, recipe, lambda: prepare(recipe), snapshots=False)
        return float(run.summary["test_accuracy"])

    def sentence(self) -> str:
        """Return what the seeds so far allow one to say."""
        found, (first, second), n = self.differences, self.methods, len(self.shares)
        if not n:
            return f"No seed yet. How many will it take until you can say whether {second} is better than {first}?"
        winners = [first if d < 0 else second for d in found]
        last = f"Seed {n - 1}: {winners[-1]} is ahead by {abs(found[-1]):.1f} points."
        result = paired(*zip(*[(b, a) for a, b in self.shares], strict=True)) if n > 1 else None
        if result is None:
            return f"{last} One seed has no interval: {winners[-1]} wins, but another seed may show the opposite."
        low, high = result.interval
        wins = winners.count(second)
        verdict = (
            f"{second if low > 0 else first} is better" if low > 0 or high < 0 else "the two are not distinguishable"
        )
        return (
            f"{last} {second} - {first} = {statistics.fmean(found):+.2f} points, 95 % interval "
            f"[{low:+.2f}, {high:+.2f}] over {n} seeds, of which {second} wins {wins}: {verdict}."
        )

    def figure(self) -> go.Figure:
        """Return the differences by seed, and the interval after each seed from the second on."""
        above = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
        made = blank(height=320, showlegend=True, legend=above, margin={"t": 40, "b": 46, "l": 60, "r": 20})
        found = self.differences
        made.add_hline(0, line={"color": LIGHT.ink, "width": 1})
        for n in range(2, len(found) + 1):
            result = paired(*zip(*[(b, a) for a, b in self.shares[:n]], strict=True))
            if result is not None:
                low, high = result.interval
                made.add_scatter(
                    x=[n - 1, n - 1],
                    y=[low, high],
                    mode="lines",
                    line={"color": LIGHT.accent, "width": 6},
                    name="95 % interval of the mean over the seeds so far",
                    showlegend=n == 2,
                )
        made.add_scatter(
            x=list(range(len(found))),
            y=found,
            mode="markers",
            marker={"color": LIGHT.warm, "size": 9},
            name="difference of this seed",
        )
        made.update_xaxes(title="seed", dtick=1).update_yaxes(
            title=f"{safe(self.methods[1])} - {safe(self.methods[0])}, points"
        )
        return made

    def _show(self) -> None:
        self.words.value = safe(self.sentence())
        if self._place:
            # JupyterLab does not draw a figure anew where one is: another kind of output in between makes it do so
            for data in ({"text/plain": ""}, self._bundle()):
                update_display(data, raw=True, display_id=self._place)

    def _bundle(self) -> dict[str, Any]:
        return bundle(self.figure()) | {"text/plain": self.sentence()} if self.shares else {"text/plain": ""}
