"""Nets of your own by name, for as long as the process lives."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence

from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.models.classifier import Classifier
from amkd_viz.models.wrapped import wrap

__all__ = ["REGISTERED", "register", "registered"]

REGISTERED: dict[str, Callable[..., nn.Module]] = {}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def register(name: str, builder: Callable[..., nn.Module]) -> None:
    """Give a net of your own a name that ``build``, a recipe, ``save_classifier`` and ``load_teacher`` know.

    The name lasts as long as the process. A file or a recipe only names a net, it never brings code along: register
    the name first in each program that reads one. Registering your own name again replaces its builder, so a notebook
    cell can be run again; but teachers that a recipe trains are kept under their name, so give another net another one.

    Args:
        name: a letter, then letters, digits, ``-`` and ``_``; none that the library has.
        builder: called as ``builder(num_classes=K, shape=(C, H, W))`` (or ``shape=(2,)`` for points), gives a fresh
            module from normalised inputs (N, *shape) to logits (N, K), which is wrapped with the mean and standard
            deviation of the data; or a Classifier, which keeps its own.

    Raises:
        InputError: the name is taken or is no such word, or the builder does not take these two arguments.

    >>> register("my-linear", lambda num_classes, shape: nn.Linear(shape[0], num_classes))
    >>> from amkd_viz import build
    >>> build("my-linear", num_classes=3, shape=(2,)).architecture
    'my-linear'
    """
    from amkd_viz.models.zoo import BODIES  # which imports this module

    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(f"A net's name is a letter, then letters, digits, - and _, not {name!r}.")
    if name in BODIES or name in ("custom", "torchvision"):
        raise InputError(f"The name {name!r} is the library's own; choose another one for your net.")
    try:
        inspect.signature(builder).bind(num_classes=2, shape=(3, 32, 32))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The builder of {name!r} is called as builder(num_classes=K, shape=(C, H, W)), "
            f"which {builder!r} does not take ({error})."
        ) from error
    REGISTERED[name] = builder


def registered(
    name: str, *, num_classes: int, shape: Sequence[int], mean: Sequence[float], std: Sequence[float]
) -> Classifier:
    """What the builder of ``name`` makes, behind the Classifier interface.

    Raises:
        InputError: it makes no net of this shape and so many classes.
    """
    module = REGISTERED[name](num_classes=num_classes, shape=tuple(shape))
    if not isinstance(module, nn.Module):
        raise InputError(f"The builder of {name!r} must return a torch.nn.Module, not a {type(module).__name__}.")
    own = isinstance(module, Classifier)
    net = wrap(module, shape=shape, mean=None if own else mean, std=None if own else std, name=name)
    if net.num_classes != num_classes:
        raise InputError(f"The builder of {name!r} was asked for {num_classes} classes and gave {net.num_classes}.")
    return net
