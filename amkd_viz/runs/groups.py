"""Which runs are seeds of one training: tables, pictures and sentences about several runs are made of these groups."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from amkd_viz.data import parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.objectives import methods
from amkd_viz.runs.run import Run

__all__ = ["IDLE", "Draw", "Group", "apart", "draw_of", "groups"]

Draw = tuple[int, int]  # seed and data_seed
DRAWN = ("seed", "data_seed")
FIXED = (*PROBLEMS, "digits", "cifar10", "cifar100")  # data sets that are the same wherever they have their name
IDLE = ("root", "device", "evaluate_every", "magsim_samples")  # fields of Recipe that leave the student as it is


class Group(NamedTuple):
    """Runs that differ only in their random draws.

    Attributes:
        runs: one per draw, in the order of the draws.
        apart: why the run is not a seed of its recipe ("changed by hand"); such a run is alone. "" for others.
        repeats: further runs of a draw that is among ``runs``; they do not count.
    """

    runs: list[Run]
    apart: str = ""
    repeats: tuple[Run, ...] = ()

    @property
    def method(self) -> str:
        return self.runs[0].recipe.method

    @property
    def median(self) -> Run:
        """The run of median test accuracy, the lower one of two: to be drawn, since the first or best may be lucky."""
        finished = [run for run in self.runs if run.finished and run.summary.get("test_accuracy") is not None]
        ranked = sorted(finished, key=lambda run: float(run.summary["test_accuracy"]))
        return ranked[(len(ranked) - 1) // 2] if ranked else self.runs[0]


def draw_of(run: Run) -> Draw:
    """Return what a run draws from: students of different methods with the same draw are a pair."""
    return run.recipe.seed, run.recipe.data_seed


def apart(run: Run) -> str:
    """Return why a run is not a seed of its recipe: "fork", "replay", "changed by hand", "damaged log"; else ""."""
    lines = run.lines()
    reasons = {
        "fork": "parent" in run.config,
        "replay": "replay_of" in run.config,
        "changed by hand": any(line.get("kind") == "intervention" for line in lines),
        "damaged log": any("damaged" in line for line in lines),  # the line may have held a change
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)


def groups(runs: Sequence[Run]) -> dict[str, Group]:
    """Group runs by what was trained, by label: first those that count, in the order of first appearance.

    Nets, settings, data, the sum of the loss, and the teacher's weights if it is a file, are the same within a group;
    the device and versions may differ. Of several runs with the same draw, the first to start counts. Each fork, replay
    and run that was changed by hand is a group of its own.

    The label is the method, with what differs in brackets where a method has several groups: "kd", "kd (weights x8)".
    """
    runs = list({run.path.resolve(): run for run in runs}.values())
    reasons = {id(run): apart(run) for run in runs}
    alike: dict[str, list[Run]] = {}
    for run in runs:
        if not reasons[id(run)]:
            alike.setdefault(_trained(run), []).append(run)
    found = [
        _counted(part)
        for own in alike.values()
        for same_draws in _separate(own, by=_data_seed, within=lambda run: run.recipe.seed)
        for part in _separate(same_draws, by=_data, within=_data_seed)
    ]
    found += [Group([run], reasons[id(run)]) for run in runs if reasons[id(run)]]
    return dict(zip(_labels(found), found, strict=True))


def _trained(run: Run) -> str:
    """Return, as text, all that a student depends on, except its draw and the arithmetic of its device."""
    recipe = run.recipe
    facts = {name: v for name, v in recipe.to_json().items() if name not in (*DRAWN, *IDLE, "overrides")}
    facts |= {"objective": run.objective, "attack": asdict(recipe.boundary.sampler), "weights": _file_weights(run)}
    facts["precision"] = _precision(run)
    return json.dumps(facts, sort_keys=True, default=str)


def _precision(run: Run) -> str:
    """Return what ``precision`` meant on the run's device."""
    return str(run.config.get("versions", {}).get("precision", run.recipe.precision))


def _file_weights(run: Run) -> str:
    """Return the fingerprint of a teacher from a file, whose content the recipe does not determine."""
    return str(run.config.get("teacher_weights", "")) if ".safetensors" in run.recipe.teacher else ""


def _data_seed(run: Run) -> object:
    return run.recipe.data_seed


def _data(run: Run) -> object:
    """Return the fingerprint of data that the recipe does not determine, None where it is not recorded."""
    return None if parse_name(run.recipe.dataset)[0] in FIXED else run.config.get("data")


def _separate(runs: list[Run], by: Callable[[Run], object], within: Callable[[Run], object]) -> list[list[Run]]:
    """Separate runs by a value, unless those that agree ``within`` another have one value: then it is of the draw."""
    known = {(within(run), by(run)) for run in runs if by(run) is not None}
    if len(known) == len({key for key, _ in known}):
        return [runs]
    parts: dict[object, list[Run]] = {}
    for run in runs:
        parts.setdefault(by(run), []).append(run)
    return list(parts.values())


def _counted(runs: list[Run]) -> Group:
    by_draw: dict[Draw, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (not run.finished, str(run.config.get("started", "")), str(run.path))):
        by_draw.setdefault(draw_of(run), []).append(run)
    repeats = tuple(run for own in by_draw.values() for run in own[1:])
    return Group([by_draw[draw][0] for draw in sorted(by_draw)], repeats=repeats)


def _labels(found: Sequence[Group]) -> list[str]:
    firsts = [group.runs[0] for group in found]
    settings = [_settings(run) for run in firsts]
    texts = []
    for group, own in zip(found, settings, strict=True):
        alike = [values for other, values in zip(found, settings, strict=True) if other.method == group.method]
        names = dict.fromkeys(name for values in alike for name in values)
        apart = [name for name in names if len({repr(values.get(name)) for values in alike}) > 1]
        words = _words(group.runs[0], {name: own[name] for name in apart if name in own})
        words += [group.apart] * bool(group.apart)
        texts.append((group.method, *words))
    for name, value in MORE.items():
        for text in {text for text in texts if texts.count(text) > 1}:
            places = [place for place, other in enumerate(texts) if other == text]
            if len({value(firsts[place]) for place in places}) > 1:
                for place in places:
                    texts[place] = (*text, f"{name}={value(firsts[place])}")
    return [f"{method} ({', '.join(words)})" if words else method for method, *words in texts]


def _words(run: Run, values: dict[str, Any]) -> list[str]:
    """Return the words for settings that differ; one factor on all terms of the objective but ``ce`` is one word."""
    method = run.recipe.method  # which may have been registered by another process
    scales = {f"{term}.scale" for term in run.recipe.objective.names if term != "ce"} if method in methods else set()
    factors = {values.get(name) for name in scales}
    if len(factors) == 1 and None not in factors:
        rest = {name: value for name, value in values.items() if name not in scales}
        return [f"weights x{factors.pop():g}", *_words(run, rest)]
    return [f"{name}={value}" for name, value in values.items()]


def _settings(run: Run) -> dict[str, Any]:
    """Return what a label may name."""
    values = {n: v for n, v in run.recipe.to_json().items() if n not in (*DRAWN, *IDLE, "overrides")}
    return values | dict(run.recipe.overrides) | {"precision": _precision(run)}


# what a label names where settings do not make it distinct
MORE: dict[str, Callable[[Run], object]] = {
    "objective": lambda run: run.objective,
    "teacher weights": _file_weights,
    "data": _data,
    "data_seed": _data_seed,
    "seed": lambda run: run.recipe.seed,
    "folder": lambda run: run.path.resolve(),
}
