"""Each training step, dropout included, is seeded by (seed, epoch, batch), so a resumed run is bit-identical."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from amkd_viz.core.pauses import without_pauses
from amkd_viz.core.ranks import ALONE, Ranks
from amkd_viz.core.rng import defaults_seeded, mix
from amkd_viz.models.classifier import buffers_kept

__all__ = ["Seeding"]


class Seeding:
    """Seeds the RNG of a step, and PyTorch's default RNGs where a learning net draws from them.

    Args:
        nets: the nets that learn. x: (2, ...) inputs on their device, to see whether they draw.
        ranks: dropout differs from rank to rank. apart: so do all other draws of the step.

    Attributes:
        generator: the RNG of the step, on the device. draws: whether a net draws from the default RNGs (dropout).
    """

    def __init__(
        self, seed: int, nets: Iterable[nn.Module], x: Tensor, ranks: Ranks = ALONE, apart: bool = False
    ) -> None:
        self._seed = seed
        self._rank = [ranks.rank] if ranks.rank else []
        self._apart = self._rank if apart else []
        self._place = (0, 0)
        self.generator = torch.Generator(x.device)
        self._defaults = _defaults(x.device)
        self.draws = any(self._draws(net, x) for net in nets)

    @contextmanager
    def at(self, epoch: int, batch: int) -> Iterator[None]:
        """Seed the step of a batch; afterwards the default RNGs are as they were."""
        self._place = epoch, batch
        if self.draws:
            with defaults_seeded(0, self._defaults), without_pauses():  # a paused thread would block all others
                self.seed()
                yield
        else:
            self.seed()
            yield

    def seed(self) -> None:
        """Start the RNGs of the step anew; from within ``at``."""
        self.generator.manual_seed(mix(self._seed, "step", *self._place, *self._apart))
        self._seed_layers()

    @contextmanager
    def cell(self, net: str, on: str) -> Iterator[None]:
        """Seed the default RNGs for one net's pass on one batch, so that the order of passes does not matter."""
        self._seed_layers(net, on)
        yield

    def _seed_layers(self, *cell: str) -> None:
        if self.draws:
            for own in self._defaults:
                own.manual_seed(mix(self._seed, "layers", *self._place, *cell, *self._rank))

    def _draws(self, net: nn.Module, x: Tensor) -> bool:
        training, put_back = net.training, buffers_kept(net)
        with defaults_seeded(0, self._defaults), torch.no_grad():
            before = [own.get_state() for own in self._defaults]
            net.train()(x)
            drawn = any(not torch.equal(a, own.get_state()) for a, own in zip(before, self._defaults, strict=True))
        net.train(training)
        put_back()
        return drawn


def _defaults(device: torch.device) -> list[torch.Generator]:
    if device.type != "cuda":
        return [torch.default_generator]
    return [torch.default_generator, torch.cuda.default_generators[device.index]]
