"""The study of ``study.md``: which reading of AMKD helps where, with weights tuned alike for every candidate.

    python -m benchmarks.study --level small [--out benchmarks/results] [--only digits-50]
    python -m benchmarks.study --level cifar --root DATA --teacher resnet26_cifar10.safetensors
    python -m benchmarks.study --level tiny --root DATA

Every cell is a line of ``study_LEVEL_cells.jsonl``; a stopped command goes on after the last one, and takes the cells
that another level has trained.
``study_LEVEL.json`` holds the analysis of the regimes that are complete. The AMKD loss is our reading of a public
abstract.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import append_line, write_atomic
from amkd_viz.core.rng import mix
from amkd_viz.objectives import READING_OF_AMKD
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.run import versions
from amkd_viz.runs.stats import holm, paired
from amkd_viz.training import DIGITS, SPIRALS, EpochEnded, Recipe, Training, events
from amkd_viz.training.stacked import check_stacked, train_stacked

from .students import cifar10_small, told

POINTS = ("spirals", "blobs:classes=10")
LEAP = {"step_rule": "gap", "step_size": 0.3}  # the published step
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {  # name -> method, settings of the recipe
    "ce": ("ce", {}),
    "kd": ("kd", {}),
    "bss": ("bss", {}),
    "amkd": ("amkd", {}),
    "bss-leap": ("bss", LEAP),
    "amkd-leap": ("amkd", LEAP),
    "bss-refined": ("bss", {"boundary_refined": 6}),
    "amkd-refined": ("amkd", {"boundary_refined": 6}),
    "amkd-kept": ("amkd", {"boundary_kept": 0.5}),
    "amkd-margin": ("amkd", {"boundary_bases": "margin"}),
} | {
    name: (name, {})
    for name in (
        *("amkd-alone", "amkd-pairs", "amkd-two-sides", "amkd-scheduled", "dkd", "ls-kd", "amkd-raw", "amkd-feature"),
        *("amkd-student-negatives", "amkd-dkd", "amkd-ls-kd", "amkd-crd"),
    )
}
OF_CRD = {  # what amkd-crd consists of, term by term
    "crd": ("crd", {}),
    "kd-crd": ("amkd-crd", {"overrides": {"boundary_kd.scale": 0.0, "boundary_triplet.scale": 0.0}}),
    "bss-crd": ("amkd-crd", {"overrides": {"boundary_triplet.scale": 0.0}}),
}
CANDIDATES |= OF_CRD
FEW = (*tuple(CANDIDATES)[1:8], "amkd-alone", "amkd-pairs", "amkd-two-sides", "amkd-scheduled")
ALWAYS = ("ce", "kd", "bss", "bss-leap", "amkd", "amkd-leap")  # confirmed whatever the screening says
FACTORS, DRAWS = (1.0, 4.0, 8.0), 2
SCREENED, FRESH = 4, 1000  # seeds of the screening are 0 to 3, those of the confirmation begin at 1000


@dataclass(frozen=True)
class Level:
    """How much of the study.

    Attributes:
        regimes: by name. seeds: of the confirmation. leaders: how many leading readings are confirmed.
        pairs: whose differences are tested. trials: of each candidate. fixed: settings of all recipes.
    """

    regimes: dict[str, Recipe]
    candidates: tuple[str, ...]
    seeds: int
    leaders: int
    pairs: tuple[tuple[str, str], ...] = (("bss", "kd"), ("amkd", "bss"), ("bss", "bss-leap"), ("amkd", "amkd-leap"))
    trials: int = len(FACTORS) + DRAWS
    fixed: dict[str, Any] = field(default_factory=dict)


def regimes(full: bool) -> dict[str, Recipe]:
    """Return the recipe of each regime, by name, in the order in which they are trained."""
    plane = SPIRALS.replace(step_size="auto")
    found = {"spirals-100": plane, "digits-50": DIGITS, "digits-100": DIGITS.replace(num_train=100)}
    if not full:
        return found
    bases = {"spirals": plane, "blobs:classes=10": plane.replace(dataset="blobs:classes=10")}
    for data, base in bases.items():
        for labels in (30, 100, 300):
            for student in ("mlp-small", "mlp-tiny"):
                name = f"{data.partition(':')[0]}-{labels}{'-tiny' if student == 'mlp-tiny' else ''}"
                found.setdefault(name, base.replace(num_train=labels, student=student))
    for labels in (25, 50, 100, 200, 400):
        for student in ("cnn-small", "cnn-tiny"):
            name = f"digits-{labels}{'-tiny' if student == 'cnn-tiny' else ''}"
            found.setdefault(name, DIGITS.replace(num_train=labels, student=student))
    return found


MAPPED = (("bss", "kd"), ("amkd", "kd"), ("amkd", "bss"))
STEPS_OF_CRD = (("crd", "bss"), ("kd-crd", "crd"), ("bss-crd", "kd-crd"), ("amkd-crd", "bss-crd"), ("amkd-crd", "crd"))
CIFAR = cifar10_small("DATA", "resnet26_cifar10.safetensors", epochs=20)
TINY = CIFAR.replace(dataset="tiny-imagenet:size=32", teacher="resnet26", fresh_subset=True)
LEVELS = {
    "small": Level(regimes(full=False), FEW, seeds=16, leaders=2),
    "map": Level(
        regimes(full=True),
        ALWAYS[1:],
        seeds=16,
        leaders=0,
        pairs=(*MAPPED, *((f"{one}-leap", other if other == "kd" else f"{other}-leap") for one, other in MAPPED)),
    ),
    "cifar": Level(
        {f"cifar10-{labels}": CIFAR.replace(num_train=labels) for labels in (1000, 2000)},
        ("kd", "bss", "amkd"),
        seeds=8,
        leaders=0,
        pairs=MAPPED,
        trials=len(FACTORS),
    ),
    "tiny": Level(
        {"tiny-imagenet-2000": TINY},
        ("kd", "bss", "amkd"),
        seeds=8,
        leaders=0,
        pairs=MAPPED,
        trials=len(FACTORS),
        fixed={"data_seed": 0},  # one split, for one teacher
    ),
    "crd": Level(
        {name: recipe for name, recipe in regimes(full=False).items() if name != "digits-100"},
        ("bss", *OF_CRD, "amkd-crd"),
        seeds=32,
        leaders=1,
        pairs=STEPS_OF_CRD,
    ),
    "cifar-crd": Level(
        {"cifar10-2000": CIFAR},
        ("bss", *OF_CRD, "amkd-crd"),
        seeds=8,
        leaders=1,
        pairs=STEPS_OF_CRD,
        trials=len(FACTORS),
    ),
    "full": Level(regimes(full=True), tuple(CANDIDATES)[1 : -len(OF_CRD)], seeds=32, leaders=4),
}


def trials(candidate: str) -> list[dict[str, float]]:
    """Return the overrides of each trial: as many for every candidate, the first one with its own weights.

    >>> trials("kd")[:3]
    [{}, {'kd.scale': 4.0}, {'kd.scale': 8.0}]
    """
    method, settings = CANDIDATES[candidate]
    fixed = {"ce", *(name.partition(".")[0] for name in settings.get("overrides", {}))}
    terms = [name for name in Recipe(method=method, **settings).objective.names if name not in fixed]
    found = [{f"{term}.scale": factor for term in terms if factor != 1} for factor in FACTORS]
    chance = random.Random(mix("study", *terms))
    found += [{f"{term}.scale": round(16 ** chance.random(), 2) for term in terms} for _ in range(DRAWS)]
    return found


@dataclass
class Study:
    """The cells of a level that are trained, and the means to train more.

    Attributes:
        file: of the cells. fixed: settings of all recipes, such as where the data are.
        known: name of a cell -> accuracy, a share. used: names of the cells that were asked for.
    """

    level: Level
    file: Path
    fixed: dict[str, Any] = field(default_factory=dict)
    known: dict[str, float] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    likes: dict[tuple[str, int], Training] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for file in sorted({*self.file.parent.glob("study_*_cells.jsonl"), *self.file.parent.glob(self.file.name)}):
            for line in file.read_text().splitlines():
                cell = json.loads(line)
                self.known[cell["cell"]] = cell["accuracy"]

    def values(self, regime: str, candidate: str, cells: Sequence[tuple[dict[str, float], int]]) -> list[float]:
        """Return the accuracy of each cell (overrides, seed): on validation in the screening, on test for fresh seeds.

        Missing cells are trained: on points all of them as one stack, whose cells count once all are trained.
        """
        names = [f"{regime}/{candidate}/{json.dumps(own, sort_keys=True)}/seed{seed}" for own, seed in cells]
        self.used |= set(names)
        missing = [place for place, name in enumerate(names) if name not in self.known]
        base = self.level.regimes[regime]
        for places in [missing] if base.dataset in POINTS and missing else [[place] for place in missing]:
            recipes = [self._recipe(base, candidate, *cells[place]) for place in places]
            for place, share in zip(places, self._train(recipes), strict=True):
                self.known[names[place]] = round(share, 6)  # as it is read again
                append_line(self.file, json.dumps({"cell": names[place], "accuracy": self.known[names[place]]}))
        return [self.known[name] for name in names]

    def _recipe(self, base: Recipe, candidate: str, overrides: dict[str, float], seed: int) -> Recipe:
        method, settings = CANDIDATES[candidate]
        drawn = {"seed": seed, "data_seed": seed % (4 if seed >= FRESH else 2) + (seed >= FRESH) * FRESH}
        fixed: dict[str, Any] = {"evaluate_every": base.epochs, "magsim_samples": 0, "device": "cpu"}
        own = {**drawn, **fixed, **self.level.fixed, **self.fixed, **settings}
        return base.replace(**own | {"method": method, "overrides": overrides | settings.get("overrides", {})})

    def _train(self, recipes: list[Recipe]) -> list[float]:
        trainings = []
        for recipe in recipes:
            key = (recipe.dataset, recipe.data_seed)
            trainings.append(prepare(recipe, self.likes.get(key)))
            self.likes[key] = trainings[-1]
        if recipes[0].dataset not in POINTS or not _stack(trainings):
            return [_trained(training) for training in trainings]
        train_stacked(trainings)
        return [_score(training) for training in trainings]

    def screened(self, regime: str, candidate: str) -> tuple[dict[str, float], float]:
        """Return the best trial of a candidate and its validation accuracy, by successive halving."""

        def means(settings: list[dict[str, float]], seeds: int) -> list[float]:
            found = self.values(regime, candidate, [(own, seed) for own in settings for seed in range(seeds)])
            return [statistics.fmean(found[k * seeds : (k + 1) * seeds]) for k in range(len(settings))]

        settings = trials(candidate)[: self.level.trials]
        first = means(settings, SCREENED // 2)
        best = [settings[k] for k in sorted(range(len(settings)), key=lambda k: -first[k])[:2]]
        last = means(best, SCREENED)
        return max(zip(best, last, strict=True), key=lambda found: found[1])

    def regime(self, name: str) -> dict[str, Any]:
        """Train every cell of a regime that is missing; return its analysis."""
        chosen = {candidate: self.screened(name, candidate) for candidate in self.level.candidates}
        readings = [c for c in chosen if c.startswith("amkd") and c not in ALWAYS]
        leaders = sorted(readings, key=lambda c: -chosen[c][1])[: self.level.leaders]
        always = [c for c in ALWAYS if c == "ce" or c in chosen]
        confirmed = [*always, *(c for c in ("dkd", "ls-kd", *OF_CRD) if c in chosen), *leaders]
        seeds = range(FRESH, FRESH + self.level.seeds)
        shares = {
            c: self.values(name, c, [(chosen[c][0] if c in chosen else {}, seed) for seed in seeds]) for c in confirmed
        }
        pairs = [*self.level.pairs, *((c, "bss") for c in leaders)]
        found = {f"{one} - {other}": paired(shares[one], shares[other]) for one, other in pairs}
        tested = {pair: apart for pair, apart in found.items() if apart is not None}
        shown = dict(zip(tested, holm([apart.p for apart in tested.values()]), strict=True))
        recipe = self.level.regimes[name].replace(**self.fixed)
        return {
            "data": recipe.dataset,
            "labels": recipe.num_train,
            "labels_per_class": recipe.num_train / recipe.load().num_classes if recipe.num_train else None,
            "student": recipe.student,
            "trials": {c: {"overrides": own, "validation": round(100 * v, 2)} for c, (own, v) in chosen.items()},
            "test": {
                c: [round(100 * statistics.fmean(s), 2), round(100 * statistics.stdev(s), 2)] for c, s in shares.items()
            },
            "points": {
                pair: {
                    "difference": [round(v, 2) for v in (a.points, *a.interval)],
                    "p": round(a.p, 5),
                    "shown": shown[pair],
                }
                for pair, a in tested.items()
            },
            "readings": leaders,
        }


def _stack(trainings: list[Training]) -> bool:
    """Return whether the method of these students can be trained as one stack; those with feature maps cannot."""
    try:
        check_stacked(trainings)
    except InputError:
        return False
    return True


def _score(training: Training) -> float:
    """Return the accuracy of a student that is trained: on test for a fresh seed, else on validation."""
    split = "test" if training.recipe.seed >= FRESH else "val"
    share = float(training.evaluate(split)[f"{split}_accuracy"])
    return share if all(bool(p.isfinite().all()) for p in training.parameters) else 0.0  # it diverged


def _trained(training: Training) -> float:
    """Train and return ``_score``; 0 for a student that diverges."""
    try:
        with closing(events(training)) as happening:
            for event in happening:
                if isinstance(event, EpochEnded) and event.epoch == training.recipe.epochs:
                    return _score(training)  # before the other split is read
    except InputError as error:
        print(f"{training.recipe.method} with {training.recipe.overrides}: {error}", file=sys.stderr)
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", choices=LEVELS, default="small")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of cells and analysis")
    parser.add_argument("--only", action="append", help="a regime; default: all, in the order of the plan")
    parser.add_argument("--root", help="folder of the data, for cifar, cifar-crd and tiny")
    parser.add_argument("--teacher", help="safetensors file of the ResNet-26, for cifar and cifar-crd")
    args = parser.parse_args()
    torch.set_num_threads(1)
    own = {name: value for name in ("root", "teacher") if (value := getattr(args, name))}
    recipe = next(iter(LEVELS[args.level].regimes.values()))
    needed = ["root"] * bool(recipe.root) + ["teacher"] * recipe.teacher.endswith(".safetensors")
    if not set(needed) <= set(own):
        parser.error(f"--level {args.level} needs {' and '.join(f'--{name}' for name in needed)}.")
    study = Study(LEVELS[args.level], args.out / f"study_{args.level}_cells.jsonl", own)
    file = args.out / f"study_{args.level}.json"
    done: dict[str, Any] = {}
    for name in args.only or study.level.regimes:
        done[name] = study.regime(name)
        about = {
            "what": f"Test accuracy in % and paired differences in points, see benchmarks/study.md. {READING_OF_AMKD}",
            "command": shlex.join(["python", "-m", "benchmarks.study", *told()]),
            "versions": versions("cpu"),
            "seeds": [FRESH, FRESH + study.level.seeds - 1],
            "cells": len(study.used),
        }
        write_atomic(file, json.dumps({**about, "regimes": done}, indent=1) + "\n")
        print(json.dumps({name: done[name]}, indent=1), flush=True)


if __name__ == "__main__":
    main()
