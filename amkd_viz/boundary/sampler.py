"""The interface of samplers of boundary samples, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.boundary.samples import BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import Fields
from amkd_viz.core.registry import Registry

__all__ = ["Attack", "Sampler", "samplers"]


@dataclass(frozen=True, repr=False)
class Sampler(Fields, ABC):
    """How boundary samples are made: a frozen dataclass whose fields are the settings of one attack.

    Register a subclass by ``samplers.register(name)``; recipes, ``--sampler`` and panels then know it.

    Attributes:
        static: no shape and no branch depends on values, so that a CUDA graph can hold the attack.
    """

    static: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, net: nn.Module, x: Tensor, target: Tensor, generator: torch.Generator) -> BoundarySamples:
        """Return boundary samples of ``net``.

        Args:
            net: the classifier to attack, left as it is (modes, gradients, batch statistics).
            x: (M, ...) images in [0, 1], or points. target: (M,) int64 classes to move to.
            generator: on the device of ``x``, for every random draw.
        """

    def trajectory(self, net: nn.Module, x: Tensor, target: Tensor, generator: torch.Generator) -> BoundarySamples:
        """Return the same samples, with every iterate in ``path`` if this sampler keeps them."""
        return self(net, x, target, generator)


@dataclass(frozen=True, repr=False)
class Attack(Sampler):
    """A sampler that calls a pure function with its fields.

    Attributes:
        function: takes (net, x, target), the fields by name, ``keep_path`` and ``check``. draws: and a ``generator``.
    """

    function: ClassVar[Callable[..., BoundarySamples]]
    draws: ClassVar[bool] = False

    def __call__(
        self, net: nn.Module, x: Tensor, target: Tensor, generator: torch.Generator, keep_path: bool = False
    ) -> BoundarySamples:
        more = {"generator": generator} if self.draws else {}
        return type(self).function(net, x, target, **asdict(self), **more, keep_path=keep_path, check=False)

    def trajectory(self, net: nn.Module, x: Tensor, target: Tensor, generator: torch.Generator) -> BoundarySamples:
        return self(net, x, target, generator, keep_path=True)


def _check(name: str, thing: Any) -> type[Sampler]:
    if not (isinstance(thing, type) and issubclass(thing, Sampler)):
        raise InputError(f"Sampler {name!r} must be a subclass of boundary.Sampler, got {thing!r}.")
    thing()  # every field needs a default
    return thing


samplers: Registry[type[Sampler]] = Registry("sampler", _check, "samplers.register")
