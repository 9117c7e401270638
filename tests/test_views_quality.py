"""The numbers beside embeddings, against implementations that are not ours, and layouts without jumps."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from amkd_viz.core.errors import InputError
from amkd_viz.views.anchors import anchored, nearest_negatives
from amkd_viz.views.chosen import Chosen
from amkd_viz.views.projection import joint_layout, pca
from amkd_viz.views.quality import contradicted, procrustes, triplets_kept, trustworthiness


def cloud(n: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


@given(st.integers(40, 90), st.integers(2, 9), st.integers(0, 999))
def test_trustworthiness_is_that_of_scikit_learn(n: int, width: int, seed: int) -> None:
    high = cloud(n, width, seed)
    low = high[:, :2] + 0.3 * cloud(n, 2, seed + 1)
    theirs = sklearn_trustworthiness(high, low, n_neighbors=15)
    assert trustworthiness(high, low, 15) == pytest.approx(theirs, abs=1e-9)


@given(st.integers(3, 60), st.integers(0, 999))
def test_procrustes_is_that_of_scipy(n: int, seed: int) -> None:
    a, b = cloud(n, 2, seed), cloud(n, 2, seed + 1)
    _, _, theirs = scipy_procrustes(a, b)
    assert procrustes(a, b).residual == pytest.approx(theirs, abs=1e-9)


def test_procrustes_undoes_a_turn_a_mirror_a_scale_and_a_move() -> None:
    a = cloud(30, 2, 0)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]]) @ np.diag([1, -1])
    found = procrustes(a, 3.7 * a @ turn + [5, -9])
    assert np.allclose(found.points, a)
    assert found.residual == pytest.approx(0, abs=1e-12)


def test_measures_of_too_few_points_are_not_numbers() -> None:
    assert np.isnan(procrustes(cloud(5, 2, 0), np.ones((5, 2))).residual)
    assert np.isnan(trustworthiness(cloud(2, 3, 0), cloud(2, 2, 0)))
    assert trustworthiness(cloud(5, 2, 0), cloud(5, 2, 0)) == 1
    with pytest.raises(InputError, match="layouts of equal shape"):
        procrustes(cloud(5, 2, 0), cloud(4, 2, 0))


def test_triplets_kept_against_a_loop() -> None:
    high, low = cloud(20, 5, 0), cloud(20, 2, 1)
    drawn = np.random.default_rng(2).integers(0, 20, (200, 3))
    kept = triplets_kept(high, low, drawn)
    for (a, p, n), told in zip(drawn, kept, strict=True):
        d = [np.linalg.norm(x[a] - x[p]) < np.linalg.norm(x[a] - x[n]) for x in (high, low)]
        assert told == (d[0] == d[1])


@settings(max_examples=20)
@given(st.integers(1, 30), st.integers(1, 6))
def test_pca_takes_any_size(n: int, width: int) -> None:
    x = cloud(n, width, n)
    low = pca(x)
    assert low.shape == (n, 2)
    assert low[:, 0].var() >= low[:, 1].var() - 1e-12
    if min(n - 1, width) == 2:
        assert np.allclose(np.linalg.norm(low[0] - low[-1]), np.linalg.norm(x[0] - x[-1]))


def test_the_same_space_twice_is_laid_out_twice_the_same() -> None:
    first, second = joint_layout([cloud(40, 6, 0)] * 2, how="pca")
    assert np.allclose(first.points, second.points)
    assert second.residual == pytest.approx(0, abs=1e-12)


def test_layouts_that_cannot_be_are_sentences() -> None:
    with pytest.raises(InputError, match="at least one point"):
        joint_layout([np.zeros((0, 3))])
    with pytest.raises(InputError, match="NaN"):
        joint_layout([np.full((9, 3), np.nan)])
    with pytest.raises(InputError, match="Unknown projection 'tsne'"):
        joint_layout([cloud(9, 3, 0)], how="tsne")


@pytest.mark.slow
def test_umap_is_seeded_aligned_and_survives_what_is_degenerate() -> None:
    groups = np.repeat(8 * cloud(4, 6, 1), 25, 0) + cloud(100, 6, 0)
    once, again = joint_layout([groups, groups]), joint_layout([groups, groups])
    assert all(np.array_equal(a.points, b.points) for a, b in zip(once, again, strict=True))
    assert trustworthiness(groups, once[0].points) > 0.85
    on_a_line = np.outer(np.arange(8.0), np.ones(4))
    for space in (np.ones((30, 4)), cloud(1, 4, 0), cloud(4, 4, 0), cloud(6, 4, 0), on_a_line):
        assert np.isfinite(joint_layout([space, space])[1].points).all()


@pytest.mark.slow
def test_a_layout_that_starts_where_the_first_ended_lies_nearer_to_it() -> None:
    """UMAP's coordinates depend on the processor; the worth of a common start does not: less disparity."""
    started, alone = [], []
    for seed in range(3):
        first = np.repeat(8 * cloud(8, 6, seed), 25, 0) + cloud(200, 6, seed)
        second = first[:, ::-1] * [3, 1, 1, 1, 1, 0.3]  # other principal directions
        joint = joint_layout([first, second])
        started.append(joint[1].residual)
        alone.append(procrustes(joint[0].points, joint_layout([second])[0].points).residual)
    assert all(one < other for one, other in zip(started, alone, strict=True))
    assert np.mean(started) < 0.8 * np.mean(alone)


def test_two_layouts_at_once_leave_the_warnings_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two panels lay out in threads of their own: without a lock the second begins within the first and outlasts it."""
    began, told = threading.Event(), []

    class Slow:
        def __init__(self, **_: object) -> None:
            pass

        def fit_transform(self, x: np.ndarray) -> np.ndarray:
            told.append("begins")
            seconds = 0.6 if began.is_set() else 0.2
            began.set()
            time.sleep(seconds)
            told.append("ends")
            return x[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Slow))
    monkeypatch.setattr(warnings, "filters", list(warnings.filters))  # a failure here is no silence elsewhere
    before = list(warnings.filters)
    threads = [threading.Thread(target=joint_layout, args=([cloud(30, 4, seed)],)) for seed in (0, 1)]
    threads[0].start()
    assert began.wait(5)
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert list(warnings.filters) == before
    assert told == ["begins", "ends"] * 2


def test_trustworthiness_in_parts_is_that_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    high, low = cloud(70, 5, 0), cloud(70, 2, 1)
    whole = trustworthiness(high, low)
    monkeypatch.setattr("amkd_viz.views.quality.ROWS", 13)
    assert trustworthiness(high, low) == whole


def test_contradicted_are_the_clearest_ones_each_with_its_own_anchor() -> None:
    high, low = cloud(20, 5, 0), cloud(20, 2, 1)
    drawn = np.random.default_rng(2).integers(0, 20, (200, 3))
    named = contradicted(high, low, drawn, 4)
    assert len(set(named[:, 0])) == 4
    assert not triplets_kept(high, low, named).any()

    def gap(rows: np.ndarray) -> np.ndarray:
        a, p, n = (high[rows[:, i]] for i in range(3))
        return np.abs(((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1))

    wrong = drawn[~triplets_kept(high, low, drawn)]
    assert gap(named)[0] == gap(wrong).max()
    assert (np.diff(gap(named)) <= 0).all()
    assert contradicted(high, high, drawn).shape == (0, 3)


def test_nearest_negatives_and_one_anchor_against_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amkd_viz.views.anchors.ROWS", 7)
    label, target = np.arange(30) % 4, np.arange(30) % 4
    boundary = np.arange(30) >= 26
    target[boundary] = (label[boundary] + 1) % 4
    chosen = Chosen(torch.zeros(30, 2), label, target, np.arange(30), boundary)
    teacher, student = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (cloud(30, 5, 0), cloud(30, 5, 1)))
    d_ap, d_an = nearest_negatives(teacher, student, chosen)
    for i in range(30):
        told = [((teacher[i] - student[j]) ** 2).sum() for j in range(26) if label[j] not in (label[i], target[i])]
        assert d_an[i] == pytest.approx(min(told))
        assert d_ap[i] == pytest.approx(((teacher[i] - student[i]) ** 2).sum())
    high = np.concatenate([teacher[27:28], student[27:28], student])
    low = cloud(32, 2, 3)
    found = anchored(high, low, chosen.negatives(27), 0.5)
    assert found.d_an[0] == pytest.approx(d_an[27])
    assert set(found.negative) == {j for j in range(26) if label[j] not in (label[27], target[27])}
    seen = ((low - low[0]) ** 2).sum(1)
    for j, true, active, misleads in zip(*found[1:], strict=True):
        assert active == (true < found.d_ap + 0.5)
        assert misleads == ((true < found.d_ap) != (seen[2 + j] < seen[1]))
    assert np.isnan(nearest_negatives(teacher, student[:, :3], chosen)).all()
