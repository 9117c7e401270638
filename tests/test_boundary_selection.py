"""Base selection against a slow loop, and the distribution of the target draw."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from small_nets import gen
from torch import Tensor

from amkd_viz.boundary import sample_targets, select_bases
from amkd_viz.boundary.selection import BASES
from amkd_viz.core.errors import InputError

few = settings(max_examples=30)


def slow_bases(teacher: Tensor, student: Tensor, y: Tensor, limit: int, by: str) -> list[int]:
    scores = []
    for i in range(len(y)):
        label = int(y[i])
        if int(teacher[i].argmax()) == label and int(student[i].argmax()) == label:
            p, q = teacher[i].softmax(0), student[i].softmax(0)
            first, second = p.sort(descending=True).values[:2]
            different = sum(float(p[j] - q[j]) ** 2 for j in range(len(p)) if j != label)
            scores.append((float(second - first) if by == "margin" else different, i))
    return [i for _, i in sorted(scores, reverse=True)[:limit]]


@few
@given(
    count=st.integers(0, 30),
    classes=st.integers(2, 6),
    limit=st.integers(1, 12),
    seed=st.integers(0, 9999),
    easy=st.booleans(),
    by=st.sampled_from(BASES),
)
def test_select_bases_equals_the_slow_loop(count, classes, limit, seed, easy, by):
    random = gen(seed)
    teacher, student = (3 * torch.randn(count, classes, generator=random) for _ in range(2))
    y = teacher.argmax(1) if easy else torch.randint(classes, (count,), generator=random)
    student = 0.5 * student + teacher if easy else student
    assert select_bases(teacher, student, y, limit, by).tolist() == slow_bases(teacher, student, y, limit, by)


def test_no_base_and_one():
    right, wrong = torch.tensor([[5.0, 0, 0]]), torch.tensor([[0.0, 5, 0]])
    y = torch.zeros(4, dtype=torch.long)
    for teacher, student in ((wrong, right), (right, wrong)):
        assert select_bases(teacher.repeat(4, 1), student.repeat(4, 1), y).shape == (0,)
    teacher = torch.cat([wrong, wrong, right, wrong])
    for limit in (64, 1):
        assert select_bases(teacher, right.repeat(4, 1), y, limit).tolist() == [2]


LOGITS = torch.tensor([0.3, 2.0, -0.5, 1.4, 0.9])


def test_targets_follow_the_softmax_without_its_top_class():
    draws = 20000
    counts = sample_targets(LOGITS.repeat(draws, 1), gen()).bincount(minlength=5)
    p = LOGITS.double().softmax(0)
    expected = p / (1 - p.max()) * draws
    others = [0, 2, 3, 4]
    assert counts[1] == 0
    assert chisquare(counts[others], expected[others]).pvalue > 0.001
    wrong = torch.full((4,), draws / 4)  # the test has the power to tell it from a uniform draw
    assert chisquare(counts[others], wrong).pvalue < 1e-9


@few
@given(
    count=st.integers(0, 20),
    classes=st.integers(2, 7),
    seed=st.integers(0, 9999),
    scale=st.sampled_from([0, 1, 30, 90, 300]),
)
def test_never_the_arg_max_and_a_function_of_the_generator(count, classes, seed, scale):
    logits = scale * torch.randn(count, classes, generator=gen(seed))
    drawn = sample_targets(logits, gen(seed))
    assert drawn.shape == (count,)
    assert drawn.dtype == torch.long
    assert not (drawn == logits.argmax(1)).any()
    assert ((drawn >= 0) & (drawn < classes)).all()
    assert torch.equal(drawn, sample_targets(logits, gen(seed)))
    if classes == 2:
        assert torch.equal(drawn, 1 - logits.argmax(1))


@pytest.mark.parametrize("top", [88.0, 95.0, 102.0, 103.2, 104.0, 500.0])
def test_denormal_probabilities_and_a_row_that_is_all_top_class_never_give_the_top_class(top):
    assert not (sample_targets(torch.tensor([[top, 0.0, -50]]).repeat(3000, 1), gen()) == 0).any()
    logits = torch.tensor([[0.0, 1, top, -3], [top, -2, -2, 0]]).repeat(20, 1)
    if top == 500:
        assert logits.softmax(1).sum() == len(logits) * logits.softmax(1).amax()
    if top >= 104:  # the second
        assert sample_targets(logits, gen()).tolist() == [1, 3] * 20


def test_a_net_of_one_class_has_no_target():
    with pytest.raises(InputError, match="at least 2"):
        sample_targets(torch.zeros(3, 1))


def test_draws_may_be_given_in_place_of_a_generator():
    logits = 2 * torch.randn(40, 5, generator=gen(3))
    waits = torch.empty(40, 5).exponential_(generator=gen(4))
    expected = sample_targets(logits, gen(4))
    assert torch.equal(sample_targets(logits, waits=waits), expected)
    assert torch.equal(sample_targets(logits, waits=torch.cat([waits, torch.ones(3, 5)])), expected)
    assert not torch.equal(sample_targets(logits, waits=waits.flip(0)), expected)
