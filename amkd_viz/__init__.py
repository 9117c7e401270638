"""See and steer Adversarial Metric Knowledge Distillation.

What a notebook needs is here, imported when first used, so that ``import amkd_viz`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from amkd_viz.core.version import __version__ as __version__

if TYPE_CHECKING:
    from amkd_viz.data import load
    from amkd_viz.models import build, load_teacher
    from amkd_viz.objectives import methods
    from amkd_viz.panels import BoundaryLab, DistillLab, EmbeddingLab, FleetView, MethodRace, SampleLab
    from amkd_viz.runs import Run, distill, example
    from amkd_viz.training import Recipe

__all__ = [
    "BoundaryLab",
    "DistillLab",
    "EmbeddingLab",
    "FleetView",
    "MethodRace",
    "Recipe",
    "Run",
    "SampleLab",
    "build",
    "distill",
    "example",
    "load",
    "load_teacher",
    "methods",
]

_HOMES = {
    "load": "data",
    "build": "models",
    "load_teacher": "models",
    "methods": "objectives",
    "Recipe": "training",
    "Run": "runs",
    "distill": "runs",
    "example": "runs",
    "BoundaryLab": "panels",
    "DistillLab": "panels",
    "EmbeddingLab": "panels",
    "FleetView": "panels",
    "MethodRace": "panels",
    "SampleLab": "panels",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'amkd_viz' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"amkd_viz.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
