"""The samples that every attack returns, and the spaces in which attacks move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier
from amkd_viz.models.classifier import unwrapped

__all__ = ["BoundarySamples", "Passes", "Status", "logits_in", "space_of"]


def whole(value: Any, name: str, low: int = 1) -> int:
    """Return ``value`` as a whole number of at least ``low``; raise InputError if it is not one."""
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) >= low or float(value) % 1:
        raise InputError(f"{name} must be a whole number of at least {low}, got {value!r}.")
    return int(float(value))


class Status(IntEnum):
    """Where a sample ended: in its target class, in another class, or still in its base class."""

    NOT_CROSSED = 0
    TARGET = 1
    OTHER = 2


class Passes(NamedTuple):
    """Cost of a sampler, in passes of a single sample through the net."""

    forward: int
    backward: int


@dataclass(frozen=True)
class BoundarySamples:
    """M samples on their way across a decision boundary; every tensor is detached.

    Attributes:
        x: (M, ...) the first iterate past the boundary (or the last iterate), in the input space: images in [0, 1].
        base: (M,) class of the net on the origin.
        target: (M,) class the sample was sent to.
        status: (M,) a ``Status``.
        steps: (M,) updates applied.
        path: (S + 1, M, ...) the iterates, a sample that has stopped repeated; None unless asked for.
        passes: forward and backward passes, counted in single samples.
        inside: (M, ...) the last iterate in the base class.
        origin: (M, ...) where the samples started.
        logits: (M, K) of the attacked net on ``x``.
    """

    x: Tensor
    base: Tensor
    target: Tensor
    status: Tensor
    steps: Tensor
    path: Tensor | None
    passes: Passes
    inside: Tensor
    origin: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @property
    def crossed(self) -> Tensor:
        """(M,) bool: the net's class at ``x`` differs from its class at ``origin``."""
        return self.status != Status.NOT_CROSSED

    @property
    def gap(self) -> Tensor:
        """(M,) by how much the two largest probabilities of the attacked net differ at ``x``: 0 on its boundary."""
        largest = self.logits.softmax(1).topk(2).values
        return largest[:, 0] - largest[:, 1]

    def __getitem__(self, index: Tensor | slice) -> BoundarySamples:
        """Return the chosen samples; ``passes`` still counts the whole batch."""
        chosen = {
            name: getattr(self, name)[index]
            for name in ("x", "base", "target", "status", "steps", "inside", "origin", "logits")
        }
        return BoundarySamples(path=None if self.path is None else self.path[:, index], passes=self.passes, **chosen)


def check_target(target: Tensor, logits: Tensor, values: bool = True) -> None:
    """Check that ``target`` holds one class for each row of ``logits``; ``values`` reads it back (a sync on a GPU).

    Raises:
        InputError: another shape, no integers, or a class that the net does not know.
    """
    _check_tensor(target)
    count, classes = logits.shape
    if target.shape != (count,) or target.dtype != torch.long:
        raise InputError(
            f"target must hold one class per sample, int64 of shape ({count},), "
            f"got {str(target.dtype).removeprefix('torch.')} of shape {tuple(target.shape)}."
        )
    if values and count and not (int(target.min()) >= 0 and int(target.max()) < classes):
        raise InputError(
            f"target must hold classes from 0 to {classes - 1}, got {int(target.min())} to {int(target.max())}."
        )


def differentiable(t: Tensor) -> Tensor:
    """Return ``t``, or a copy that autograd accepts if ``t`` was made inside torch.inference_mode().

    Raises:
        InputError: ``t`` is not a tensor.
    """
    _check_tensor(t)
    return t.clone() if t.is_inference() else t


def _check_tensor(t: Any) -> None:
    if not isinstance(t, Tensor):
        raise InputError(f"x and target must be tensors, of samples and of int64 classes, got a {type(t).__name__}.")


def status_of(winner: Tensor, base: Tensor, target: Tensor) -> Tensor:
    """Return (M,) the ``Status`` of samples whose arg-max is now ``winner``."""
    return (winner != base) * (int(Status.OTHER) - (winner == target).long())  # TARGET is one less than OTHER


class Space(NamedTuple):
    """The space in which an attack moves: the maps into it and out of it, the net's logits there, the valid range."""

    enter: Callable[[Tensor], Tensor]
    leave: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]
    low: Tensor | float | None
    high: Tensor | float | None

    def clamp(self, z: Tensor) -> Tensor:
        return z if self.low is None else z.clamp(self.low, self.high)  # type: ignore[arg-type]  # both of a kind


def space_of(model: nn.Module, x: Tensor, space: str, clamp: float | tuple[float, float] | None) -> Space:
    """Return the ``space`` ("normalised" or "pixel") of a net for inputs like ``x``.

    ``clamp`` None is the valid pixel range for images and no range for points; a number c is [-c, c] in that space.

    Raises:
        InputError: the space or the range does not exist, or the net passes no gradient.
    """
    if any(p.is_inference() for p in model.parameters()):
        raise InputError(
            "The net was made or loaded inside torch.inference_mode(), so no gradient goes through it; make it "
            "outside, or attack a copy.deepcopy(net) that you make outside."
        )
    if space not in ("normalised", "pixel"):
        raise InputError(f"space must be 'normalised' or 'pixel', got {space!r}.")
    image = x.ndim == 4
    inner = unwrapped(model)
    own = inner if isinstance(inner, Classifier) and space == "normalised" else None
    if own is None and space == "normalised" and image:
        raise InputError(
            "The attack runs in the normalised space, but this module does not say how it normalises images; "
            "wrap(module, shape=, mean=, std=) it first, or pass space='pixel'."
        )
    low: Tensor | float | None = None
    high: Tensor | float | None = None
    if clamp is not None:
        low, high = clamp if isinstance(clamp, tuple | list) else (-clamp, clamp)
        if not low < high:
            raise InputError(f"clamp must be a positive number or (low, high) with low < high, got {clamp!r}.")
    elif image:
        low, high = 0.0, 1.0
        if own is not None:
            low, high = (own.normalise(torch.full_like(own.normalise.mean, edge)) for edge in (0.0, 1.0))
    boxed = image and clamp is None  # rounding on the way back must not leave the box
    if own is None:
        return Space(torch.clone, torch.clone, lambda z: model(z), low, high)

    def leave(z: Tensor) -> Tensor:
        return own.normalise.inverse(z).to(x.dtype)

    return Space(own.normalise, lambda z: leave(z).clamp(0, 1) if boxed else leave(z), own.normalised, low, high)


def logits_in(space: Space, z: Tensor, grad: bool = False) -> Tensor:
    """Return float32 logits (M, K) at ``z``, also under autocast and for M = 0."""
    with torch.set_grad_enabled(grad):
        if len(z) == 0:  # not every net takes an empty batch; the cat keeps z in the graph
            return as_logits(space.logits(torch.cat([z, z.new_zeros(1, *z.shape[1:])])))[:0]
        return as_logits(space.logits(z))


def as_logits(output: Any) -> Tensor:
    """Return the output of a net as float32 logits.

    Raises:
        InputError: the output is not a tensor (N, K).
    """
    if isinstance(output, Tensor) and output.ndim == 2:
        return output.float()
    what = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise InputError(f"The net must return logits (N, K), got {what}; wrap(module, shape=, mean=, std=) it first.")


def one_step(
    here: Space, x: Tensor, moved: Tensor, before: Tensor, target: Tensor, cost: Passes, keep_path: bool
) -> BoundarySamples:
    """Return the samples of an attack that has moved once, from ``x`` to ``moved``; ``before`` are logits on ``x``."""
    logits, base = logits_in(here, moved), before.argmax(1)
    stayed = (logits.argmax(1) == base).view((-1,) + (1,) * (x.ndim - 1))
    return BoundarySamples(
        x=moved,
        base=base,
        target=target.detach().clone(),
        status=status_of(logits.argmax(1), base, target),
        steps=torch.ones_like(target),
        path=torch.stack([x.detach(), moved]) if keep_path else None,
        passes=cost,
        inside=torch.where(stayed, moved, x.detach()),
        origin=x.detach().clone(),
        logits=logits,
    )
