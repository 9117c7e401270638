"""Python that runs a race again, with what was changed on its way, and then asks more than one seed."""

from __future__ import annotations

from amkd_viz.runs import RacePlan
from amkd_viz.training import Recipe

__all__ = ["code_of"]


def code_of(plan: RacePlan) -> str:
    default = Recipe().to_json()
    told = {n: v for n, v in plan.recipe.to_json().items() if v != default[n] and n != "method"}
    lines = ",\n    ".join(f"{name}={value!r}" for name, value in told.items())
    given = passed = replayed = more = ""
    if plan.overrides:
        given, passed = f"overrides = {dict(plan.overrides)!r}\n", ", overrides=overrides"
    if plan.planned:
        own = "".join(f"    {change!r},\n" for change in plan.planned)
        given += f"by_hand = [  # before which batch, both counted from 0\n{own}]\n"
        replayed, more = ", planned=by_hand", "Changed, "
    return (
        "from amkd_viz import Recipe, views\n"
        f"from amkd_viz.runs import Race\n"
        f"from amkd_viz.training import {more}EpochEnded\n"
        "from amkd_viz.runs import compare, format_table, fresh_folder, reading, table\n\n"
        f"recipe = Recipe(\n    {lines},\n)\n"
        f"methods = {list(plan.methods)!r}\n"
        f"{given}\n"
        f"race = Race(recipe, methods{passed}{replayed})\n"
        "for method, event in race.events():\n"
        "    if isinstance(event, EpochEnded):\n"
        "        print(event.epoch, method, event.metrics['val_accuracy'])\n"
        "print({method: scores['test_accuracy'] for method, scores in race.summaries.items()})\n\n"
        "# One seed says little. Five of them, with their spread:\n"
        f"runs = compare(recipe, methods, seeds=5, out=fresh_folder(recipe){passed})\n"
        "print(format_table(table(runs)), *reading(table(runs)), sep='\\n')\n"
        "views.compare(runs)\n"
    )
