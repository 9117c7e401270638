"""Python that does what DistillLab did, or would do."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amkd_viz.runs import Run
from amkd_viz.training import Recipe

__all__ = ["code_of"]

CURVES = "\nfrom amkd_viz.views import curves\n\ncurves(run)\n"


def code_of(run: Run | None, lines: Sequence[Mapping[str, Any]], controls: Recipe) -> str:
    """The run that is shown, and what Start would do where the controls say something else.

    Args:
        run: None for the controls alone. lines: of its log.
    """
    if run is None:
        return f"import amkd_viz\n\nrecipe = {_recipe(controls)}\nrun = amkd_viz.distill(recipe)\n{CURVES}"
    parent = run.config.get("parent")
    if parent:
        forked = run.recipe.to_json()
        there = Path(parent["path"], "config.json").exists()
        before = Run.open(parent["path"]).recipe_after(parent["epoch"]).to_json() if there else {}
        changes = "".join(f", {n}={v!r}" for n, v in forked.items() if v != before.get(n, v))
        made = f"run = resume(fork(amkd_viz.Run.open({parent['path']!r}), epoch={parent['epoch']}{changes}))\n"
        text = f"import amkd_viz\nfrom amkd_viz.runs import fork, resume\n\n{made}"
    else:
        text = f"import amkd_viz\n\nrecipe = {_recipe(run.recipe)}\nrun = amkd_viz.distill(recipe)\n"
    if any(line.get("kind") == "intervention" for line in lines):
        text += "\n# with the changes that were made by hand, at the same batches:\n"
        text += f"from amkd_viz.runs import replay\n\nrun = replay(amkd_viz.Run.open({str(run.path)!r}))\n"
    text += CURVES
    if controls != run.recipe:
        own = f"recipe = {_recipe(controls)}\nrun = amkd_viz.distill(recipe)\n"
        text += "\n# Start, with the controls as they stand now, would be another run:\n" + textwrap.indent(own, "# ")
    return text


def _recipe(recipe: Recipe) -> str:
    """What differs from the default."""
    default = Recipe().to_json()
    lines = ",\n    ".join(f"{n}={v!r}" for n, v in recipe.to_json().items() if v != default[n])
    return f"amkd_viz.Recipe(\n    {lines},\n)" if lines else "amkd_viz.Recipe()"
