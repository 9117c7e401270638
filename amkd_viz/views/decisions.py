"""What a net predicts at many inputs: class, confidence, margin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.models import freeze
from amkd_viz.training.evaluation import inputs_at_once

__all__ = ["DISTINCT", "Decisions", "agreement", "by_area", "decide", "decisions", "joined", "letters", "logits_at"]

DISTINCT = 10  # classes whose colours differ at a glance; regions of more carry a letter, too
MOST = 12  # letters on a map


class Decisions(NamedTuple):
    """Predictions at N inputs. Where logits are not finite the class is -1 and the numbers are 0.

    Attributes:
        winner: (N,) int16 class, the arg-max of the logits.
        confidence: (N,) float32, the largest probability.
        margin: (N,) float32, the largest probability minus the second.
    """

    winner: NDArray[np.int16]
    confidence: NDArray[np.float32]
    margin: NDArray[np.float32]

    def shaped(self, *shape: int) -> Decisions:
        """Return the same decisions in another shape."""
        return Decisions(self.winner.reshape(shape), self.confidence.reshape(shape), self.margin.reshape(shape))


def logits_at(model: nn.Module, x: Tensor, batch_size: int | None = None) -> Tensor:
    """Return float32 logits (N, K) at x (N, ...), N >= 1, in eval mode without gradients; flags are restored.

    ``x`` is moved to the net's device.
    """
    return torch.cat(list(_batches(model, x, batch_size)))


def _batches(model: nn.Module, x: Tensor, batch_size: int | None) -> Iterator[Tensor]:
    x = x.to(next((p.device for p in model.parameters()), x.device))
    with freeze(model), torch.no_grad():
        for part in x.split(batch_size or inputs_at_once(x.shape[1:], x.device)):
            yield model(part).float()


def decisions(logits: Tensor) -> Decisions:
    """Return class, confidence and margin of logits (N, K), K >= 1."""
    finite = logits.isfinite().all(1)
    top = logits.masked_fill(~finite[:, None], 0).softmax(1).topk(min(2, logits.shape[1])).values * finite[:, None]
    margin = top[:, 0] - top[:, 1] if top.shape[1] > 1 else top[:, 0]
    winner = torch.where(finite, logits.argmax(1), -1).to(torch.int16)
    return Decisions(winner.cpu().numpy(), top[:, 0].cpu().numpy(), margin.cpu().numpy())


def decide(model: nn.Module, x: Tensor, batch_size: int | None = None, temperature: float = 1.0) -> Decisions:
    """Evaluate a net at x (N, ...), N >= 1, without holding the logits of more than a batch.

    Args:
        temperature: divides the logits: softer probabilities, the same classes.
    """
    return joined(decisions(logits / temperature) for logits in _batches(model, x, batch_size))


def joined(parts: Iterable[Decisions]) -> Decisions:
    """Return decisions at the inputs of several (N,), one after the other."""
    return Decisions(*map(np.concatenate, zip(*parts, strict=True)))


def agreement(a: Decisions, b: Decisions, *, where: NDArray[np.bool_] | None = None) -> float:
    """Return the share of inputs (of those ``where``) for which two nets predict the same class, NaN without inputs.

    An undecided prediction agrees with none.
    """
    same = (a.winner == b.winner) & (a.winner >= 0)
    same = same if where is None else same[where]
    return float(same.mean()) if same.size else float("nan")


def letters(maps: Sequence[Decisions], classes: int) -> list[dict[int, tuple[int, int]]]:
    """Return where each map (R, R) has the letters of its classes: class -> row and column of the cell that is farthest
    from other classes and from the edge, counted in steps up, down, left or right.

    The largest regions have one, but for thin ones; none have where there are only a few classes.
    """
    if classes <= DISTINCT:
        return [{} for _ in maps]
    shown = by_area(maps, classes)[:MOST]
    return [_middles(found.winner, shown) for found in maps]


def _middles(winner: NDArray[Any], classes: Sequence[int]) -> dict[int, tuple[int, int]]:
    side, place = len(winner), np.arange(len(winner) + 2, dtype=np.int16)
    own = np.reshape(classes, (-1, 1, 1)) == winner
    far = np.pad(np.where(own, np.int16(2 * side), np.int16(0)), ((0, 0), (1, 1), (1, 1)))
    for axis in (1, 2):
        at = place.reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
        for _ in range(2):  # from one side, then from the other
            far = np.flip(np.minimum.accumulate(far - at, axis) + at, axis)
    found = {}
    for k, steps in zip(classes, far[:, 1:-1, 1:-1], strict=True):
        row, column = divmod(int(steps.argmax()), side)
        if steps[row, column] > side / 30:
            found[k] = row, column
    return found


def by_area(maps: Sequence[Decisions], classes: int) -> list[int]:
    """Return the classes that occur on maps, largest region first."""
    winners = np.concatenate([found.winner[found.winner >= 0].ravel() for found in maps])
    counts = np.bincount(winners, minlength=classes)
    return [int(k) for k in (-counts).argsort(kind="stable") if counts[k]]
