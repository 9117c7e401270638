"""Python that runs a race again, with the overrides made on its way, and then several seeds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amkd_viz.runs import Race
from amkd_viz.training import Recipe

__all__ = ["code_of"]


def code_of(recipe: Recipe, methods: Sequence[str], overrides: Mapping[str, Any], race: Race | None = None) -> str:
    """Return the code of a race; of one with logged overrides, also the code that makes them again.

    Args:
        race: where it has begun.
    """
    given, passed = (f"overrides = {dict(overrides)!r}\n", ", overrides=overrides") if overrides else ("", "")
    replayed = ""
    if race is not None and any(run.interventions() for run in race.runs.values()):
        replayed = (
            "\n# the same race with the overrides that were made by hand, at the same batches:\n"
            f"race = Race.open({str(race.path.resolve())!r}).replay()\nrace.resume()\nrace.wait()\n"
        )
    return (
        "from amkd_viz import Recipe, views\n"
        "from amkd_viz.runs import Race, compare, format_table, fresh_folder, reading, table\n\n"
        f"recipe = {recipe!r}\n"
        f"methods = {list(methods)!r}\n"
        f"{given}\n"
        f"race = Race.create(recipe, methods{passed})\n"
        "race.resume()\n"
        "race.wait()\n"
        f"{replayed}"
        "print({method: run.summary['test_accuracy'] for method, run in race.runs.items()})\n\n"
        "# One seed proves little. Five of them, with their spread:\n"
        f"runs = compare(recipe, methods, seeds=5, out=fresh_folder(recipe){passed})\n"
        "print(format_table(table(runs)), *reading(table(runs)), sep='\\n')\n"
        "views.compare(runs)\n"
    )
