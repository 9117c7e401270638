"""Events of a training, in the order in which they happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from amkd_viz.objectives import Batch
    from amkd_viz.training.training import Training

__all__ = ["Changed", "EpochEnded", "Event", "Finished", "Started", "Stepped", "Waiting"]


@dataclass(frozen=True)
class Waiting:
    """Another process or thread trains what this training needs; ``text`` says so, with its progress."""

    text: str


@dataclass(frozen=True)
class Started:
    """Everything is loaded and checked; training continues from ``training.epoch``."""

    training: Training


@dataclass(frozen=True)
class Changed:
    """Settings that a person (or a replay) changed just before batch ``batch`` of ``epoch``, both from 0."""

    epoch: int
    batch: int
    changes: dict[str, Any]


@dataclass(frozen=True)
class Stepped:
    """One optimiser step. ``terms`` are unweighted scalars on the device: reading one waits for it. On a GPU they and
    ``boundary`` may be overwritten by the next step: copy what is to be kept."""

    epoch: int
    batch: int
    batches: int
    terms: dict[str, Tensor]
    boundary: Batch | None


@dataclass(frozen=True)
class EpochEnded:
    """``epoch`` epochs are done; ``metrics`` are plain numbers, means over the epoch and scores on validation."""

    epoch: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """The last epoch is done; ``summary`` holds the numbers on the test split."""

    summary: dict[str, Any]


Event = Waiting | Started | Changed | Stepped | EpochEnded | Finished
