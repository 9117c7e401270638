"""Pure functions of the losses against slow loops over explicit pairs and triplets, and against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from torch.autograd import gradcheck

from amkd_viz.core.errors import InputError
from amkd_viz.objectives.losses.soft_targets import soft_cross_entropy
from amkd_viz.objectives.losses.triplets import negatives_of
from amkd_viz.objectives.metric import EMBEDDINGS, MININGS, embed, squared_distances, triplet_hinge

few = settings(max_examples=25)
sizes = st.integers(0, 6)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, grad: bool = False) -> Tensor:
    return torch.randn(*shape, generator=gen(seed), dtype=torch.float64).requires_grad_(grad)


# ------------------------------------------------------------------ soft cross-entropy


@few
@given(
    count=st.integers(1, 6),
    classes=st.integers(1, 5),
    t=st.sampled_from([0.5, 1.0, 3.0, 20.0]),
    seed=st.integers(0, 999),
)
def test_soft_cross_entropy_equals_the_slow_loop(count, classes, t, seed):
    teacher, student = normal(count, classes, seed=seed), 3 * normal(count, classes, seed=seed + 1)
    found = soft_cross_entropy(teacher, student, t)
    for i in range(count):
        top = [math.exp(float(v) / t) for v in teacher[i]]
        low = [math.exp(float(v) / t) for v in student[i]]
        expected = -sum(a / sum(top) * math.log(b / sum(low)) for a, b in zip(top, low, strict=True))
        assert float(found[i]) == pytest.approx(expected)


def test_soft_cross_entropy_is_stable_for_large_logits():
    loss = soft_cross_entropy(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e3]]), 1.0)
    assert float(loss) == pytest.approx(1000)


# ------------------------------------------------------------------ embeddings and distances


@few
@given(count=sizes, classes=st.integers(2, 6), width=st.integers(1, 6), seed=st.integers(0, 999))
def test_each_embedding_is_what_it_says_and_has_unit_norm(count, classes, width, seed):
    logits, features = 3 * normal(count, classes, seed=seed), normal(count, width, seed=seed + 1)
    found = {kind: embed(kind, logits, features) for kind in EMBEDDINGS}
    for i in range(count):
        z = [float(v) for v in logits[i]]
        centred = [v - sum(z) / classes for v in z]
        length = math.sqrt(sum(v * v for v in centred))
        assert found["logit"][i].tolist() == pytest.approx([v / length for v in centred])
        odds = [math.exp(v) for v in z]
        assert found["prob"][i].tolist() == pytest.approx([math.sqrt(v / sum(odds)) for v in odds])
        assert torch.allclose(found["feature"][i], features[i] / features[i].norm())
    for kind, e in found.items():
        assert e.shape == ((count, width) if kind == "feature" else (count, classes))
        torch.testing.assert_close(e.norm(dim=1), torch.ones(count, dtype=torch.float64), rtol=0, atol=1e-6)


def test_logit_embedding_sees_neither_shift_nor_scale():
    logits, none = normal(5, 4), torch.zeros(5, 1, dtype=torch.float64)
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


@few
@given(m=sizes, b=sizes, width=st.integers(1, 5), seed=st.integers(0, 999))
def test_squared_distances_equal_the_slow_loop(m, b, width, seed):
    u, v = (torch.nn.functional.normalize(normal(n, width, seed=seed + n), dim=1) for n in (m, b))
    d = squared_distances(u, v)
    assert d.shape == (m, b)
    for i in range(m):
        for j in range(b):
            assert float(d[i, j]) == pytest.approx(float(sum((u[i] - v[j]) ** 2)), abs=1e-9)


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
    assert float(loss.detach()) == pytest.approx(10.5 - float(negative[drawn].mean()))
    counts = drawn.sum(0)
    assert counts[[1, 4]].tolist() == [0, 0]
    assert chisquare(counts[[0, 2, 3]]).pvalue > 0.001
    assert active == 1
    assert loss == triplet_hinge(positive, negative, valid, 0.5, "random", gen())[0]


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize(("m", "b"), [(0, 4), (3, 0), (3, 4), (0, 0)])
def test_no_triplet_is_zero_in_the_graph(mining, m, b):
    positive = torch.rand(m, requires_grad=True)
    negative = torch.rand(m, b, requires_grad=True)
    loss, active = triplet_hinge(positive, negative, torch.zeros(m, b, dtype=torch.bool), 0.5, mining, gen())
    assert (loss.item(), active.item()) == (0, 0)
    loss.backward()
    assert torch.equal(positive.grad, torch.zeros(m))
    assert torch.equal(negative.grad, torch.zeros(m, b))


@few
@given(m=sizes, b=sizes, classes=st.integers(2, 5), seed=st.integers(0, 9999))
def test_negatives_equal_the_slow_loop(m, b, classes, seed):
    random = gen(seed)
    y, base, target = (torch.randint(classes, (n,), generator=random) for n in (b, m, m))
    others, at_target = negatives_of(y, base, target), negatives_of(y, base, target, "target")
    assert others.shape == at_target.shape == (m, b)
    for i in range(m):
        for j in range(b):
            assert bool(others[i, j]) == (int(y[j]) not in (int(base[i]), int(target[i])))
            assert bool(at_target[i, j]) == (int(y[j]) == int(target[i]))


# ------------------------------------------------------------------ gradients


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_gradient_of_embeddings_and_distances(kind):
    logits, features = normal(3, 4, grad=True), normal(3, 5, seed=1, grad=True)
    other = embed(kind, normal(2, 4, seed=2), normal(2, 5, seed=3))
    used = features if kind == "feature" else logits

    def distances(v: Tensor) -> Tensor:
        return squared_distances(embed(kind, *((logits, v) if kind == "feature" else (v, features))), other)

    assert gradcheck(distances, (used,))


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("mining", MININGS)
def test_gradient_of_the_hinge(mining, each):
    positive, negative, valid = problem(4, 5, 8)
    margin = torch.rand(4, 5, generator=gen(), dtype=torch.float64) if each else 0.5
    away = (positive[:, None] - negative + margin).abs()
    assert away.min() > 1e-3  # from the kink
    positive.requires_grad_(), negative.requires_grad_()
    assert gradcheck(lambda p, n: triplet_hinge(p, n, valid, margin, mining, gen())[0], (positive, negative))
    assert triplet_hinge(positive, negative, valid, margin, mining, gen())[0] > 0
