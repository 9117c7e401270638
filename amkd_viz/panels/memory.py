"""Peak memory of a training, in words."""

from __future__ import annotations

import sys

import torch

__all__ = ["memory_words"]


def memory_words(device: torch.device) -> str:
    """Return the peak of the accelerator, or of this process on the CPU; empty if the system does not report it."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GB on the GPU"
    try:
        import resource
    except ImportError:
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.1f} GB of memory"
