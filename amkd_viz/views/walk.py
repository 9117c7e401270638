"""One sample's attack path: its images, each net's predictions on them, and where each net crosses its boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.views.crossings import Crossing, crossings
from amkd_viz.views.decisions import logits_at

__all__ = ["Walk", "magnifier", "walk"]

FACTORS = (100, 50, 30, 20, 10, 5, 3, 2, 1)


@dataclass(frozen=True, eq=False)
class Walk:
    """The path of one attacked sample, in S steps.

    Attributes:
        path: (S + 2, ...) the iterates from the base image on, and last the point of the first crossing (without one:
            the last iterate again).
        at: (S + 2,) their positions in steps: 0 .. S, and the first crossing between two of them.
        attacked: name of the net that was attacked.
        base, target: the attacked net's class of the base image, and the target class.
        crossed: whether the attacked net changed its class.
        logits: per net (S + 2, K), on the CPU.
        crossings: per net, where it changes its class on this path.
    """

    path: Tensor
    at: NDArray[np.float64]
    attacked: str
    base: int
    target: int
    crossed: bool
    logits: dict[str, Tensor]
    crossings: dict[str, list[Crossing]]

    @property
    def steps(self) -> int:
        return len(self.path) - 2

    def gap(self, name: str) -> NDArray[np.float32]:
        """Return (S + 2,) the logit of the base class minus that of the target class: above 0 on the base's side."""
        z = self.logits[name]
        return np.asarray((z[:, self.base] - z[:, self.target]).numpy())

    def first(self, name: str) -> list[float] | None:
        """Return where a net first changes its class, in steps, and its logit gap there; None if it does not."""
        if not self.crossings[name]:
            return None
        z = self.crossings[name][0].logits
        return [self.crossings[name][0].at, float(z[self.base] - z[self.target])]

    def changed(self, most: int) -> list[int]:
        """Return at most ``most`` >= 2 iterates, the first and the last among them: those between which the image and
        the predictions change alike."""
        end = self.steps
        moved = (self.path[1 : end + 1] - self.path[:end]).flatten(1).norm(dim=1).cpu()
        turns = [z[: end + 1].softmax(1).diff(dim=0).abs().sum(1) for z in self.logits.values()]
        turned = torch.stack(turns).sum(0)
        share = [step / step.sum().clamp_min(1e-9) for step in (moved, turned)]
        way = np.append(0.0, np.cumsum((share[0] + share[1]).numpy()))
        wanted = np.linspace(0, way[-1], min(most, end + 1))
        return sorted({0, end, *(int(np.abs(way - w).argmin()) for w in wanted)})

    def l2(self) -> NDArray[np.float32]:
        """Return (S + 2,) the distance from the base image, in units of pixel values in [0, 1]."""
        return np.asarray((self.path - self.path[:1]).flatten(1).norm(dim=1).cpu().numpy())

    def difference(self) -> NDArray[np.float32]:
        """Return (S + 2, H, W) the difference from the base image, averaged over channels."""
        return np.asarray((self.path - self.path[:1]).mean(1).cpu().numpy())

    def leading(self, most: int = 5) -> list[int]:
        """Return base class, target class and the others with the highest probability of any net on the path."""
        highest = torch.stack([z.softmax(1).amax(0) for z in self.logits.values()]).amax(0)
        others = [k for k in highest.argsort(descending=True).tolist() if k not in (self.base, self.target)]
        first = list(dict.fromkeys([self.base, self.target]))
        return [*first, *others][: min(most, len(highest))]


def walk(nets: Mapping[str, nn.Module], samples: BoundarySamples, which: int = 0, attacked: str | None = None) -> Walk:
    """Follow sample ``which``.

    Args:
        nets: classifiers by name.
        samples: made with ``keep_path=True``.
        attacked: the net they were made on; by default the first.

    Raises:
        InputError: the samples have no path, or the sample or net does not exist.
    """
    if samples.path is None:
        raise InputError("These samples have no path; make them with keep_path=True.")
    if not 0 <= which < len(samples):
        raise InputError(f"which must be 0 to {len(samples) - 1}, got {which}.")
    own = samples[which : which + 1]
    steps = int(own.steps)
    assert own.path is not None
    iterates = own.path[: steps + 1, 0]
    first = next(iter(nets)) if attacked is None else attacked
    if first not in nets:
        raise unknown("net", first, nets)
    ways = {name: crossings(net, iterates) for name, net in nets.items()}
    left = ways[first][0] if ways[first] else None
    path = torch.cat([iterates, iterates[-1:] if left is None else left.x[None]])
    at = np.append(np.arange(steps + 1.0), float(steps) if left is None else left.at)
    logits = {name: logits_at(net, path).cpu() for name, net in nets.items()}
    return Walk(path, at, first, int(own.base), int(own.target), bool(own.crossed), logits, ways)


def magnifier(difference: NDArray[np.float32]) -> int:
    """Return the largest of 1, 2, 3, 5, 10, 20, 30, 50 and 100 that keeps ``difference`` times it within [-1, 1].

    >>> magnifier(np.array([0.03, -0.19]))
    5
    """
    largest = float(np.abs(np.nan_to_num(difference)).max(initial=0.0))
    return next((factor for factor in FACTORS if largest * factor <= 1), 1)
