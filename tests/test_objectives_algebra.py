"""Schedules and sums of terms: the published numbers, printing, changing, and what is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import (
    Attack,
    Objective,
    Schedule,
    Term,
    boundary_kd,
    boundary_triplet,
    ce,
    constant,
    kd,
    linear,
    methods,
    triplet,
)


@dataclass(frozen=True)
class one(Term):
    """A term for tests: ``value`` of the step, times ``factor``; says when it is called."""

    name: ClassVar[str] = "one"
    factor: float = 1.0
    exact: bool = False

    def __call__(self, step) -> Tensor:
        step.called.append(self.name)
        return step.value * self.factor


class two(one):
    name: ClassVar[str] = "two"
    on_boundary: ClassVar[bool] = True


def step(progress: float = 0.5) -> SimpleNamespace:
    value = torch.tensor(3.0, requires_grad=True)
    return SimpleNamespace(x=torch.zeros(1), progress=progress, terms={}, weights={}, called=[], value=value)


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
        assert objective.reads_boundary(epoch / 80) == (epoch < 60)  # exactly 0 from epoch 60 on
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
    with pytest.raises(InputError, match=r"share of training in \(0, 1\]"):
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
    (g,) = torch.autograd.grad(total, s.value)
    assert float(g) == 2 * 5 + 2 * 3


def test_weight_zero_is_not_called_and_reads_no_boundary():
    objective = one() + two() * linear(2, 0, until=0.75)
    for progress, called, reads in ((0.5, ["one", "two"], True), (0.75, ["one"], False), (1.0, ["one"], False)):
        s = step(progress)
        objective(s)
        assert s.called == called == list(s.terms)
        assert s.reads_boundary == objective.reads_boundary(progress) == reads
    s = step()
    assert float((one() * 0)(s)) == 0
    assert s.called == []


def test_multiplication_in_any_order():
    a, b, c = kd() * linear(4, 1), linear(4, 1) * kd(), (2 * kd()) * linear(2, 0.5)
    assert isinstance(b, Objective)
    assert a == b == c
    assert (kd() * 2) * 3 == kd() * 6
    assert ce() * 1 == Objective(ce().parts())
    assert (ce() + kd()) * linear(1, 0) == ce() * linear(1, 0) + kd() * linear(1, 0)
    assert linear(4, 1, until=0.5) * 2 == 2 * linear(4, 1, until=0.5) == Schedule(8, 2, 0.5)


def test_two_schedules_do_not_multiply():
    with pytest.raises(InputError, match=r"'4->1 \* kd\(.*has a schedule already"):
        kd() * linear(4, 1) * linear(1, 0)
    with pytest.raises(TypeError):
        linear(1, 0) * linear(1, 0)


def test_a_term_twice_is_refused():
    with pytest.raises(InputError, match="holds each term once, but has ce twice; add the weights"):
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


# ------------------------------------------------------------------ changed


def test_changed():
    objective = methods["amkd"]()
    changed = objective.changed(
        **{
            "kd.temperature": "4.5",
            "kd.weight": "1",
            "boundary_kd.scale": 0.5,
            "boundary_kd.t2": "true",
            "ce.weight": 0,
        }
    )
    terms = {term.name: (term, weight) for term, weight in changed.summands}
    assert terms["kd"] == (kd(temperature=4.5), constant(1))
    assert terms["boundary_kd"] == (boundary_kd(temperature=3, t2=True), linear(1, 0, until=0.75))
    assert terms["ce"] == (ce(), constant(0))
    assert terms["boundary_triplet"] == objective.summands[3]
    assert changed.names == objective.names
    assert objective == methods["amkd"]()
    assert objective.changed() == objective


def test_changed_keeps_fractions_where_the_sum_was_written_with_a_whole_number():
    changed = (ce() + kd(temperature=3)).changed(**{"kd.temperature": 4.5})
    assert changed.summands[1][0].temperature == 4.5
    assert methods["triplet-kd"]().changed(**{"triplet.margin": "2.5"}).summands[1][0].margin == 2.5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kdd.weight": 1}, r"Unknown term 'kdd'; did you mean .*'kd'"),
        ({"boundary_kb.weight": 1}, r"Unknown term 'boundary_kb'; did you mean 'boundary_kd'"),
        (
            {"kd.temprature": 1},
            r"Unknown field of kd 'temprature'; did you mean 'temperature'\? Allowed: weight, scale",
        ),
        ({"kd": 1}, "Unknown field of kd ''"),
        ({"kd.temperature": "hot"}, "kd.temperature takes a float, not 'hot'"),
        ({"kd.temperature": 0}, "kd.temperature must lie between 0.5 and 20, not 0"),
        ({"kd.temperature": "nan"}, "kd.temperature must lie between 0.5 and 20, not nan"),
        ({"kd.t2": "maybe"}, "kd.t2 is true or false, not 'maybe'"),
        ({"kd.weight": "heavy"}, "kd.weight takes a float, not 'heavy'"),
        ({"kd.scale": None}, "kd.scale takes a float, not None"),
        ({"kd.weight": "nan"}, "kd.weight must be finite and at least 0, not nan"),
        ({"kd.scale": "inf"}, "kd.scale must be finite and at least 0, not inf"),
        ({"kd.scale": -1}, "kd.scale must be finite and at least 0, not -1"),
        ({"boundary_triplet.mining": "semihard"}, r"boundary_triplet.mining 'semihard'; did you mean 'semi-hard'"),
        ({"boundary_triplet.variant": "D"}, "boundary_triplet.variant 'D'.* Allowed: A, B, C"),
        ({"boundary_triplet.embedding": "logits"}, "did you mean 'logit'"),
        ({"boundary_triplet.negatives": "other"}, "did you mean 'others'"),
        ({"boundary_triplet.margin": 4.1}, "boundary_triplet.margin must lie between 0 and 4, not 4.1"),
        ({"boundary_triplet.margin": "nan"}, "boundary_triplet.margin must lie between 0 and 4, not nan"),
    ],
)
def test_changed_with_bad_names_and_values(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        methods["amkd"]().changed(**changes)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sampler": "bbs"}, "Unknown boundary sampler 'bbs'; did you mean 'bss'"),
        ({"boundary_bn": "seperate"}, "Unknown student pass 'seperate'; did you mean 'separate'"),
        ({"step_rule": "gaps"}, "Unknown step_rule 'gaps'; did you mean 'gap'"),
        ({"limit": 0}, "At least one sample"),
        ({"steps": 0}, "not step_size=0.3, epsilon=0.03.*, steps=0"),
        ({"step_size": -0.1}, "step_size=-0.1"),
        ({"epsilon": math.nan}, "epsilon=nan"),
    ],
)
def test_bad_attacks(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Attack(**options)


def test_bad_margin_of_oki():
    with pytest.raises(InputError, match=r"triplet\.margin must lie between 0 and 50, not -1"):
        triplet(margin=-1)


# ------------------------------------------------------------------ methods


def test_methods_by_name():
    names = ["ce", "kd", "bss", "triplet-kd", "amkd", "amkd-student", "amkd-calibrated"]
    assert methods() == list(methods) == names
    assert "amkd" in methods
    assert "akmd" not in methods
    for name in names:
        assert isinstance(methods[name](), Objective)
        assert methods[name]().weights(0.1)["ce"] == 1
        assert len(methods.about(name)) > 20
    readings = [methods[name]().summands[-1][0].reading for name in names[-3:]]
    assert readings == ["A", "B", "C"]
    assert boundary_triplet().reading == "A"
    with pytest.raises(InputError, match="Unknown method 'akmd'; did you mean 'amkd'"):
        methods["akmd"]


@pytest.mark.parametrize("value", [1e-9, 1e9, math.inf, "hot"])
def test_a_term_keeps_within_its_bounds_however_it_is_made(value):
    with pytest.raises(InputError, match=r"kd\.temperature (must lie between 0.5 and 20|takes a float), not"):
        kd(temperature=value)


def test_a_term_takes_numbers_of_other_kinds_as_its_own():
    assert kd(temperature="3") == kd(temperature=3) == kd(temperature=3.0)
    assert isinstance(kd(temperature=3).temperature, float)


def test_a_list_of_terms_adds_up():
    assert sum([ce(), kd() * 2]) == ce() + kd() * 2
    with pytest.raises(TypeError):
        3 + ce()
