"""Nets of torchvision and timm by name: ``torchvision:resnet18``, ``timm:resnet18``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.data.checks import require

__all__ = ["LIBRARIES", "check_known", "in_another_library", "is_pretrained", "module_of", "split_options"]

LIBRARIES = ("torchvision", "timm")
PRETRAINED = "pretrained"
TWO_HEADED = ("googlenet", "inception_v3")  # they return more than logits in training mode


def in_another_library(name: str) -> bool:
    """Whether a net's name begins with ``torchvision:`` or ``timm:``."""
    return name.partition(":")[0] in LIBRARIES and ":" in name


def is_pretrained(name: str) -> bool:
    """Whether a net's name asks for the weights of its library."""
    return in_another_library(name) and PRETRAINED in name.split(",")[1:]


def split_options(name: str) -> tuple[str, int | None]:
    """Return a pretrained net's plain name, and the size of its images if the name gives one.

    Raises:
        InputError: an option is unknown, or the size is not a number of pixels.

    >>> split_options("torchvision:resnet18,pretrained,size=96")
    ('torchvision:resnet18', 96)
    """
    base, *words = name.split(",")
    size = None
    for word in words:
        option, _, value = word.partition("=")
        if option == "size":
            if not value.isdecimal() or not 8 <= int(value) <= 1024:
                raise InputError(f"size of {base} must be 8 to 1024 pixels, got {value!r}.")
            size = int(value)
        elif word != PRETRAINED:
            raise unknown(f"option of {base}", word, [PRETRAINED, "size=N"])
    return base, size


def check_known(name: str) -> None:
    """Check that the library has a classifier of this name.

    Raises:
        InputError: it has not, or it is not installed.
    """
    library, _, own = name.partition(":")
    models = _library(name)
    if library == "timm":
        known = models.list_models()
        found = models.is_model(own)
    else:
        known = [model for model in models.list_models(module=models) if model not in TWO_HEADED]
        found = own in known
    if not found:
        raise unknown(f"{library} model", own, known)


def module_of(name: str, num_classes: int, shape: Sequence[int]) -> nn.Module:
    """Return an untrained module as its library makes it.

    Args:
        shape: of its inputs, (3, H, W); nets of timm that need their height and width are made for them.

    Raises:
        InputError: the inputs do not have three channels.
    """
    if len(shape) != 3 or shape[0] != 3:
        raise InputError(f"Model {name!r} takes images of three channels, got inputs of shape {tuple(shape)}.")
    library, _, own = name.partition(":")
    models = _library(name)
    if library == "torchvision":
        made: nn.Module = models.get_model(own, weights=None, num_classes=num_classes)
        return made
    try:
        made = models.create_model(own, pretrained=False, num_classes=num_classes, img_size=tuple(shape[1:]))
    except TypeError:  # a net that takes any size has no such argument
        made = models.create_model(own, pretrained=False, num_classes=num_classes)
    return made


def _library(name: str) -> Any:
    library = name.partition(":")[0]
    return require("timm" if library == "timm" else "torchvision.models", library, f"Model {name!r}")
