"""Finished runs to look at: trained when first asked for, then kept in the user's cache."""

from __future__ import annotations

from amkd_viz.core.errors import unknown
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.run import Listener, Run, finished_run
from amkd_viz.training.examples import DIGITS, SPIRALS
from amkd_viz.training.teachers import cache_folder

__all__ = ["example"]

EXAMPLES = {"digits": DIGITS, "spirals": SPIRALS}


def example(name: str = "digits", method: str = "amkd", listen: Listener | None = None) -> Run:
    """Return a finished run of the demo's recipe, seed 0; train it at the first call (about ten seconds), then keep it
    in the user's cache.

    Args:
        name: "digits" or "spirals".
        method: one of ``amkd_viz.methods``.
        listen: called with each event, if it has to be trained, here or by another process.

    Raises:
        InputError: an unknown name or method.
    """
    if name not in EXAMPLES:
        raise unknown("example", name, EXAMPLES)
    recipe = EXAMPLES[name].replace(method=method)
    path = cache_folder() / "examples" / f"{name}-{method}-{recipe.hash}"
    return finished_run(path, recipe, lambda: prepare(recipe, listen=listen), listen)
