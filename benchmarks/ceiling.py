"""What this machine can do at most in the convolutions of a CIFAR ResNet-26: measured, not read from a data sheet."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F

from amkd_viz.boundary import BoundarySamples

from .timing import seconds

__all__ = ["PASS", "attack_limit", "conv_speed"]

PASS = 2 * 54.7e6  # operations of one image going through ResNet-26 once, forward or back to the input
STAGES = ((16, 32), (32, 16), (64, 8))  # channels and side: a third of the operations each


def conv_speed(dtype: torch.dtype, threads: int, images: int = 64, tries: int = 15) -> float:
    """Operations per second of 3x3 convolutions alone, channels_last: the best of ``tries`` in each stage of the net,
    over the three stages together."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    took = 0.0
    for channels, side in STAGES:
        x = torch.randn(images, channels, side, side, dtype=dtype).to(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
        with torch.no_grad():
            best = min(seconds(lambda x=x, w=w: F.conv2d(x, w, padding=1), clock) for _ in range(tries))  # type: ignore[misc]
        took += best / (2 * 9 * images * (channels * side) ** 2)
    return len(STAGES) / took


def attack_limit(ours: BoundarySamples, base: float, threads: int) -> dict[str, dict[str, float]]:
    """How many times faster than ``base`` seconds an attack could be that did nothing but its convolutions.

    Args:
        ours: the attack's result, for the passes that no implementation can leave out.
        base: seconds of what it is compared with. threads: of PyTorch.
    """
    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        speed = conv_speed(dtype, threads)
        passes = ours.passes.forward + ours.passes.backward
        found[name] = {
            "passes": passes,
            "GFLOP": round(passes * PASS / 1e9, 2),
            "conv GFLOP/s": round(speed / 1e9, 1),
            "times faster at most": round(base / (passes * PASS / speed), 2),
        }
    return found
