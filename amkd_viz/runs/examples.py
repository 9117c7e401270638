"""Finished runs to look at: trained when first asked for, then kept in the user's cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amkd_viz.core.errors import unknown
from amkd_viz.runs.follow import locked
from amkd_viz.runs.recording import distill, resume
from amkd_viz.runs.run import Run
from amkd_viz.training.events import Event
from amkd_viz.training.examples import DIGITS, SPIRALS
from amkd_viz.training.teachers import cache_folder

__all__ = ["example"]

EXAMPLES = {"digits": DIGITS, "spirals": SPIRALS}


def example(name: str = "digits", method: str = "amkd", listen: Callable[[Event], None] | None = None) -> Run:
    """Return a finished run of the demo's recipe, seed 0; train it at the first call (about ten seconds), then keep it
    in the user's cache.

    Args:
        name: "digits" or "spirals".
        method: one of ``amkd_viz.methods``.
        listen: called with each event, if it has to be trained.

    Raises:
        InputError: an unknown name or method; or another process is training it this moment.
    """
    if name not in EXAMPLES:
        raise unknown("example", name, EXAMPLES)
    recipe = EXAMPLES[name].replace(method=method)
    folder: Path = cache_folder() / "examples"
    path = folder / f"{name}-{method}-{recipe.hash}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{path.name}.lock", f"The example {name} {method}"):
        if not (path / "config.json").exists():
            return distill(recipe, path, listen=listen)
        return resume(Run.open(path), listen=listen)  # as it is, if it is finished
