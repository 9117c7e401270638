"""How much memory a training takes, in words."""

from __future__ import annotations

import sys

import torch

__all__ = ["memory_words"]


def memory_words(device: torch.device) -> str:
    """The accelerator's peak, or this process' peak on the CPU; empty where the system does not say."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GB on the GPU"
    try:
        import resource
    except ImportError:
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.1f} GB of memory"
