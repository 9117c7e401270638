"""What the terms of the literature share: a student and a teacher, compared in float32."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier, Layer, Outputs
from amkd_viz.objectives.algebra import Shapes, Term, wire
from amkd_viz.objectives.step import Read, Step

__all__ = ["Logits", "Pair", "kl", "onehot"]


def kl(s: Tensor, t: Tensor, temperature: float = 1.0) -> Tensor:
    """Return KL(softmax(t / temperature) || softmax(s / temperature)) of each row (N, K), finite for any logits."""
    log_q, log_p = (s / temperature).log_softmax(1), (t / temperature).log_softmax(1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def onehot(y: Tensor, like: Tensor) -> Tensor:
    """Return (N, K) ones at the labels, in the type of logits ``like``; no value is read on the host."""
    return (y[:, None] == torch.arange(like.shape[1], device=y.device)).to(like.dtype)


@dataclass(frozen=True, repr=False)
class Pair(Term):
    """A loss between the student and a teacher, computed in float32 (float64 stays), also under autocast.

    Attributes:
        maps: whether its layers must be maps (C, H, W).
        taught: the batch that the teacher sees, where it is not the student's.
    """

    group: ClassVar[str] = "feature"
    maps: ClassVar[bool] = False
    taught: ClassVar[str | None] = None
    teacher: str = wire("teacher", "net that is copied")

    @abstractmethod
    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        """Return the loss, () or (N,), of the student's outputs and the teacher's, which carry no gradient."""

    def layers(self) -> Sequence[Layer]:
        """Return the layers of both nets that are read."""
        return ()

    def seen(self) -> list[tuple[str, str]]:
        """Return the student and the teacher, each with its batch."""
        return [("student", self.on), (self.teacher, self.taught or self.on)]

    def reads(self) -> list[Read]:
        return [(net, on, layer) for net, on in self.seen() for layer in (None, *self.layers())]

    def module(self, shapes: Shapes, nets: Mapping[str, Classifier]) -> nn.Module | None:
        """Check that layers which must be maps are maps; return what is learned.

        Raises:
            InputError: a layer is not (C, H, W), as in an MLP or a transformer.
        """
        for net, _, layer in self.reads():
            if self.maps and layer is not None and len(shape := shapes[net, layer]) != 3:
                raise InputError(
                    f"{self.name} needs maps (C, H, W), but layer {layer} of the {net} is {shape}; choose a "
                    "convolutional net."
                )
        return self.learned({net: [shapes[net, layer] for n, _, layer in self.reads() if n == net] for net in nets})

    def learned(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> nn.Module | None:
        """Return a part that is learned with the student, or None.

        Args:
            shapes: net -> shape of its features, then of each of its layers, without N.
        """
        return None

    def widths(self, shapes: Mapping[str, Sequence[tuple[int, ...]]], place: int = 0) -> tuple[int, int]:
        """Return the numbers of features (place 0) or channels (of layer ``place`` - 1) of student and teacher."""
        return shapes["student"][place][0], shapes[self.teacher][place][0]

    def __call__(self, step: Step) -> Tensor:
        s, t = (step.outputs(net, on) for net, on in self.seen())
        if not len(s.logits):  # an empty batch of boundary samples: 0, with a gradient
            return s.logits.sum(1)
        with torch.autocast(s.logits.device.type, enabled=False):
            return self.loss(self._wide(s), self._frozen(t), step)

    def _wide(self, outputs: Outputs) -> Outputs:
        layers = {layer: outputs.layers[layer] for layer in self.layers() if layer in outputs.layers}
        return outputs._replace(layers={n: a if a.dtype == torch.float64 else a.float() for n, a in layers.items()})

    def _frozen(self, t: Outputs) -> Outputs:
        wide = self._wide(t)
        return Outputs(t.logits.detach(), t.features.detach(), {n: a.detach() for n, a in wide.layers.items()})


@dataclass(frozen=True, repr=False)
class Logits(Pair):
    """A loss on the logits of any batch."""

    group: ClassVar[str] = "logit"
    on: str = wire("clean", "batch on which the nets are compared")

    @abstractmethod
    def rows(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Return the loss, () or (N,), of logits (N, K) and labels (N,)."""

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        return self.rows(s.logits, t.logits, step.batch(self.on).y)

    def _wide(self, outputs: Outputs) -> Outputs:
        return outputs

    def _frozen(self, t: Outputs) -> Outputs:
        logits = t.logits.detach()
        return Outputs(logits, logits, {})  # features of an attacked net would cost one more pass
