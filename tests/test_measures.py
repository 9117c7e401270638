"""What is measured at the boundary: against closed forms, slow loops and other libraries."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recipes import POINTS
from torch import nn

from amkd_viz.boundary.pgd import robust
from amkd_viz.core.errors import InputError
from amkd_viz.data import Split
from amkd_viz.models import wrap
from amkd_viz.runs import Run, compare, distill, measures, table
from amkd_viz.runs.measures import MEASURES, calibration_error, measure, measured, measures_of, recall_at_one
from amkd_viz.runs.stats import paired
from amkd_viz.runs.table import measures_table


def linear(weights: list[list[float]]) -> nn.Module:
    net = nn.Linear(2, len(weights), bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(weights))
    return wrap(net, shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two methods with two seeds, measured."""
    made = compare(POINTS.replace(magsim_samples=0), ["kd", "amkd"], 2, tmp_path_factory.mktemp("runs") / "all", jobs=1)
    for run in made:
        measure(run, 60)
    return made


def test_a_linear_net_is_robust_where_its_margin_is_larger_than_the_ball() -> None:
    """The largest change of w x in a ball of L-infinity is radius |w|_1."""
    net, x = linear([[2.0, -1.0], [0.0, 0.0]]), torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    margin = 2 * x[:, 0] - x[:, 1]
    y = (margin < 0).long()
    for radius in (0.0, 0.1, 0.3):
        expected = margin.abs() > 3 * radius
        assert torch.equal(robust(net, x, y, radius), expected)
        assert torch.equal(robust(net, x, y, radius, generator=torch.Generator().manual_seed(1)), expected)
    assert not robust(net, x, 1 - y, 0.1).any()  # wrong before the attack


def test_the_attack_is_that_of_a_slow_loop_with_gradients_by_hand() -> None:
    """NumPy, one image at a time: a net of two layers, whose gradient is written out."""
    random = np.random.default_rng(0)
    w, v = random.normal(size=(16, 6)), random.normal(size=(3, 16))
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 3, bias=False)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.from_numpy(w))
        net[3].weight.copy_(torch.from_numpy(v))
    x = random.random((60, 6))
    y = (np.maximum(x @ w.T, 0) @ v.T).argmax(1)
    y[:5] = (y[:5] + 1) % 3  # wrong from the start

    def survives(image: np.ndarray, label: int, radius: float) -> bool:
        z = image.copy()
        for _ in range(11):
            hidden = w @ z
            logits = v @ np.maximum(hidden, 0)
            if logits.argmax() != label:
                return False
            p = np.exp(logits - logits.max())
            p /= p.sum()
            p[label] -= 1
            gradient = w.T @ ((v.T @ p) * (hidden > 0))
            z = np.clip(z + 2.5 * radius / 10 * np.sign(gradient), image - radius, image + radius).clip(0, 1)
        return True

    for radius in (0.01, 0.05, 0.1):
        slow = [survives(image, label, radius) for image, label in zip(x, y, strict=True)]
        found = robust(net, torch.from_numpy(x).view(60, 1, 2, 3), torch.from_numpy(y), radius)
        assert found.tolist() == slow
        assert 5 < sum(slow) < 55


def test_an_attack_on_images_stays_in_the_valid_range() -> None:
    seen: list[tuple[float, float]] = []

    class Seen(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((float(x.detach().min()), float(x.detach().max())))
            return torch.stack([x.mean((1, 2, 3)), 0.5 - x.mean((1, 2, 3))], 1)

    robust(Seen(), torch.rand(8, 1, 4, 4), torch.zeros(8, dtype=torch.long), 0.5)
    assert min(low for low, _ in seen) == 0
    assert max(high for _, high in seen) <= 1


@pytest.mark.parametrize("values", [{"radius": -1.0}, {"radius": math.nan}, {"radius": 0.1, "steps": 0}])
def test_an_attack_that_is_none_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match="radius >= 0 and steps >= 1"):
        robust(linear([[1.0, 0], [0, 1]]), torch.zeros(1, 2), torch.zeros(1).long(), **values)  # type: ignore[arg-type]


@given(st.integers(0, 2**20), st.integers(1, 60))
def test_calibration_is_that_of_a_slow_loop(seed: int, count: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(count, 5, generator=random)
    y = torch.randint(0, 5, (count,), generator=random)
    p = logits.softmax(1).double().numpy()
    slow = 0.0
    for k in range(15):
        inside = [i for i in range(count) if k / 15 < np.float32(p[i].max()) <= (k + 1) / 15]
        if inside:
            right = np.mean([p[i].argmax() == int(y[i]) for i in inside])
            slow += len(inside) / count * abs(right - np.mean([p[i].max() for i in inside]))
    assert calibration_error(logits, y) == pytest.approx(slow, abs=1e-5)


def test_recall_is_that_of_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    random = torch.Generator().manual_seed(0)
    features, y = torch.randn(80, 6, generator=random), torch.randint(0, 3, (80,), generator=random)
    found = neighbors.NearestNeighbors(n_neighbors=2, metric="cosine").fit(features).kneighbors(features)[1][:, 1]
    assert recall_at_one(features, y) == pytest.approx(float((y[found] == y).float().mean()))
    assert math.isnan(recall_at_one(features[:1], y[:1]))


def test_a_student_that_is_its_teacher_is_at_its_boundary(runs: list[Run]) -> None:
    teacher, test = runs[0].teacher(), runs[0].dataset().test
    found = measures_of(teacher, teacher, test, POINTS, 60)
    assert found["boundary_side"] == 1
    assert found["student_distance"] == found["teacher_distance"]
    assert found["robust_1"] >= found["robust_2"] >= found["robust_4"] >= 0


def test_the_distance_to_a_linear_boundary_is_that_of_a_plane() -> None:
    net, x = linear([[3.0, 4.0], [0.0, 0.0], [-3.0, -4.0]]), torch.rand(40, 2) + 0.2  # all boundaries are one line
    y = torch.zeros(40, dtype=torch.long)
    found = measures_of(net, net, Split(x, y, torch.arange(40)), POINTS)  # type: ignore[arg-type]
    assert found["student_distance"] == pytest.approx(float(((3 * x[:, 0] + 4 * x[:, 1]) / 5).median()), rel=1e-2)


def test_a_run_is_measured_once_and_its_table_has_the_measures(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(measured(runs[0])) == set(MEASURES)
    monkeypatch.setattr(measures, "measures_of", lambda *_: pytest.fail("measured again"))
    assert measure(runs[0], 60) == measured(runs[0])
    kd, amkd = table(runs)
    assert kd.values["ece"] == {(seed, 0): measured(run)["ece"] for seed, run in enumerate(runs[:2])}
    text = measures_table([amkd, kd])
    assert text.index("\nkd ") < text.index("\namkd ")  # from the plainest to the fullest
    assert "is our reading of it" in text
    assert "blobs, ECE %: " in text


def test_a_measure_that_is_seen_is_told_with_its_interval(runs: list[Run]) -> None:
    kd, amkd = table(runs)
    draws = [(seed, 0) for seed in range(4)]
    kd.values["nll"] = dict(zip(draws, (0.50, 0.61, 0.70, 0.79), strict=True))
    amkd.values["nll"] = dict(zip(draws, (0.40, 0.50, 0.60, 0.70), strict=True))
    half = paired([0.4, 0.5, 0.6, 0.7], [0.5, 0.61, 0.7, 0.79])
    assert half is not None
    low, high = (end / 100 for end in half.interval)
    assert f"blobs, NLL: amkd over kd -0.100 [{low:+.3f}, {high:+.3f}]." in measures_table([kd, amkd])


def test_what_cannot_be_measured_says_why(tmp_path: Path, runs: list[Run]) -> None:
    run = distill(POINTS.replace(method="ce", teacher="", epochs=1, magsim_samples=0), tmp_path / "alone")
    with pytest.raises(InputError, match="has no teacher"):
        measure(run)
    with pytest.raises(InputError, match="most must be at least 1, got 0"):
        measure(runs[0], 0)
    (run.path / "measures.json").write_text(json.dumps({"format": 1, "samples": 5, "measures": {"ece": "high"}}))
    with pytest.raises(InputError, match=r"measures.json is not a valid measures: ece must be a number.* delete it"):
        measured(run)
    with pytest.warns(UserWarning, match="Left out: .*measures.json"):
        assert len(table([run, *runs])) == 2


def test_the_command_prints_the_tables(runs: list[Run], call) -> None:  # type: ignore[no-untyped-def]
    status, out, _ = call("measure", runs[0].path.parent, "--most", 60)
    assert status == 0
    assert "same side %" in out
    assert "recall@1 %: share of samples" in out
    assert call("measure", "nowhere")[0] == 2


def test_the_seeds_that_a_difference_needs_give_its_power() -> None:
    stats = pytest.importorskip("scipy.stats")
    points = np.random.default_rng(0).normal(0, 0.03, 20)
    difference = paired(points.tolist(), [0.0] * 20)
    assert difference is not None
    n = difference.seeds_to_show(1.0)
    shift = 1.0 / (100 * points.std(ddof=1) / math.sqrt(n))
    power = 1 - stats.nct.cdf(stats.t.ppf(0.975, n - 1), n - 1, shift)
    assert power == pytest.approx(0.8, abs=0.02)
