"""Published and proposed objectives by name.

Schedules are those of arXiv 1805.05532, section 4.1: the weight of KD goes from 4 to 1 over training, that of the
boundary samples from 2 to 0 at three quarters, after which the attack is not run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amkd_viz.core.errors import InputError
from amkd_viz.core.registry import Registry
from amkd_viz.objectives.algebra import Objective, Summand, Term
from amkd_viz.objectives.losses import boundary_kd, boundary_triplet, ce, kd, triplet
from amkd_viz.objectives.weights import constant, linear

__all__ = ["OURS", "READING_OF_AMKD", "known_terms", "method", "methods"]

READING_OF_AMKD = (
    "Only the abstract of “Adversarial Metric Knowledge Distillation” (ICAIP 2020) is public, so the loss called amkd "
    "is our reading of it, and its numbers are not those of the paper."
)


def _check(name: str, make: Any) -> Callable[[], Objective]:
    if not isinstance(made := make(), Summand):
        raise InputError(f"Method {name!r} must return a sum of terms, such as ce() + kd(), got {made!r}.")

    def objective() -> Objective:
        return Objective(make().parts())

    objective.__doc__ = make.__doc__ or made.parts()[-1][0].__doc__
    return objective


methods: Registry[Callable[[], Objective]] = Registry("method", _check, "methods.register")


def method(name: str, make: Callable[[], Summand]) -> None:
    """Add a method of the library. Its docstring is its card (see ``cards``); without one, that of its last term."""
    methods.add(name, _check(name, make))


def _ce() -> Objective:
    """Labels only: the student without a teacher.

    Weights: 1.
    """
    return ce() * constant(1)


def _kd() -> Objective:
    """Knowledge distillation on clean images.

    Weights: kd 4 -> 1 at temperature 3, without t^2: 4/9 -> 1/9 of Hinton's (arXiv 1805.05532, section 4.1).
    """
    return ce() + kd(temperature=3) * linear(4, 1)


def _bss() -> Objective:
    """KD, and KD on boundary supporting samples (Heo et al., AAAI 2019).

    Weights: kd 4 -> 1, boundary_kd 2 -> 0 at three quarters of training, temperature 3.
    """
    return _kd() + boundary_kd(temperature=3) * linear(2, 0, until=0.75)


def _triplet_kd() -> Objective:
    """Triplet distillation on clean images (Oki et al., IJCNN 2020).

    Weights: ce 1, triplet 2, margin 5.
    """
    return ce() + triplet(margin=5) * 2


def _amkd(variant: str) -> Objective:
    return _bss() + boundary_triplet(variant=variant) * linear(1, 0, until=0.75)


def _amkd_a() -> Objective:
    """AMKD, variant A (default): the teacher's boundary sample is the anchor, the student's the positive."""
    return _amkd("A")


def _amkd_b() -> Objective:
    """AMKD, variant B: anchor and positive are both the student's."""
    return _amkd("B")


def _amkd_c() -> Objective:
    """AMKD, variant C: variant B with margins calibrated by the teacher."""
    return _amkd("C")


method("ce", _ce)
method("kd", _kd)
method("bss", _bss)
method("triplet-kd", _triplet_kd)
method("amkd", _amkd_a)
method("amkd-student", _amkd_b)
method("amkd-calibrated", _amkd_c)
OURS = tuple(methods)  # those of this file: boundary samples and their chain; the literature's are in zoo


def known_terms() -> dict[str, Term]:
    """Return every term of every method by label, as the first method that has it sets it."""
    found: dict[str, Term] = {}
    for make in methods.values():
        for term, _ in make().summands:
            found.setdefault(term.label, term)
    return found
