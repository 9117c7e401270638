"""Python that does what DistillLab did, or would do."""

from __future__ import annotations

import textwrap
from pathlib import Path

from amkd_viz.runs import Run
from amkd_viz.training import Recipe

__all__ = ["code_of"]

CURVES = "\nfrom amkd_viz.views import curves\n\ncurves(run)\n"


def code_of(run: Run | None, controls: Recipe) -> str:
    """Return the code of the run on show, and as a comment what Start would do where the controls differ.

    Args:
        run: None for the controls alone.
    """
    if run is None:
        return f"from amkd_viz import Recipe, distill\n\n{_distilled(controls)}{CURVES}"
    parent = run.config.get("parent")
    if parent:
        there = Path(parent["path"], "config.json").exists()
        before = Run.open(parent["path"]).recipe_after(parent["epoch"]).to_json() if there else {}
        changes = "".join(f", {n}={v!r}" for n, v in run.recipe.to_json().items() if v != before.get(n, v))
        made = f"run = resume(fork(Run.open({parent['path']!r}), epoch={parent['epoch']}{changes}))\n"
        text = f"from amkd_viz import Run\nfrom amkd_viz.runs import fork, resume\n\n{made}"
    else:
        text = f"from amkd_viz import Recipe, Run, distill\n\n{_distilled(run.recipe)}"
    if run.interventions():
        text += "\n# with the overrides that were made by hand, at the same batches:\n"
        text += f"from amkd_viz.runs import replay\n\nrun = replay(Run.open({str(run.path)!r}))\n"
    text += CURVES
    if controls != run.recipe:
        text += "\n# Start, with the controls as they stand now, would be another run:\n"
        text += textwrap.indent(_distilled(controls), "# ")
    return text


def _distilled(recipe: Recipe) -> str:
    return f"recipe = {recipe!r}\nrun = distill(recipe)\n"
