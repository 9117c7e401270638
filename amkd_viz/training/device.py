"""Which device a recipe means."""

from __future__ import annotations

import torch

from amkd_viz.errors import InputError

__all__ = ["pick_device"]


def pick_device(name: str) -> torch.device:
    """``auto`` is the first CUDA device, else the CPU.

    Raises:
        InputError: torch does not know the device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"Device {name!r} is not usable here: {str(error).splitlines()[0]}; use 'auto' or 'cpu'."
        ) from error
    return device
