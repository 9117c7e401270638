"""The baseline that our speed is measured against computes the same thing."""

from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from recipes import POINTS, same

from amkd_viz.boundary import bss
from amkd_viz.models import build, inference_copy
from amkd_viz.objectives import Batch, Boundary, Step, methods, sources
from amkd_viz.objectives.zoo.readings import READINGS
from amkd_viz.runs import Run, distill
from amkd_viz.runs.stats import paired
from amkd_viz.training import Recipe, Training
from amkd_viz.training.teachers import teacher_recipe
from benchmarks import all_methods, reproduce, study, timing
from benchmarks.published import published_bss, published_loss, published_targets


def test_published_attack_and_ours_agree() -> None:
    model = build("resnet8", seed=3).eval()
    with torch.no_grad():
        model.head.weight.mul_(30)  # fresh logits are so close to one another that hardly any step is taken
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    target = published_targets(model(x).detach(), torch.linspace(0, 0.9, 6))
    assert (target != model(x).argmax(1)).all()
    ours = bss(model, x, target, clamp=2.5)
    torch.testing.assert_close(
        published_bss(model, model.normalise(x), target), model.normalise(ours.x), atol=1e-4, rtol=0
    )
    assert ours.crossed.any()


def test_published_targets_follow_the_probabilities() -> None:
    logits = torch.tensor([[4.0, 1.0, 1.0]]).repeat(1000, 1)
    target = published_targets(logits, torch.linspace(0, 0.999, 1000))
    assert set(target.tolist()) == {1, 2}
    assert abs(int((target == 1).sum()) - 500) <= 2


def test_published_loss_and_ours_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole step: selection, targets, attack, and the student's gradients."""
    x = 0.3 + 0.4 * torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(1))  # far from any clamp
    teacher, student = (build("resnet8", num_classes=4, seed=seed) for seed in (3, 5))
    with torch.no_grad():
        teacher.head.weight.mul_(30)
        y = teacher.eval()(x).argmax(1)
        student.head.bias[y[0]] += 9  # right on some of them, at least
    draws = torch.linspace(0, 0.99, 24)
    monkeypatch.setattr(sources, "sample_targets", lambda logits, *_: published_targets(logits, draws[: len(logits)]))
    found = {}
    for name in ("published", "ours"):
        net = copy.deepcopy(student).train()
        if name == "published":
            loss = published_loss(teacher, net, x, y, draws, 0.25, limit=5)
        else:
            frozen = inference_copy(teacher)
            nets, clean = {"teacher": frozen, "student": net}, Batch(x, y, torch.arange(24))
            ours = Step(nets, clean, 0.25, torch.Generator(), {"boundary": Boundary(limit=5)})
            loss = methods["bss"]()(ours)
            assert 1 <= len(ours.batch("boundary").x) <= 5
            assert ours.batch("boundary").samples.steps.any()
        loss.backward()
        found[name] = loss.detach(), torch.cat([p.grad.flatten() for p in net.parameters()])
    torch.testing.assert_close(found["ours"][0], found["published"][0], rtol=1e-4, atol=1e-4)
    apart = (found["ours"][1] - found["published"][1]).norm() / found["published"][1].norm()
    assert apart < 1e-2  # activations within rounding of zero


def test_rounds_come_after_a_warm_up_and_ratios_are_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = iter([90.0, 4.0, 6.0, 8.0]), iter([1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(timing, "seconds", lambda run, clock: run())
    took = timing.rounds({"slow": lambda: next(slow), "fast": lambda: next(fast)}, 3)
    assert sorted(took["slow"]) == [4.0, 6.0, 8.0]
    assert timing.ratio(took["slow"], took["fast"]) == {"median": 3.0, "low": 2.0, "high": 4.0, "n": 3}


def test_reproduce_stops_at_the_batch_where_its_time_is_over_and_goes_on_from_there(tmp_path, monkeypatch) -> None:
    recipe = POINTS.replace(epochs=2, teacher_epochs=1, magsim_samples=0)
    whole = distill(recipe, tmp_path / "whole")
    times = itertools.count()
    monkeypatch.setattr(reproduce, "now", lambda: next(times))
    job, folder = (str(tmp_path / "run"), recipe.to_json()), tmp_path / "run"
    reproduce.go_on((*job, 5))
    assert next(times) == 6  # the first look at the clock after the end was the last one
    assert reproduce.finished(folder) is None
    (checkpoint,) = (folder / "checkpoints").glob("*.pt")
    assert checkpoint.stem == "epoch-0000-000002"
    reproduce.go_on((*job, 0))  # no time at all
    assert [path.stem for path in (folder / "checkpoints").glob("*.pt")] == ["epoch-0000-000002"]
    reproduce.go_on((*job, math.inf))
    assert same(Run.open(folder).student(), whole.student())
    late = tmp_path / "late"  # the time was over after the last batch
    reproduce.go_on((str(late), recipe.to_json(), math.inf))
    found = reproduce.finished(late)
    assert (found["seed"], found["test_accuracy"]) == (0, whole.summary["test_accuracy"])
    assert found["whole_seconds"] is not None
    assert reproduce.finished(folder)["whole_seconds"] is None  # it was in two pieces
    assert reproduce.finished(tmp_path / "none") is None


# the study


def test_every_candidate_of_the_study_has_as_many_trials_and_the_same_draws() -> None:
    made = {candidate: study.trials(candidate) for level in study.LEVELS.values() for candidate in level.candidates}
    assert {len(found) for found in made.values()} == {5}
    assert made["bss"] == made["bss-leap"] == made["bss-refined"]
    for candidate, found in made.items():
        method, settings = study.CANDIDATES[candidate]
        assert found[0] == {}  # its own weights
        for overrides in found:
            Recipe(**{"method": method, **settings, "overrides": overrides})  # each is a term of the method
            assert not set(overrides) & set(settings.get("overrides", ()))
            assert all(1 <= value <= 16 for value in overrides.values())
    assert set(READINGS) <= {study.CANDIDATES[candidate][0] for candidate in study.LEVELS["full"].candidates}
    for recipe in (*study.LEVELS["full"].regimes.values(), study.TINY):
        recipe.check_nets()


def test_the_students_of_tiny_imagenet_have_one_teacher(tmp_path: Path) -> None:
    level = study.Study(study.LEVELS["tiny"], tmp_path / "cells.jsonl", {"root": "DATA"})
    recipes = [
        level._recipe(study.TINY, candidate, {}, seed) for candidate in ("ce", "kd") for seed in (0, study.FRESH)
    ]
    assert {recipe.seed for recipe in recipes} == {0, study.FRESH}  # also that of the 2,000 images
    assert all(recipe.fresh_subset and recipe.data_seed == 0 for recipe in recipes)
    assert len({teacher_recipe(recipe).hash for recipe in recipes}) == 1


def test_the_study_trains_students_with_feature_maps_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "POINTS", ("blobs",))
    recipe = POINTS.replace(dataset="blobs", epochs=2, teacher_epochs=2, num_train=30)
    made = study.Study(study.Level({"tiny": recipe}, (), seeds=1, leaders=0), tmp_path / "cells.jsonl")
    for candidate in ("amkd-feature", "amkd"):
        shares = made.values("tiny", candidate, [({}, seed) for seed in (0, 1)])
        assert all(0 <= share <= 1 for share in shares)
    assert len(made.known) == 4


def test_the_study_screens_on_validation_confirms_on_test_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = POINTS.replace(dataset="blobs", epochs=2, teacher_epochs=2, num_train=30)
    level = study.Level({"tiny": recipe}, (*study.FEW[:6], "amkd-alone"), seeds=3, leaders=1)
    read: list[tuple[str, int]] = []
    real = Training.evaluate

    def spy(self: Training, split: str) -> Any:
        if self.recipe.teacher:  # a teacher itself has none
            read.append((split, self.recipe.seed))
        return real(self, split)

    monkeypatch.setattr(Training, "evaluate", spy)
    fixed = {"dataset": "blobs:classes=4"}  # as the folder of the data is
    monkeypatch.setattr(study, "POINTS", ("blobs", *fixed.values()))
    monkeypatch.setattr(study, "trials", lambda candidate: [{}, {"kd.scale": 2.0}, {"kd.scale": 4.0}])
    first = study.Study(level, tmp_path / "cells.jsonl", fixed)
    found = first.regime("tiny")
    assert (found["data"], found["labels_per_class"]) == ("blobs:classes=4", 7.5)
    assert {split for split, seed in read if seed < study.FRESH} == {"val"}
    assert {split for split, seed in read if seed >= study.FRESH} == {"test"}
    assert len(read) == len(first.known) == len(first.used) == 7 * (3 * 2 + 2 * 2) + 7 * 3
    for one, other in (("bss", "kd"), ("amkd-alone", "bss")):
        values = [
            [first.known[f"tiny/{c}/{json.dumps(own, sort_keys=True)}/seed{seed}"] for seed in range(1000, 1003)]
            for c in (one, other)
            for own in [found["trials"][c]["overrides"]]
        ]
        apart = paired(*values)
        if apart is not None:
            told = found["points"][f"{one} - {other}"]["difference"]
            assert told == [round(v, 2) for v in (apart.points, *apart.interval)]
    assert found["readings"] == ["amkd-alone"]

    read.clear()
    lines = (tmp_path / "cells.jsonl").read_text().splitlines()
    (tmp_path / "cells.jsonl").write_text("\n".join(lines[:-4]) + "\n")  # killed before the last four
    assert study.Study(level, tmp_path / "cells.jsonl", fixed).regime("tiny") == found
    assert len(read) == 4
    assert sorted((tmp_path / "cells.jsonl").read_text().splitlines()) == sorted(lines)


def test_every_method_goes_on_after_the_last_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def train_cells(cells: dict[str, Recipe], folder: str, jobs: int) -> list[Any]:
        trained.extend(cells)
        share = {"ce": 0.5, "kd": 0.7}
        return [
            SimpleNamespace(
                recipe=recipe,
                summary={"test_accuracy": share[recipe.method] + recipe.seed / 10, "versions": {"amkd_viz": "x"}},
            )
            for recipe in cells.values()
        ]

    monkeypatch.setattr(all_methods, "train_cells", train_cells)
    cells = tmp_path / "all_cells.jsonl"
    all_methods.train(cells, ["ce", "kd"], 1, 1, math.inf)
    all_methods.train(cells, ["ce", "kd"], 2, 1, -math.inf)  # no time left
    assert trained == ["ce-seed0", "kd-seed0"]
    all_methods.train(cells, ["ce", "kd"], 2, 1, math.inf)
    assert trained == ["ce-seed0", "kd-seed0", "ce-seed1", "kd-seed1"]
    made = all_methods.summary(all_methods.read(cells), {"ce": 0.5, "kd": 1.0})
    assert [(name, own["accuracy"], own["seeds"]) for name, own in made["methods"].items()] == [
        ("kd", 75.0, 2),
        ("ce", 55.0, 2),
    ]
    assert made["methods"]["ce"]["minus_kd"] is None  # the difference does not vary
    assert all_methods.recipe_of("mst").teachers == ("cnn", "cnn-small")
