"""Functions of the losses where a step does not show them: ties, no direction, anchors without negatives.

Their values and gradients on a step are compared with slow loops in ``test_objectives_step``.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from small_nets import gen
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.objectives.losses.soft_targets import soft_cross_entropy
from amkd_viz.objectives.metric import MININGS, embed, triplet_hinge

few = settings(max_examples=25)
sizes = st.integers(0, 6)


def test_soft_cross_entropy_is_stable_for_large_logits():
    loss = soft_cross_entropy(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e3]]), 1.0)
    assert float(loss) == pytest.approx(1000)


# ------------------------------------------------------------------ embeddings and distances


def test_logit_embedding_sees_neither_shift_nor_scale():
    logits, none = torch.randn(5, 4, generator=gen(), dtype=torch.float64), torch.zeros(5, 1, dtype=torch.float64)
    assert torch.allclose(embed("logit", 7 * logits + 3, none), embed("logit", logits, none))
    assert not torch.allclose(embed("prob", 7 * logits, none), embed("prob", logits, none))


def test_rows_without_direction_give_zeros_and_finite_gradients():
    logits = torch.ones(2, 3, requires_grad=True)
    features = torch.zeros(2, 4, requires_grad=True)
    e = embed("logit", logits, features).sum() + embed("feature", logits, features).sum()
    assert e == 0
    e.backward()
    assert logits.grad.isfinite().all()
    assert features.grad.isfinite().all()


def test_unknown_embedding_and_mining():
    with pytest.raises(InputError, match="Unknown embedding 'logits'; did you mean 'logit'"):
        embed("logits", torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(InputError, match="Unknown mining 'harder'; did you mean 'hard'"):
        triplet_hinge(torch.zeros(1), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), 0.1, "harder")


# ------------------------------------------------------------------ hinge over triplets


def slow_hinge(
    positive: Tensor, negative: Tensor, valid: Tensor, margin: Tensor | float, mining: str
) -> tuple[float, float]:
    """Explicit triplets (i, j), one anchor after the other."""
    per_anchor, active = [], []
    for i in range(len(positive)):
        candidates = [j for j in range(negative.shape[1]) if valid[i, j]]
        if not candidates:
            continue
        if mining != "all":
            nearest = min(candidates, key=lambda j: float(negative[i, j]))
            beyond = [j for j in candidates if negative[i, j] > positive[i]]
            if mining == "semi-hard" and beyond:
                nearest = min(beyond, key=lambda j: float(negative[i, j]))
            candidates = [nearest]
        m = [float(margin[i, j]) if isinstance(margin, Tensor) else margin for j in candidates]
        losses = [max(float(positive[i] - negative[i, j]) + mj, 0.0) for j, mj in zip(candidates, m, strict=True)]
        per_anchor.append(sum(losses) / len(losses))
        active += [loss > 0 for loss in losses]
    if not per_anchor:
        return 0.0, 0.0
    return sum(per_anchor) / len(per_anchor), sum(active) / len(active)


def problem(m: int, b: int, seed: int, share: float = 0.6) -> tuple[Tensor, Tensor, Tensor]:
    random = gen(seed)
    positive = 4 * torch.rand(m, generator=random, dtype=torch.float64)
    negative = 4 * torch.rand(m, b, generator=random, dtype=torch.float64)
    return positive, negative, torch.rand(m, b, generator=random) < share


@few
@given(
    m=sizes,
    b=sizes,
    seed=st.integers(0, 9999),
    mining=st.sampled_from([m for m in MININGS if m != "random"]),
    margin=st.sampled_from([0.0, 0.5, 2.0, "each"]),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
def test_hinge_equals_the_slow_loop(m, b, seed, mining, margin, share):
    positive, negative, valid = problem(m, b, seed, share)
    if margin == "each":
        margin = torch.rand(m, b, generator=gen(seed), dtype=torch.float64)
    loss, active = triplet_hinge(positive, negative, valid, margin, mining)
    expected = slow_hinge(positive, negative, valid, margin, mining)
    assert float(loss) == pytest.approx(expected[0], abs=1e-12)
    assert float(active) == pytest.approx(expected[1])


def test_random_mining_takes_one_of_the_valid_negatives_uniformly():
    draws = 4000
    positive = torch.full((draws,), 10.0)
    negative = torch.tensor([0.0, 1, 2, 3, 4]).repeat(draws, 1).requires_grad_()
    valid = torch.tensor([True, False, True, True, False]).repeat(draws, 1)
    loss, active = triplet_hinge(positive, negative, valid, 0.5, "random", gen())
    loss.backward()
    drawn = negative.grad != 0
    assert (drawn.sum(1) == 1).all()
    assert float(loss.detach()) == pytest.approx(10.5 - float(negative.detach()[drawn].mean()))
    counts = drawn.sum(0)
    assert counts[[1, 4]].tolist() == [0, 0]
    assert chisquare(counts[[0, 2, 3]]).pvalue > 0.001
    assert active == 1
    assert torch.equal(loss, triplet_hinge(positive, negative, valid, 0.5, "random", gen())[0])
