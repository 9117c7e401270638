"""The samplers by name, with the fields that each one has."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from torch import Tensor, nn

from amkd_viz.boundary.sampler import samplers
from amkd_viz.boundary.samples import BoundarySamples
from amkd_viz.core.rng import generator

__all__ = ["OPTIONS", "sample_by_name"]

OPTIONS = {name: tuple(f.name for f in fields(kind)) for name, kind in samplers.items()}


def sample_by_name(
    sampler: str, net: nn.Module, x: Tensor, target: Tensor, keep_path: bool = False, **options: Any
) -> BoundarySamples:
    """Return boundary samples of ``x`` by the sampler of that name; the same random numbers each time."""
    made, random = samplers[sampler](**options), generator("cpu", "sample lab")
    return made.trajectory(net, x, target, random) if keep_path else made(net, x, target, random)
