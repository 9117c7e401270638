"""The baseline that our speed is measured against computes the same thing."""

from __future__ import annotations

import pytest
import torch

from amkd_viz.boundary import bss
from amkd_viz.models import build
from benchmarks import attack
from benchmarks.published import published_bss, published_targets


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


def test_ratios_are_medians_of_timed_rounds_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = iter([90.0, 4.0, 6.0, 8.0]), iter([1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(attack, "seconds", lambda run: run())
    found = attack.ratios(lambda: next(slow), {"ours": lambda: next(fast)}, rounds=3)
    assert found == {"ours": {"median": 3.0, "low": 2.0, "high": 4.0, "n": 3}}
