"""Published and proposed objectives by name.

Schedules are those of arXiv 1805.05532, section 4.1: the weight of KD goes from 4 to 1 over training, that of the
boundary samples from 2 to 0 at three quarters, after which the attack is not run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.objectives.algebra import Objective, Summand
from amkd_viz.objectives.terms.soft_targets import boundary_kd, ce, kd
from amkd_viz.objectives.terms.triplets import boundary_triplet, triplet
from amkd_viz.objectives.weights import constant, linear

__all__ = ["methods"]

Make = TypeVar("Make", bound=Callable[[], Summand])
NAME = re.compile(r"[a-z][a-z0-9-]*")


def _ce() -> Objective:
    """Labels only: the student without a teacher."""
    return ce() * constant(1)


def _kd() -> Objective:
    """Knowledge distillation on clean images."""
    return ce() + kd(temperature=3) * linear(4, 1)


def _bss() -> Objective:
    """KD, and KD on boundary supporting samples (Heo et al., AAAI 2019)."""
    return _kd() + boundary_kd(temperature=3) * linear(2, 0, until=0.75)


def _triplet_kd() -> Objective:
    """Triplet distillation on clean images (Oki et al., IJCNN 2020)."""
    return ce() + triplet(margin=5) * 2


def _amkd(reading: str) -> Objective:
    return _bss() + boundary_triplet(reading=reading) * linear(1, 0, until=0.75)


def _amkd_a() -> Objective:
    """AMKD, reading A (default): the teacher's boundary sample is the anchor, the student's the positive."""
    return _amkd("A")


def _amkd_b() -> Objective:
    """AMKD, reading B: anchor and positive are both the student's."""
    return _amkd("B")


def _amkd_c() -> Objective:
    """AMKD, reading C: reading B with margins calibrated by the teacher."""
    return _amkd("C")


class Methods(Mapping[str, Callable[[], Objective]]):
    """Name -> function that makes the objective; calling it lists the names.

    >>> methods()
    ['ce', 'kd', 'bss', 'triplet-kd', 'amkd', 'amkd-student', 'amkd-calibrated']
    >>> print(methods["kd"]())
    ce() + 4->1 * kd(temperature=3, t2=False)
    """

    def __init__(self, made: dict[str, Callable[[], Objective]]) -> None:
        self._made = made
        self._ours = tuple(made)

    def register(self, name: str) -> Callable[[Make], Make]:
        """Give a sum of your own a name, for this process: recipes, comparisons and panels then know it.

        Its function's docstring is shown beside it. Another process that opens such a run registers the name first.

        Raises:
            InputError: not a name of lower-case letters, digits and "-", or one of ours; or what the function returns
                is no sum of terms.

        >>> from amkd_viz.objectives import ce, kd
        >>> @methods.register("hot-kd")
        ... def hot_kd():
        ...     "KD at a high temperature."
        ...     return ce() + kd(temperature=9)
        >>> print(methods["hot-kd"](), "|", methods.about("hot-kd"))
        ce() + kd(temperature=9, t2=False) | KD at a high temperature.
        >>> methods.forget("hot-kd")
        """
        if not NAME.fullmatch(name):
            raise InputError(f"A method's name is made of lower-case letters, digits and '-', not {name!r}.")
        if name in self._ours:
            raise InputError(f"{name!r} is a method of amkd_viz; choose another name.")

        def keep(make: Make) -> Make:
            made = make()
            if not isinstance(made, Summand):
                raise InputError(f"Method {name!r} must return a sum of terms, such as ce() + kd(), not {made!r}.")

            def objective() -> Objective:
                return Objective(make().parts())

            objective.__doc__ = make.__doc__
            self._made[name] = objective
            return make

        return keep

    def forget(self, name: str) -> None:
        """Take a registered name away."""
        if name not in self._ours:
            self._made.pop(name, None)

    def __getitem__(self, name: str) -> Callable[[], Objective]:
        if name not in self._made:
            raise InputError(f"{unknown('method', name, self._made)} A sum of your own: methods.register({name!r}).")
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __call__(self) -> list[str]:
        return list(self._made)

    def about(self, name: str) -> str:
        """One line about a method."""
        return (self[name].__doc__ or "").strip()


methods = Methods(
    {
        "ce": _ce,
        "kd": _kd,
        "bss": _bss,
        "triplet-kd": _triplet_kd,
        "amkd": _amkd_a,
        "amkd-student": _amkd_b,
        "amkd-calibrated": _amkd_c,
    }
)
