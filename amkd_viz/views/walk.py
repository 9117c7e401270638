"""One sample's attack path: its images, each net's predictions on them, and where each net crosses its boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples, Status, refine
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.views.decisions import logits_at

__all__ = ["Crossing", "Walk", "magnifier", "walk"]

FACTORS = (100, 50, 30, 20, 10, 5, 3, 2, 1)


class Crossing(NamedTuple):
    """Where a net leaves the class it predicts for the base image, found by bisection between two iterates.

    Attributes:
        at: in steps, with a fraction. x: (...) the image there. gap: the net's logit gap there.
    """

    at: float
    x: Tensor
    gap: float


@dataclass(frozen=True, eq=False)
class Walk:
    """The path of one attacked sample, in S steps.

    Attributes:
        path: (S + 2, ...) the iterates from the base image on, and last the refined point of the boundary.
        at: (S + 2,) their positions in steps: 0 .. S, and the refined point between two of them.
        attacked: name of the net that was attacked.
        base, target: the attacked net's class of the base image, and the target class.
        crossed: whether the attacked net changed its class.
        logits: per net (S + 2, K), on the CPU.
        crossings: per net, where it leaves its class of the base image, or None.
    """

    path: Tensor
    at: NDArray[np.float64]
    attacked: str
    base: int
    target: int
    crossed: bool
    logits: dict[str, Tensor]
    crossings: dict[str, Crossing | None]

    @property
    def steps(self) -> int:
        return len(self.path) - 2

    def gap(self, name: str) -> NDArray[np.float32]:
        """Return (S + 2,) the logit of the base class minus that of the target class: above 0 on the base's side."""
        z = self.logits[name]
        return np.asarray((z[:, self.base] - z[:, self.target]).numpy())

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
    refined = refine(nets[first], own)
    path = torch.cat([iterates, refined.x])
    at = np.append(np.arange(steps + 1.0), _position(iterates, steps, refined.x) if steps else 0.0)
    logits = {name: logits_at(net, path).cpu() for name, net in nets.items()}
    base, target = int(own.base), int(own.target)
    made = Walk(path, at, first, base, target, bool(own.crossed), logits, {})
    for name, net in nets.items():
        if name == first:
            gap = float(made.gap(name)[-1])
            made.crossings[name] = Crossing(float(at[-1]), path[-1], gap) if made.crossed else None
        else:
            made.crossings[name] = _crossing(net, own, iterates, logits[name][: steps + 1].argmax(1), (base, target))
    return made


def _crossing(
    net: nn.Module, own: BoundarySamples, iterates: Tensor, winner: Tensor, sides: tuple[int, int]
) -> Crossing | None:
    """Bisect the segment of the path on which another net leaves its first class."""
    left = (winner != winner[0]).nonzero()
    if not len(left):
        return None
    step = int(left[0])
    piece = replace(
        own,
        inside=iterates[step - 1 : step],
        x=iterates[step : step + 1],
        base=torch.full_like(own.base, int(winner[0])),
        status=torch.full_like(own.status, int(Status.OTHER)),
    )
    x = refine(net, piece).x
    z = logits_at(net, x)[0]
    return Crossing(_position(iterates, step, x), x[0], float(z[sides[0]] - z[sides[1]]))


def _position(iterates: Tensor, step: int, x: Tensor) -> float:
    """Return where x (1, ...) lies on the segment that ends at iterate ``step``, in steps."""
    start, end = iterates[step - 1], iterates[step]
    length = float((end - start).norm())
    return step - 1 + (float((x[0] - start).norm()) / length if length else 1.0)


def magnifier(difference: NDArray[np.float32]) -> int:
    """Return the largest of 1, 2, 3, 5, 10, 20, 30, 50 and 100 that keeps ``difference`` times it within [-1, 1].

    >>> magnifier(np.array([0.03, -0.19]))
    5
    """
    largest = float(np.abs(np.nan_to_num(difference)).max(initial=0.0))
    return next((factor for factor in FACTORS if largest * factor <= 1), 1)
