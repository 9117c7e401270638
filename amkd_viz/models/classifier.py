"""A classifier in three named parts: normalise -> body (the backbone) -> head.

Images enter as floats in [0, 1], (N, C, H, W); 2-D points as (N, 2) floats. The body turns the normalised input
into penultimate features (N, D) and the head turns features into logits (N, K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from math import isfinite
from numbers import Integral
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.models.layers import Layer, Pre, Recorder, measured_stages

__all__ = ["Classifier", "Normalise", "Outputs", "freeze"]


class Outputs(NamedTuple):
    """Logits (N, K), penultimate features (N, D), and the activation (N, ...) of each layer that was asked for."""

    logits: Tensor
    features: Tensor
    layers: Mapping[Layer, Tensor]


class Normalise(nn.Module):
    """Compute (x - mean) / std per channel (images) or coordinate (points), in the type of the net."""

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
            raise InputError(f"The net takes inputs of shape {wanted}, got {tuple(x.shape)}.")
        if not x.is_floating_point():  # 0 to 255 would go through
            raise InputError(f"The net takes floats, images in [0, 1], got {x.dtype}; convert and divide by 255.")
        z = (x - self.mean) / self.std
        return z if z.dtype == self.mean.dtype else z.to(self.mean.dtype)

    def inverse(self, z: Tensor) -> Tensor:
        return z * self.std + self.mean


class Classifier(nn.Module):
    """normalise -> body -> head. Images of another height or width than the net's are resized first (bilinear).

    Args:
        body: normalised input -> features (N, D).
        head: features -> logits (N, K).
        mean, std: of the training inputs, per channel ([0, 1] units) or per coordinate.
        num_classes: K.
        shape: (C, H, W) of an image or (2,) for points.
        architecture: the name that rebuilds this net, or "custom".

    Raises:
        InputError: ``shape`` is malformed, or mean and std are not one number per channel with std > 0.
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
        self.classes: tuple[str, ...] = ()  # their names, where the file that it was loaded from has them
        self.architecture = architecture
        self.steady = False  # the body stays in eval mode: only a new head of a pretrained net learns

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        if self.steady:
            self.body.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) for images in [0, 1] or for points."""
        return self.normalised(self.normalise(x))

    def normalised(self, z: Tensor) -> Tensor:
        """Return logits (N, K) for inputs that are normalised already: the space in which BSS defines its step."""
        return self.head(self.body(self._resized(z)))

    def _resized(self, z: Tensor) -> Tensor:
        if z.ndim != 4 or z.shape[2:] == self.shape[1:]:
            return z
        return F.interpolate(z.float(), self.shape[1:], mode="bilinear", antialias=True).to(z.dtype)

    def outputs(self, x: Tensor, layers: Sequence[Layer] = ()) -> Outputs:
        """Return logits, features and the activations of ``layers`` from one forward pass.

        Args:
            x: (N, *shape), images in [0, 1] or points.
            layers: stages counted from the end (-1 the last), or ``pre(-1)`` for the activation before the stage's
                last ReLU.

        Raises:
            InputError: the net has no such layer.

        >>> from amkd_viz.models import build, pre
        >>> given = build("resnet8").outputs(torch.zeros(2, 3, 32, 32), [-1, pre(-1)])
        >>> given.features.shape, given.layers[-1].shape
        (torch.Size([2, 64]), torch.Size([2, 64, 8, 8]))
        >>> torch.equal(given.layers[-1], given.layers[pre(-1)].relu())
        True
        """
        for layer in layers:
            self.check_layer(layer, "the net")
        if not layers:
            features = self.body(self._resized(self.normalise(x)))
            return Outputs(self.head(features), features, {})
        names = {layer: self.stages[layer.stage if isinstance(layer, Pre) else layer] for layer in layers}
        before = any(isinstance(layer, Pre) for layer in layers)
        with Recorder().of(self.body, list(dict.fromkeys(names.values())), before) as record:
            features = self.body(self._resized(self.normalise(x)))
        activations = {
            layer: (record.before if isinstance(layer, Pre) else record.after)[name] for layer, name in names.items()
        }
        return Outputs(self.head(features), features, activations)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in the order in which they run; layers count from the last one."""
        listed = getattr(self.body, "stages", None)  # a wrapped net may have an attribute of this name for its modules
        return listed if isinstance(listed, tuple) else self._measured[0]

    def check_layer(self, layer: Layer, role: str = "student") -> None:
        """Do nothing if ``outputs`` can give this layer.

        Args:
            role: which net this is, for the message.

        Raises:
            InputError: there is no such stage, or its output is not that of a ReLU, so nothing lies before one.
        """
        stage, count = layer.stage if isinstance(layer, Pre) else layer, len(self.stages)
        if not count:
            raise InputError(f"{role} has no layers to read: {self.architecture} runs as one module, got {layer!r}.")
        if not isinstance(stage, int) or not -count <= stage <= -1:
            raise InputError(f"layer of {role} must be between -{count} and -1 for {self.architecture}, got {layer!r}.")
        if isinstance(layer, Pre) and self.stages[stage] not in self._measured[1]:
            raise InputError(
                f"layer of {role} must be {stage} instead of {layer!r}: stage {self.stages[stage]!r} of "
                f"{self.architecture} does not end with a ReLU."
            )

    def layer_shape(self, layer: Layer) -> tuple[int, ...]:
        """Return the shape of ``layer`` for one input, without N. Batch statistics stay as they are.

        >>> from amkd_viz.models import build
        >>> build("resnet8").layer_shape(-2)
        (32, 16, 16)
        """
        with freeze(self), torch.no_grad():
            return tuple(self.outputs(self._blank, [layer]).layers[layer].shape[1:])

    @cached_property
    def _measured(self) -> tuple[tuple[str, ...], frozenset[str]]:
        """Names of the stages, and of those that end with a ReLU."""
        listed = getattr(self.body, "stages", None)
        with freeze(self), torch.no_grad():
            z = self.normalise(self._blank)
            stages = listed if isinstance(listed, tuple) else measured_stages(self.body, z)
            with Recorder().of(self.body, stages, True) as record:
                self.body(z)
        return stages, frozenset(record.before)

    @property
    def _blank(self) -> Tensor:
        return self.normalise.mean.new_zeros(1, *self.shape)

    @property
    def feature_width(self) -> int:
        """D, the width of the penultimate features, measured with one blank input."""
        with freeze(self), torch.no_grad():
            return int(self.body(self._blank).shape[1])


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return ``shape`` as a tuple.

    Raises:
        InputError: it is neither (C, H, W) nor (D,).
    """
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(sizes) not in (1, 3) or not all(isinstance(n, Integral) and n > 0 for n in sizes):
        raise InputError(f"shape must be (C, H, W) for images or (2,) for points, got {shape!r}.")
    return tuple(int(n) for n in sizes)


def checked_numbers(mean: Sequence[float], std: Sequence[float], channels: int) -> tuple[list[float], list[float]]:
    """Return ``mean`` and ``std`` as lists.

    Raises:
        InputError: they are not one finite number per channel, or a std is not > 0.
    """
    try:
        means, stds = [float(v) for v in mean], [float(v) for v in std]
    except (TypeError, ValueError) as error:
        raise InputError(f"mean and std must be lists of numbers, got {mean!r} and {std!r}.") from error
    if not len(means) == len(stds) == channels or not all(map(isfinite, means + stds)) or min(stds) <= 0:
        raise InputError(
            f"mean and std must hold one number for each of {channels} channels, std > 0, got {means} and {stds}."
        )
    return means, stds


@contextmanager
def ordinary() -> Iterator[None]:
    """Make nets in float32 and open to gradients, whatever default type or inference mode is set outside.

    PyTorch has one default type for all threads; it is changed only if it is another one, and restored.
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
    """Save the buffers (batch statistics); calling the returned function restores them."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]

    def put_back() -> None:
        for buffer, value in kept:
            buffer.copy_(value)

    return put_back


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the net inside the wrappers of torch.compile, DataParallel and DistributedDataParallel, or ``model``."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if inner is None:
            return model
        model = inner


@contextmanager
def freeze(*models: nn.Module) -> Iterator[None]:
    """Set eval mode and switch parameter gradients off; restore each module's and parameter's flags afterwards.

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
