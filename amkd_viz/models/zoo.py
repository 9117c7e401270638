"""Nets by name: the library's, your own (``register``), torchvision's (``torchvision:NAME``) and timm's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.registry import Registry
from amkd_viz.core.rng import defaults_seeded
from amkd_viz.models.classifier import Classifier, checked_numbers, checked_shape, ordinary
from amkd_viz.models.convnext import ConvNeXtBody
from amkd_viz.models.libraries import (
    LIBRARIES,
    check_known,
    in_another_library,
    is_pretrained,
    module_of,
    split_options,
)
from amkd_viz.models.mobilenet import MobileNetV2Body
from amkd_viz.models.pretrained import pretrained_net
from amkd_viz.models.resnet import BasicBlock, Bottleneck, ResNetBody
from amkd_viz.models.small import CNNBody, MLPBody
from amkd_viz.models.vgg import VGG_STAGES, VGGBody
from amkd_viz.models.vit import ViTBody
from amkd_viz.models.wrapped import wrap
from amkd_viz.models.wrn import WideResNetBody

if TYPE_CHECKING:
    from amkd_viz.data import Dataset

__all__ = ["architectures", "build", "in_library", "is_architecture", "nets", "register", "takes_shortcut"]

Shape = tuple[int, ...]
Maker = Callable[..., Classifier]  # (name, num_classes=, shape=, mean=, std=)


@dataclass(frozen=True)
class Library:
    """A net of the library: its backbone for inputs of a shape, and a linear head."""

    body: Callable[..., nn.Module]
    points: bool = False  # takes (N, 2) too

    def __call__(
        self, name: str, *, num_classes: int, shape: Shape, options: dict[str, Any], **norm: Any
    ) -> Classifier:
        body = self.body(shape, **options)
        for module in body.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        body.eval()
        with torch.no_grad():
            width = body(torch.zeros(1, *shape)).shape[1]
        head = nn.Linear(width, num_classes)
        return Classifier(body, head, num_classes=num_classes, shape=shape, architecture=name, **norm)


def _your_own(
    builder: Callable[..., nn.Module],
    name: str,
    *,
    num_classes: int,
    shape: Shape,
    mean: Sequence[float],
    std: Sequence[float],
) -> Classifier:
    module = builder(num_classes=num_classes, shape=shape)
    if not isinstance(module, nn.Module):
        raise InputError(f"The builder of {name!r} must return a torch.nn.Module, got a {type(module).__name__}.")
    normalises = isinstance(module, Classifier)
    net = wrap(module, shape=shape, mean=None if normalises else mean, std=None if normalises else std, name=name)
    if net.num_classes != num_classes:
        raise InputError(f"The builder of {name!r} must return {num_classes} logits, got {net.num_classes}.")
    return net


def _check(name: str, builder: Callable[..., nn.Module]) -> Maker:
    if name in ("custom", *LIBRARIES):
        raise InputError(f"{name!r} has a meaning of its own; choose another name for your model.")
    try:
        inspect.signature(builder).bind(num_classes=2, shape=(3, 32, 32))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The builder of {name!r} must take builder(num_classes=K, shape=(C, H, W)), got {builder!r} ({error})."
        ) from error
    return partial(_your_own, builder)


nets: Registry[Maker] = Registry("model", _check)


def _resnet(shape: Shape, depth: int, widen: int = 1, shortcut: str = "pad-end") -> nn.Module:
    widths = (16, 16, 32, 64) if widen == 1 else (32, 16 * widen, 32 * widen, 64 * widen)
    return ResNetBody([(depth - 2) // 6] * 3, widths, shape[0], shortcut)


FOUR_STAGES: dict[int, tuple[tuple[int, ...], type[BasicBlock] | type[Bottleneck]]] = {
    18: ((2, 2, 2, 2), BasicBlock),
    34: ((3, 4, 6, 3), BasicBlock),
    50: ((3, 4, 6, 3), Bottleneck),
}


def _four_stages(
    shape: Shape, blocks: tuple[int, ...], kind: type[BasicBlock] | type[Bottleneck], pool: bool
) -> nn.Module:
    return ResNetBody(blocks, (64, 64, 128, 256, 512), shape[0], "conv", kind, pool)


for _name, (_width, _depth) in {"mlp-tiny": (8, 1), "mlp-small": (16, 2), "mlp": (128, 3)}.items():
    nets.add(_name, Library(partial(MLPBody, width=_width, depth=_depth), points=True))
for _name, _widths in {"cnn-tiny": (4, 8), "cnn-small": (8, 16), "cnn": (32, 64, 128)}.items():
    nets.add(_name, Library(lambda shape, widths=_widths: CNNBody(widths, shape[0])))
for _depth in (8, 14, 20, 26, 32, 44, 56, 110):
    nets.add(f"resnet{_depth}", Library(partial(_resnet, depth=_depth)))
for _depth in (8, 32):
    nets.add(f"resnet{_depth}x4", Library(partial(_resnet, depth=_depth, widen=4)))
for _depth, (_blocks, _kind) in FOUR_STAGES.items():
    for _pool in (False, True):
        _four = partial(_four_stages, blocks=_blocks, kind=_kind, pool=_pool)
        nets.add(f"resnet{_depth}{'-pool' * _pool}", Library(_four))
for _depth in (16, 28, 40):
    for _widen in (1, 2, 4, 10):
        _body = lambda shape, depth=_depth, widen=_widen: WideResNetBody(depth, widen, shape[0])  # noqa: E731
        nets.add(f"wrn{_depth}-{_widen}", Library(_body))
for _name in VGG_STAGES:
    nets.add(_name, Library(lambda shape, name=_name: VGGBody(name, shape[0], min(shape[1:]))))
nets.add("mobilenetv2", Library(lambda shape: MobileNetV2Body(shape[0], min(shape[1:]))))
nets.add("mobilenetv2-half", Library(lambda shape: MobileNetV2Body(shape[0], min(shape[1:]), 0.5)))
for _name, (_width, _depth, _heads) in {"vit-tiny": (64, 4, 2), "vit-small": (192, 6, 3)}.items():
    nets.add(_name, Library(partial(ViTBody, width=_width, depth=_depth, heads=_heads)))
for _name, _widths in {"convnext-tiny": (24, 48, 96), "convnext-small": (48, 96, 192)}.items():
    nets.add(_name, Library(partial(ConvNeXtBody, widths=_widths, depths=(1, 2, 1))))


def register(name: str, builder: Any = None) -> Any:
    """Give your own net a name that ``build``, a recipe, ``save_classifier`` and ``load_teacher`` know.

    Without ``builder`` it returns a decorator. The name lasts as long as the process. A file or a recipe only names a
    net and never brings code along: register the name first in each program that reads one. Registering your own name
    again replaces its builder, so a notebook cell can run twice; but teachers that a recipe trains are cached under
    their name, so give another net another one.

    Args:
        name: a letter, then letters, digits, ``-`` and ``_``; not a name of the library.
        builder: called as ``builder(num_classes=K, shape=(C, H, W))`` (or ``shape=(2,)`` for points), returns a fresh
            module from normalised inputs (N, *shape) to logits (N, K), which is wrapped with the mean and standard
            deviation of the data; or a Classifier, which keeps its own.

    Raises:
        InputError: the name is taken or malformed, or the builder does not take these two arguments.

    >>> @register("my-linear")
    ... def my_linear(num_classes, shape):
    ...     return nn.Linear(shape[0], num_classes)
    >>> from amkd_viz import build
    >>> build("my-linear", num_classes=3, shape=(2,)).architecture
    'my-linear'
    """
    return nets.register(name, builder)


def in_library(name: str) -> bool:
    """Whether ``name`` is a net of the library itself, not one that was registered."""
    return isinstance(nets.get(name), Library)


def takes_shortcut(name: str) -> bool:
    """Whether ``name`` is a CIFAR ResNet of three stages, which has a choice of shortcuts."""
    maker = nets.get(name)
    return isinstance(maker, Library) and isinstance(maker.body, partial) and maker.body.func is _resnet


def architectures(shape: Sequence[int] | None = None) -> list[str]:
    """Return the names that ``build`` takes; for ``shape`` (2,) those that take points, and all that were registered.

    >>> architectures((2,))[:3]
    ['mlp-tiny', 'mlp-small', 'mlp']
    """
    points = shape is not None and len(shape) == 1
    return [name for name, maker in nets.items() if not (points and isinstance(maker, Library) and not maker.points)]


def is_architecture(name: str) -> bool:
    """Whether ``build`` knows the name: one of ``architectures()``, or torchvision:NAME or timm:NAME.

    Raises:
        InputError: that library has no such classifier.

    >>> is_architecture("torchvision:resnet18"), is_architecture("resnet9")
    (True, False)
    """
    if not in_another_library(name):
        return name in nets
    check_known(split_options(name)[0] if is_pretrained(name) else name)
    return True


def _outside(name: str, *, num_classes: int, shape: Shape, **norm: Any) -> Classifier:
    return wrap(module_of(name, num_classes, shape), shape=shape, name=name, **norm)


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
    """Return a fresh net in float32. Its weights depend on ``seed`` alone; the global RNG state is left as it was.

    Args:
        name: one of ``architectures()``, or torchvision:NAME or timm:NAME for an untrained net of that library; with
            ",pretrained" see ``pretrained_net``: its shape, mean and std are those of its weights.
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
        raise unknown("model", name, [*architectures(), *(f"{library}:NAME" for library in LIBRARIES)])
    shape = checked_shape(shape if shape is not None else dataset.shape if dataset else (3, 32, 32))
    if num_classes is None:
        num_classes = dataset.num_classes if dataset else 10
    if not isinstance(num_classes, Integral) or num_classes < 1:
        raise InputError(f"num_classes must be an integer >= 1, got {num_classes!r}.")
    mean = mean if mean is not None else dataset.mean if dataset else (0.5,) * shape[0]
    std = std if std is not None else dataset.std if dataset else (0.25,) * shape[0]
    mean, std = checked_numbers(mean, std, shape[0])
    if shortcut is not None and not takes_shortcut(name):
        raise InputError(f"shortcut must be left out for {name!r}: only CIFAR ResNets have a choice of it.")
    if in_library(name) and name not in architectures(shape):
        allowed = ", ".join(architectures(shape))
        raise InputError(f"Model {name!r} takes images, not points of shape {shape}; choose one of {allowed}.")
    make: Maker = nets.get(name, _outside)
    if in_library(name):
        make = partial(make, options={"shortcut": shortcut} if shortcut else {})
    with seeded(seed):
        if is_pretrained(name):
            return pretrained_net(name, num_classes).train()
        net = make(name, num_classes=num_classes, shape=shape, mean=mean, std=std).train()
    if not any(p.requires_grad for p in net.parameters()):  # a wrapped one
        net.requires_grad_(True)
    return net


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed nets that are made inside; the global RNG state is restored afterwards."""
    with ordinary(), defaults_seeded(seed):
        yield
