"""Attacks: each puts samples across, or near, a decision boundary and returns ``BoundarySamples``."""

from amkd_viz.boundary.samplers.bss import Look, bss
from amkd_viz.boundary.samplers.others import deepfool, fgsm, noise

__all__ = ["Look", "bss", "deepfool", "fgsm", "noise"]
