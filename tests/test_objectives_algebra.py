"""Schedules and sums of terms: the published numbers, printing, changing, and what is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from amkd_viz.boundary import BSS, FGSM, Noise
from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier
from amkd_viz.objectives import (
    Batch,
    Boundary,
    Objective,
    Schedule,
    Step,
    Term,
    boundary_kd,
    ce,
    constant,
    kd,
    linear,
    methods,
    triplet,
)

CALLED: list[str] = []


@dataclass(frozen=True)
class one(Term):
    """A term for tests: the mean logit of the student, times ``factor``; records when it is called."""

    name: ClassVar[str] = "one"
    factor: float = 1.0

    def reads(self):
        return [("student", "clean", None)]

    def __call__(self, step) -> Tensor:
        CALLED.append(self.name)
        return step.outputs().logits.mean() * self.factor


class two(one):
    name: ClassVar[str] = "two"

    def reads(self):
        return [("student", "clean", None), ("student", "boundary", None)]


def step(progress: float = 0.5) -> Step:
    """Two points, and a student whose mean logit is 3."""
    CALLED.clear()
    head = nn.Linear(2, 2)
    nn.init.zeros_(head.weight), nn.init.constant_(head.bias, 3)
    net = Classifier(nn.Identity(), head, mean=[0, 0], std=[1, 1], num_classes=2, shape=(2,)).train()
    clean = Batch(torch.zeros(2, 2), torch.tensor([0, 1]), torch.arange(2))
    return Step({"student": net}, clean, progress, torch.Generator(), {"boundary": lambda step: step.clean})


# ------------------------------------------------------------------ schedules


@pytest.mark.parametrize("name", ["bss", "amkd"])
def test_published_schedules_for_80_epochs(name):
    objective = methods[name]()
    for epoch in range(1, 81):
        weights = objective.weights(epoch / 80)
        assert weights["ce"] == 1
        assert weights["kd"] == pytest.approx(3 * (1 - epoch / 80) + 1)
        assert weights["boundary_kd"] == pytest.approx(max(2 * (1 - 4 / 3 * epoch / 80), 0), abs=1e-12)
        if name == "amkd":  # g = ra(e) / ra(1)
            assert weights["boundary_triplet"] == pytest.approx(weights["boundary_kd"] / 2)
        assert ("boundary" in objective.batches(epoch / 80)) == (epoch < 60)  # exactly 0 from epoch 60 on
    assert methods["kd"]().weights(1)["kd"] == 1


def test_schedule_ends_exactly_at_zero_and_stays():
    for start in (0.1, 0.3, 0.7, 1.9, 7.3):
        weight = linear(start, 0, until=0.6)
        assert weight(0.6) == weight(0.7) == weight(1) == 0
        assert weight(0) == start
        assert 0 < weight(0.59) < 0.05 * start
        assert (weight * 0.37)(0.6) == 0
    assert constant(2)(0.1) == constant(2)(1) == 2


@pytest.mark.parametrize("until", [0, -1, 1.1, float("nan")])
def test_bad_end_of_a_schedule(until):
    with pytest.raises(InputError, match=r"until must be in \(0, 1\], a share of training, got"):
        linear(1, 0, until=until)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_finite(value):
    for make in (lambda: constant(value), lambda: linear(1, value), lambda: ce() * value, lambda: value * ce()):
        with pytest.raises(InputError, match="A weight must be finite"):
            make()


# ------------------------------------------------------------------ sums


def test_sum_scales_adds_and_reports_unweighted_terms():
    objective = 2 * (one(factor=5) + two() * 3) + ce() * 0
    s = step()
    total = objective(s)
    assert float(total.detach()) == 2 * 3 * 5 + 2 * 3 * 3
    assert {name: float(v) for name, v in s.terms.items()} == {"one": 15, "two": 3}
    assert not any(v.requires_grad for v in s.terms.values())
    (g,) = torch.autograd.grad(total, s.nets["student"].head.bias)
    assert float(g.sum()) == 2 * 5 + 2 * 3


def test_weight_zero_is_not_called_and_reads_no_boundary():
    objective = one() + two() * linear(2, 0, until=0.75)
    for progress, called, reads in ((0.5, ["one", "two"], True), (0.75, ["one"], False), (1.0, ["one"], False)):
        s = step(progress)
        objective(s)
        assert CALLED == called == list(s.terms)
        assert (s.made("boundary") is not None) == ("boundary" in objective.batches(progress)) == reads
        assert objective.passes(progress) == {"student": 1 + reads}
    s = step()
    assert float((one() * 0)(s)) == 0
    assert CALLED == []


def test_sums_and_products_in_any_order():
    a, b, c = kd() * linear(4, 1), linear(4, 1) * kd(), (2 * kd()) * linear(2, 0.5)
    assert isinstance(b, Objective)
    assert a == b == c
    assert (kd() * 2) * 3 == kd() * 6
    assert ce() * 1 == Objective(ce().parts())
    assert (ce() + kd()) * linear(1, 0) == ce() * linear(1, 0) + kd() * linear(1, 0)
    assert linear(4, 1, until=0.5) * 2 == 2 * linear(4, 1, until=0.5) == Schedule(8, 2, 0.5)
    assert sum([ce(), kd() * 2]) == ce() + kd() * 2


def test_a_schedule_multiplies_a_constant_but_no_other_schedule():
    assert linear(4, 1, until=0.5) * constant(2) == constant(2) * linear(4, 1, until=0.5) == linear(8, 2, until=0.5)
    assert kd() * linear(4, 1) * constant(2) == kd() * linear(8, 2)
    for make in (lambda: kd() * linear(4, 1) * linear(1, 0), lambda: linear(4, 1) * linear(1, 0)):
        with pytest.raises(InputError, match="A weight must have one schedule, got 4->1 and 1->0; make one of them"):
            make()


@pytest.mark.parametrize(
    "make", [lambda: ce() * kd(), lambda: ce() * "2", lambda: linear(1, 0) * "2", lambda: 3 + ce()]
)
def test_what_neither_adds_nor_multiplies(make):
    with pytest.raises(TypeError):
        make()


def test_a_term_twice_is_refused():
    with pytest.raises(InputError, match="must hold each term once, got ce twice; add the weights"):
        ce() + kd() + ce() * 2


def test_printing():
    assert str(ce() + kd(temperature=3) * linear(4, 1)) == "ce() + 4->1 * kd(temperature=3, t2=False)"
    assert str(methods["bss"]()) == (
        "ce() + 4->1 * kd(temperature=3, t2=False) + 2->0 (until 75%) * boundary_kd(temperature=3, t2=False)"
    )
    assert str(methods["triplet-kd"]()) == "ce() + 2 * triplet(margin=5)"
    amkd = str(methods["amkd-calibrated"]())
    assert amkd.startswith(str(methods["bss"]()) + " + 1->0 (until 75%) * boundary_triplet(variant=C, margin=")
    assert str(linear(2, 0, until=0.75)) == "2->0 (until 75%)"
    assert str(constant(0.25)) == "0.25"
    assert str(kd(on="boundary", teacher="peer")) == "kd(temperature=3, t2=False, on='boundary', teacher='peer')"
    assert str(kd() * sure) == "sure * kd(temperature=3, t2=False)"
    assert str(2 * ce() * linear(4, 1) * sure * sure_of(0.5)) == "8->2 * sure * sure_of * ce()"
    assert repr(kd()) == "kd()"
    assert repr(boundary_kd(temperature=4)) == "boundary_kd(temperature=4.0)"


def sure(step: Step) -> Tensor:
    """How sure the student is of the label, per sample."""
    return step.outputs().logits.detach().softmax(1)[torch.arange(len(step.clean.y)), step.clean.y]


def sure_of(least: float):
    def weight(step: Step) -> Tensor:
        return (sure(step) > least).float()

    return weight


def test_a_weight_per_sample_multiplies_in_any_order():
    assert kd() * sure == sure * kd() == kd() * (constant(1) * sure)
    assert isinstance(sure * kd(), Objective)
    assert kd() * sure * linear(4, 1) == kd() * (sure * linear(4, 1)) == linear(4, 1) * kd() * sure
    assert (ce() + kd()) * sure == ce() * sure + kd() * sure
    assert (kd() * sure).weights(0.5) == {"kd": 1}
    assert ((kd() * sure).changed(**{"kd.weight": 3})).summands[0][1] == constant(3) * sure


# ------------------------------------------------------------------ changed


def test_changed():
    objective = methods["amkd"]()
    overrides = {
        "kd.temperature": 4.5,
        "kd.weight": 1,
        "boundary_kd.scale": 0.5,
        "boundary_kd.t2": True,
        "ce.weight": 0,
    }
    changed = objective.changed(**overrides)
    terms = {term.name: (term, weight) for term, weight in changed.summands}
    assert terms["kd"] == (kd(temperature=4.5), constant(1))
    assert terms["boundary_kd"] == (boundary_kd(temperature=3, t2=True), linear(1, 0, until=0.75))
    assert terms["ce"] == (ce(), constant(0))
    assert terms["boundary_triplet"] == objective.summands[3]
    assert changed.names == objective.names
    assert objective == objective.changed() == methods["amkd"]()


def test_a_whole_number_is_kept_as_a_fraction_that_can_change():
    assert kd(temperature=3) == kd(temperature=3.0)
    assert isinstance(kd(temperature=3).temperature, float)
    assert (ce() + kd(temperature=3)).changed(**{"kd.temperature": 4.5}).summands[1][0] == kd(temperature=4.5)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"kdd.weight": 1}, r"Unknown term 'kdd'; did you mean .*'kd'"),
        (
            {"kd.temprature": 1},
            r"Unknown field of kd 'temprature'; did you mean 'temperature'\? Allowed: weight, scale",
        ),
        ({"kd": 1}, "Unknown field of kd ''"),
        ({"kd.on": "boundary"}, "Unknown field of kd 'on'"),
        ({"kd.temperature": 0}, "kd.temperature must be between 0.5 and 20, got 0"),
        ({"kd.t2": "maybe"}, "kd.t2 must be True or False, got 'maybe'"),
        ({"kd.weight": "heavy"}, "kd.weight must be a number, got 'heavy'"),
        ({"kd.scale": math.inf}, "kd.scale must be finite, got inf"),
        ({"kd.scale": -1}, "kd.scale must be at least 0, got -1"),
        ({"boundary_triplet.mining": "semihard"}, r"boundary_triplet.mining 'semihard'; did you mean 'semi-hard'"),
        ({"boundary_triplet.variant": "E"}, "boundary_triplet.variant 'E'.* Allowed: A, B, C, D"),
        ({"boundary_triplet.embedding": "logits"}, "did you mean 'logit'"),
        ({"boundary_triplet.negatives": "other"}, "did you mean 'others'"),
        ({"boundary_triplet.margin": 4.1}, "boundary_triplet.margin must be between 0 and 4, got 4.1"),
    ],
)
def test_changed_with_bad_names_and_values(overrides, sentence):
    with pytest.raises(InputError, match=sentence):
        methods["amkd"]().changed(**overrides)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Boundary(limit=0), "limit must be at least 1, got 0"),
        (lambda: BSS(step_rule="gaps"), "Unknown step_rule 'gaps'; did you mean 'gap'"),
        (lambda: BSS(steps=0), "steps must be between 1 and 100, got 0"),
        (lambda: BSS(step_size=-0.1), "step_size must be between 0.001 and 10, got -0.1"),
        (lambda: FGSM(epsilon=math.nan), "epsilon must be a number, got nan"),
        (lambda: Noise(epsilon=0), "epsilon must be between 1e-06 and 1, got 0"),
        (lambda: triplet(margin=-1), r"triplet\.margin must be between 0 and 50, got -1"),
        (lambda: kd(temperature=1e9), r"kd\.temperature must be between 0.5 and 20, got 1e\+09"),
        (lambda: kd(temperature="hot"), r"kd\.temperature must be a number, got 'hot'"),
    ],
)
def test_attacks_and_terms_keep_within_their_bounds_however_they_are_made(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


# ------------------------------------------------------------------ methods


def test_methods_by_name():
    names = ["ce", "kd", "bss", "triplet-kd", "amkd", "amkd-student", "amkd-calibrated"]
    assert methods()[:7] == list(methods)[:7] == names  # those of the literature follow
    for name in names:
        assert isinstance(methods[name](), Objective)
        assert methods[name]().weights(0.1)["ce"] == 1
        assert len(methods.about(name)) > 20
    assert [methods[name]().summands[-1][0].variant for name in names[-3:]] == ["A", "B", "C"]
    with pytest.raises(InputError, match="Unknown method 'akmd'; did you mean 'amkd'"):
        methods["akmd"]
