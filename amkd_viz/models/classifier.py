"""A classifier in three named parts, normalise -> body -> head, so that every space of the papers has a name.

Images enter as floats in [0, 1], (N, C, H, W); 2-D points as (N, 2) floats. The body turns the normalised input
into penultimate features (N, D) and the head turns features into logits (N, K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import isfinite
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor, nn

from amkd_viz.core.errors import InputError, unknown

__all__ = ["Classifier", "Embedding", "Normalise", "freeze"]


class Embedding(NamedTuple):
    """What a classifier says of a batch: ``logits`` (N, K), ``features`` (N, D), ``taps`` name -> activation."""

    logits: Tensor
    features: Tensor
    taps: dict[str, Tensor]


class Normalise(nn.Module):
    """(x - mean) / std per channel (images) or per coordinate (points) in the type of the net, and back."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], image: bool = True) -> None:
        super().__init__()
        view = (1, -1, 1, 1) if image else (1, -1)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(view))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(view))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != self.mean.ndim or x.shape[1] != self.mean.shape[1]:  # one channel would broadcast to three
            wanted = f"(N, {self.mean.shape[1]}, H, W)" if self.mean.ndim == 4 else f"(N, {self.mean.shape[1]})"
            raise InputError(f"The net takes inputs of shape {wanted}, not {tuple(x.shape)}.")
        if not x.is_floating_point():  # 0 to 255 would go through
            raise InputError(f"The net takes floats, images in [0, 1], not {x.dtype}; convert and divide by 255.")
        z = (x - self.mean) / self.std
        return z if z.dtype == self.mean.dtype else z.to(self.mean.dtype)

    def inverse(self, z: Tensor) -> Tensor:
        return z * self.std + self.mean


class Classifier(nn.Module):
    """normalise -> body -> head.

    Args:
        body: normalised input -> features (N, D).
        head: features -> logits (N, K).
        mean, std: of the training inputs, per channel ([0, 1] units) or per coordinate.
        num_classes: K.
        shape: (C, H, W) of an image or (2,) for points.
        architecture: the name that rebuilds this net, or "custom".

    Raises:
        InputError: another shape, or mean and std do not hold one number for each channel, std > 0.
    """

    def __init__(
        self,
        body: nn.Module,
        head: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        num_classes: int,
        shape: tuple[int, ...],
        architecture: str = "custom",
    ) -> None:
        super().__init__()
        self.shape = checked_shape(shape)
        self.normalise = Normalise(*checked_numbers(mean, std, self.shape[0]), image=len(shape) == 3)
        self.body = body
        self.head = head
        self.num_classes = num_classes
        self.architecture = architecture

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of inputs in [0, 1] (images) or of points."""
        return self.normalised(self.normalise(x))

    def normalised(self, z: Tensor) -> Tensor:
        """Logits (N, K) of inputs that are normalised already: the space in which BSS defines its step."""
        return self.head(self.body(z))

    def embed(self, x: Tensor, taps: Sequence[str] = ()) -> Embedding:
        """Logits, penultimate features and the activations of the named ``taps`` (submodules of the body)."""
        kept: dict[str, Tensor] = {}

        def keeper(name: str):  # type: ignore[no-untyped-def]
            return lambda _module, _inputs, output: kept.__setitem__(name, output)

        with ExitStack() as stack:
            for name in taps:
                if name not in dict(self.body.named_modules()):
                    raise unknown("tap", name, self.tap_names)
                stack.callback(self.body.get_submodule(name).register_forward_hook(keeper(name)).remove)
            features = self.body(self.normalise(x))
        return Embedding(self.head(features), features, kept)

    @property
    def tap_names(self) -> tuple[str, ...]:
        """Names that ``embed(taps=...)`` takes, in the order in which the body's stages run."""
        stages = getattr(self.body, "stages", None)
        if isinstance(stages, tuple):  # a wrapped net may have an attribute of this name that is something else
            return stages
        return tuple(name for name, _ in self.body.named_children())

    @property
    def feature_width(self) -> int:
        """D, the width of the penultimate features (one forward pass of one blank input)."""
        blank = self.normalise.mean.new_zeros(1, *self.shape)
        with freeze(self), torch.no_grad():
            return int(self.body(blank).shape[1])


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape`` as a tuple.

    Raises:
        InputError: it is neither (C, H, W) nor (D,).
    """
    given = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(given) not in (1, 3) or not all(isinstance(n, Integral) and n > 0 for n in given):
        raise InputError(f"An input's shape is (C, H, W) for images or (2,) for points, not {shape!r}.")
    return tuple(int(n) for n in given)


def checked_numbers(mean: Sequence[float], std: Sequence[float], channels: int) -> tuple[list[float], list[float]]:
    """``mean`` and ``std`` as lists.

    Raises:
        InputError: they are no numbers for so many channels, or a std is not > 0.
    """
    try:
        found = [float(v) for v in mean], [float(v) for v in std]
    except (TypeError, ValueError) as error:
        raise InputError(f"mean and std are lists of numbers, not {mean!r} and {std!r}.") from error
    if not all(len(v) == channels and all(map(isfinite, v)) for v in found) or not all(s > 0 for s in found[1]):
        raise InputError(
            f"mean and std hold one number for each of {channels} channels, std > 0, not {found[0]} and {found[1]}."
        )
    return found


@contextmanager
def ordinary() -> Iterator[None]:
    """Nets are made in here: of float32 and open to gradients, whatever default type or inference mode is set outside.

    Torch has one default type for all threads; it is set only where it is another one, and set back.
    """
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        if before != torch.float32:
            stack.callback(torch.set_default_dtype, before)
            torch.set_default_dtype(torch.float32)
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        yield


def buffers_kept(model: nn.Module) -> Callable[[], None]:
    """Batch statistics as they are now: what is returned puts them back."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]

    def put_back() -> None:
        for buffer, value in kept:
            buffer.copy_(value)

    return put_back


def unwrapped(model: nn.Module) -> nn.Module:
    """The net within what torch.compile, DataParallel or DistributedDataParallel has put around it, or ``model``."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if inner is None:
            return model
        model = inner


@contextmanager
def freeze(*models: nn.Module) -> Iterator[None]:
    """Eval mode and no parameter gradients inside; each module's and parameter's own flags back afterwards.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval())
    >>> with freeze(net):
    ...     print(net.training, net[0].weight.requires_grad)
    False False
    >>> net.training, net[1].training, net[0].weight.requires_grad
    (True, False, True)
    """
    modes = [(m, m.training) for model in models for m in model.modules()]
    flags = [(p, p.requires_grad) for model in models for p in model.parameters()]
    try:
        for module, _ in modes:
            module.training = False
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
