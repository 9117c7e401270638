"""Attacks that make boundary samples, one a file: a pure function and the ``Sampler`` that a recipe can name."""

from amkd_viz.boundary.attacks.bss import BSS, bss
from amkd_viz.boundary.attacks.deepfool import DeepFool, deepfool
from amkd_viz.boundary.attacks.fgsm import FGSM, fgsm
from amkd_viz.boundary.attacks.noise import Noise, noise
from amkd_viz.boundary.attacks.particles import Particles, particles

__all__ = ["BSS", "FGSM", "DeepFool", "Noise", "Particles", "bss", "deepfool", "fgsm", "noise", "particles"]
