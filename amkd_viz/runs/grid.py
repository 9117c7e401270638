"""Train several methods with several seeds, each into its own run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim
from amkd_viz.objectives import methods as known_methods
from amkd_viz.runs.recording import distill
from amkd_viz.runs.run import Run
from amkd_viz.training.events import Event
from amkd_viz.training.prepare import prepare
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training

__all__ = ["compare", "entrants"]


def compare(
    recipe: Recipe,
    methods: Sequence[str],
    seeds: int,
    out: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    listen: Callable[[Event], None] | None = None,
) -> list[Run]:
    """Train ``recipe`` by each method with seeds 0 .. seeds - 1, each into its own folder ``out/METHOD-seedK``.

    Data and teacher are shared.

    Args:
        overrides: of terms, by default those of ``recipe``; each goes to the methods that have its term.

    Raises:
        InputError: an unknown method, one named twice or none, no seed, a change that no method has a term for, or a
            folder that holds something already.
    """
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}.")
    recipe.check_nets()
    own_recipes = entrants(recipe, methods, overrides)
    check_writable(claim(Path(out)))
    runs: list[Run] = []
    like: Training | None = None
    for method, recipe_of_method in own_recipes.items():
        for seed in range(seeds):
            own = recipe_of_method.replace(seed=seed)
            like = prepare(own, like, listen)
            runs.append(distill(own, Path(out) / f"{method}-seed{seed}", listen=listen, training=like))
    return runs


def entrants(recipe: Recipe, methods: Sequence[str], overrides: Mapping[str, Any] | None = None) -> dict[str, Recipe]:
    """Return the recipe of each method, by name; overrides go to the methods that have the term.

    Raises:
        InputError: an unknown method, one named twice or none, or a change that no method has a term for.
    """
    if not methods or len(set(methods)) < len(methods):
        raise InputError(
            f"methods must name one or more, each once, not {','.join(methods)!r}; allowed: {', '.join(known_methods)}."
        )
    overrides = recipe.overrides if overrides is None else overrides
    found = {}
    for method in methods:
        terms = known_methods[method]().names
        own_changes = {
            name: value for name, value in overrides.items() if name.partition(".")[0] in {*terms, recipe.sampler}
        }
        found[method] = recipe.replace(method=method, overrides=own_changes)
    idle = [name for name in overrides if not any(name in own.overrides for own in found.values())]
    if idle:
        raise InputError(f"None of {', '.join(methods)} has the term of {idle[0]}; leave it out or add such a method.")
    return found
