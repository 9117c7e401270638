"""What a net decides at many inputs: class, confidence, margin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amkd_viz.models import freeze

__all__ = ["Decisions", "agreement", "decide"]


class Decisions(NamedTuple):
    """Of N inputs. Where a net gives no finite logits the class is -1 and the numbers are 0.

    Attributes:
        winner: (N,) int16 class, the arg-max of the logits.
        confidence: (N,) float32, the largest probability.
        margin: (N,) float32, the largest probability minus the second.
    """

    winner: NDArray[np.int16]
    confidence: NDArray[np.float32]
    margin: NDArray[np.float32]

    def shaped(self, *shape: int) -> Decisions:
        return Decisions(self.winner.reshape(shape), self.confidence.reshape(shape), self.margin.reshape(shape))


def decide(model: nn.Module, x: Tensor, batch_size: int = 2048) -> Decisions:
    """Evaluate a net at x (N, ...), in eval mode and without gradients; its flags are restored."""
    winners, confidences, margins = [], [], []
    with freeze(model), torch.no_grad():
        for part in x.split(batch_size) if len(x) else ():
            logits = model(part).float()
            finite = logits.isfinite().all(1)
            top = logits.masked_fill(~finite[:, None], 0).softmax(1).topk(2).values * finite[:, None]
            winners.append(torch.where(finite, logits.argmax(1), -1).to(torch.int16))
            confidences.append(top[:, 0])
            margins.append(top[:, 0] - top[:, 1])
    if not winners:
        return Decisions(np.zeros(0, np.int16), np.zeros(0, np.float32), np.zeros(0, np.float32))
    winner, confidence, margin = (torch.cat(found).cpu().numpy() for found in (winners, confidences, margins))
    return Decisions(winner, confidence, margin)


def agreement(a: Decisions, b: Decisions) -> float:
    """Share of the inputs at which two nets choose the same class; an undecided one agrees with nobody."""
    return float(((a.winner == b.winner) & (a.winner >= 0)).mean()) if a.winner.size else float("nan")
