"""Nets that are classifiers: normalise -> body -> head."""

from .classifier import Classifier, Embedding, Normalise, freeze
from .fold import inference_copy
from .weights import load_teacher, load_weights, save_classifier
from .wrapped import wrap
from .zoo import architectures, build

__all__ = [
    "Classifier",
    "Embedding",
    "Normalise",
    "architectures",
    "build",
    "freeze",
    "inference_copy",
    "load_teacher",
    "load_weights",
    "save_classifier",
    "wrap",
]
