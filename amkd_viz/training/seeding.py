"""All chance of a training step comes from its place, what a net draws for itself (dropout) included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from amkd_viz.core.pauses import without_pauses
from amkd_viz.core.rng import defaults_seeded, mix
from amkd_viz.models.classifier import buffers_kept

__all__ = ["Chance"]


class Chance:
    """Seeds the generator of a step, and PyTorch's default ones where the student draws from them.

    Args:
        student: as it will be trained. x: (2, ...) inputs on its device, to see whether it draws.

    Attributes:
        generator: of our own, on the device. draws: whether the student draws from the default generators.
    """

    def __init__(self, seed: int, student: nn.Module, x: Tensor) -> None:
        self._seed = seed
        self.generator = torch.Generator(x.device)
        self._defaults = _defaults(x.device)
        self.draws = self._draws(student, x)

    @contextmanager
    def at(self, epoch: int, batch: int) -> Iterator[None]:
        """Within, chance is that of a place; afterwards the default generators are as they were."""
        if self.draws:
            with defaults_seeded(0, self._defaults), without_pauses():  # who is held would hold up all others
                self.seed(epoch, batch)
                yield
        else:
            self.seed(epoch, batch)
            yield

    def seed(self, epoch: int, batch: int) -> None:
        """Begin the chance of a place anew; from within ``at``."""
        self.generator.manual_seed(mix(self._seed, "step", epoch, batch))
        if self.draws:
            for own in self._defaults:
                own.manual_seed(mix(self._seed, "layers", epoch, batch))

    def _draws(self, student: nn.Module, x: Tensor) -> bool:
        training, put_back = student.training, buffers_kept(student)
        with defaults_seeded(0, self._defaults), torch.no_grad():
            before = [own.get_state() for own in self._defaults]
            student.train()(x)
            drawn = any(not torch.equal(a, own.get_state()) for a, own in zip(before, self._defaults, strict=True))
        student.train(training)
        put_back()
        return drawn


def _defaults(device: torch.device) -> list[torch.Generator]:
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]
