"""Which device a recipe means."""

from __future__ import annotations

import torch

from amkd_viz.errors import InputError, unknown

__all__ = ["pick_device"]

KINDS = ("cpu", "cuda", "mps", "xpu")


def pick_device(name: str) -> torch.device:
    """``auto`` is the first CUDA device, else the CPU.

    Raises:
        InputError: no such kind of device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in KINDS:
        raise unknown("device", name, ["auto", *KINDS])
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0].partition(". ")[0].removesuffix(".")
        raise InputError(f"Device {name!r} is not usable here: {why}; use 'auto' or 'cpu'.") from error
    return device
