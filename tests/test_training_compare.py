"""Comparisons: the runs of several methods and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from recipes import POINTS

import amkd_viz.runs.grid as comparison
from amkd_viz.core.errors import InputError
from amkd_viz.runs import Run, compare, reading, table
from amkd_viz.training import Started

SPIRALS = POINTS.replace(dataset="spirals", epochs=2)


def test_methods_by_seeds(tmp_path):
    trainings = []
    overrides = {"kd.scale": 0.5, "boundary_triplet.margin": 0.1}
    runs = compare(
        SPIRALS.replace(overrides=overrides),
        ["ce", "kd", "amkd"],
        2,
        tmp_path / "out",
        jobs=1,
        listen=lambda e: trainings.append(e.training) if isinstance(e, Started) else None,
    )
    expected = [(m, s) for m in ("ce", "kd", "amkd") for s in (0, 1)]
    assert [(r.recipe.method, r.recipe.seed) for r in runs] == expected
    assert [r.recipe.overrides for r in runs[::2]] == [{}, {"kd.scale": 0.5}, overrides]  # where the term is
    assert [r.path.name for r in runs] == [f"{m}-seed{s}" for m, s in expected]
    assert all(Run.open(r.path).finished for r in runs)
    students = [t for t in trainings if t.recipe.student == "mlp-tiny"]
    assert len(students) == 6
    assert len({id(t.teacher) for t in students}) == 1  # one teacher and one data set in memory
    assert len({id(t.full) for t in students}) == 1
    assert len({r.summary["teacher_test_accuracy"] for r in runs}) == 1

    rows = table(runs)
    assert [(r.method, r.seeds) for r in rows] == [("ce", (0, 1)), ("kd", (0, 1)), ("amkd", (0, 1))]
    accuracies = [r.summary["test_accuracy"] for r in runs[2:4]]
    assert rows[1].numbers["test_accuracy"] == pytest.approx((np.mean(accuracies), np.std(accuracies, ddof=1)))
    assert sum("paired by seed, n = 2" in sentence for sentence in reading(rows)) == 3  # each method with each other


@pytest.mark.parametrize(
    ("methods", "seeds", "changes", "message"),
    [
        (["ce"], 0, {}, "seeds must be at least 1, got 0"),
        (["ce"], -1, {}, "seeds must be at least 1, got -1"),
        (["ce", "amk"], 1, {}, "Unknown method 'amk'; did you mean 'amkd'"),
        ([], 1, {}, "methods must name one or more, each once.* allowed: ce, kd"),
        (["ce", "kd", "ce"], 1, {}, "each once, not 'ce,kd,ce'"),
        (["ce", "kd"], 1, {"kd.scale": 2, "boundary_kd.scale": 2}, "None of ce, kd has the term of boundary_kd.scale"),
    ],
)
def test_nothing_is_trained_for_a_comparison_that_cannot_be(tmp_path, monkeypatch, methods, seeds, changes, message):
    monkeypatch.setattr(comparison, "prepare", None)  # calling it would be a TypeError
    with pytest.raises(InputError, match=message):
        compare(SPIRALS.replace(method="amkd", overrides=changes), methods, seeds, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="holds other files and is never overwritten"):
        compare(SPIRALS, ["ce"], 1, tmp_path)
