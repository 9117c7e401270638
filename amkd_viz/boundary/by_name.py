"""The samplers by name, for those to whom a person or a file names one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from amkd_viz.boundary.samplers.bss import bss
from amkd_viz.boundary.samplers.others import deepfool, fgsm, noise
from amkd_viz.boundary.samples import BoundarySamples
from amkd_viz.core.rng import generator

__all__ = ["OPTIONS", "sample_by_name"]

SAMPLERS = {"bss": bss, "fgsm": fgsm, "noise": noise, "deepfool": deepfool}
OPTIONS = {  # of each sampler, what can be chosen
    "bss": ("step_size", "steps", "step_rule", "space"),
    "fgsm": ("epsilon",),
    "noise": ("epsilon",),
    "deepfool": ("steps",),
}


def sample_by_name(sampler: str, net: nn.Module, x: Tensor, target: Tensor, **options: Any) -> BoundarySamples:
    """Boundary samples of ``x`` by the sampler of that name, one of ``OPTIONS``; the same noise each time."""
    if sampler == "noise":
        options["generator"] = generator("cpu", "sample lab")
    return SAMPLERS[sampler](net, x, target, **options)  # type: ignore[operator]
