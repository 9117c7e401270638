"""Nets by name: ``build("resnet8", dataset)``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import nn

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.rng import defaults_seeded
from amkd_viz.models.borrowed import borrowed, is_borrowed
from amkd_viz.models.classifier import Classifier, checked_numbers, checked_shape, ordinary
from amkd_viz.models.mobilenet import MobileNetV2Body
from amkd_viz.models.registered import REGISTERED, registered
from amkd_viz.models.resnet import ResNetBody
from amkd_viz.models.small import CNNBody, MLPBody
from amkd_viz.models.vgg import VGG_STAGES, VGGBody
from amkd_viz.models.wrn import WideResNetBody

if TYPE_CHECKING:
    from amkd_viz.data import Dataset

__all__ = ["architectures", "build", "is_architecture"]

Shape = tuple[int, ...]


MLPS = {"mlp-tiny": (8, 1), "mlp-small": (16, 2), "mlp": (128, 3)}
CNNS = {"cnn-tiny": (4, 8), "cnn-small": (8, 16), "cnn": (32, 64, 128)}


def resnet(shape: Shape, depth: int, widen: int = 1, shortcut: str = "pad-end") -> nn.Module:
    widths = (16, 16, 32, 64) if widen == 1 else (32, 16 * widen, 32 * widen, 64 * widen)
    return ResNetBody([(depth - 2) // 6] * 3, widths, shape[0], shortcut)


BODIES: dict[str, Callable[..., nn.Module]] = {
    **{name: partial(MLPBody, width=width, depth=depth) for name, (width, depth) in MLPS.items()},
    **{name: lambda shape, widths=widths: CNNBody(widths, shape[0]) for name, widths in CNNS.items()},
    **{f"resnet{depth}": partial(resnet, depth=depth) for depth in (8, 14, 20, 26, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": partial(resnet, depth=depth, widen=4) for depth in (8, 32)},
    **{
        f"wrn{depth}-{widen}": lambda shape, depth=depth, widen=widen: WideResNetBody(depth, widen, shape[0])
        for depth in (16, 28, 40)
        for widen in (1, 2, 4, 10)
    },
    **{name: lambda shape, name=name: VGGBody(name, shape[0], min(shape[1:])) for name in VGG_STAGES},
    "mobilenetv2": lambda shape: MobileNetV2Body(shape[0], min(shape[1:])),
    "mobilenetv2-half": lambda shape: MobileNetV2Body(shape[0], min(shape[1:]), 0.5),
}


def architectures(shape: Sequence[int] | None = None) -> list[str]:
    """The names ``build`` takes; with ``shape`` (2,) only those that take points, and all that were registered.

    >>> architectures((2,))[:3]
    ['mlp-tiny', 'mlp-small', 'mlp']
    """
    return [*(MLPS if shape is not None and len(shape) == 1 else BODIES), *REGISTERED]


def is_architecture(name: str) -> bool:
    """Whether ``build`` knows the name: one of ``architectures()``, or torchvision:NAME.

    Raises:
        InputError: torchvision has no such classifier.
    """
    return name in BODIES or name in REGISTERED or is_borrowed(name)


def build(
    name: str,
    dataset: Dataset | None = None,
    *,
    num_classes: int | None = None,
    shape: Sequence[int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    shortcut: str | None = None,
) -> Classifier:
    """A fresh net in float32, its weights a function of ``seed`` alone (the global random state is left as it was).

    Args:
        name: one of ``architectures()``, which are the library's and those given to ``register``, or torchvision:NAME
            for an untrained net of torchvision.
        dataset: gives classes, shape, mean and std; each can be overridden. Without it: 10 classes of (3, 32, 32)
            images, normalised to mean 0.5 and standard deviation 0.25.
        shortcut: of a CIFAR ResNet, "pad-end" (default), "pad-both" or "conv".

    Raises:
        InputError: for an unknown name (nearest names offered) or a net that does not take inputs of this shape.

    >>> net = build("resnet8", num_classes=10, shape=(3, 32, 32))
    >>> sum(p.numel() for p in net.parameters())
    75290
    """
    if not is_architecture(name):
        raise unknown("model", name, [*architectures(), "torchvision:NAME"])
    shape = checked_shape(shape if shape is not None else dataset.shape if dataset else (3, 32, 32))
    if num_classes is None:
        num_classes = dataset.num_classes if dataset else 10
    if not isinstance(num_classes, Integral) or num_classes < 1:
        raise InputError(f"A net has num_classes >= 1, not {num_classes!r}.")
    mean = mean if mean is not None else dataset.mean if dataset else (0.5,) * shape[0]
    std = std if std is not None else dataset.std if dataset else (0.25,) * shape[0]
    mean, std = checked_numbers(mean, std, shape[0])
    if shortcut is not None and not (name in BODIES and name.startswith("resnet")):
        raise InputError(f"Only CIFAR ResNets have a shortcut to choose, not {name!r}; leave shortcut out.")
    if name not in BODIES:
        make = registered if name in REGISTERED else borrowed
        with seeded(seed):
            return make(name, num_classes=num_classes, shape=shape, mean=mean, std=std).train()
    if name not in architectures(shape):
        allowed = ", ".join(architectures(shape))
        raise InputError(f"Model {name!r} takes images, not points of shape {shape}; choose one of {allowed}.")
    with seeded(seed):
        body = BODIES[name](shape, **({"shortcut": shortcut} if shortcut else {}))
        for module in body.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        body.eval()
        with torch.no_grad():
            width = body(torch.zeros(1, *shape)).shape[1]
        return Classifier(
            body.train(),
            nn.Linear(width, num_classes),
            mean=mean,
            std=std,
            num_classes=num_classes,
            shape=shape,
            architecture=name,
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Nets made in here are those of ``seed``; the global random state is left as it was."""
    with ordinary(), defaults_seeded(seed):
        yield
