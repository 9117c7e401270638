"""Classifiers: built by name, wrapped, saved and loaded, read layer by layer."""

from amkd_viz.models.classifier import Classifier, Normalise, Outputs, freeze
from amkd_viz.models.fold import inference_copy
from amkd_viz.models.imported import import_net
from amkd_viz.models.layers import Layer, Pre, pre
from amkd_viz.models.loading import load_teacher
from amkd_viz.models.weights import load_weights, save_classifier
from amkd_viz.models.wrapped import wrap
from amkd_viz.models.zoo import architectures, build, is_architecture, nets, register

__all__ = [
    "Classifier",
    "Layer",
    "Normalise",
    "Outputs",
    "Pre",
    "architectures",
    "build",
    "freeze",
    "import_net",
    "inference_copy",
    "is_architecture",
    "load_teacher",
    "load_weights",
    "nets",
    "pre",
    "register",
    "save_classifier",
    "wrap",
]
