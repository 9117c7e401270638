"""torchvision's classifiers as torchvision:NAME, so that a recipe and a file can say which net they mean."""

from __future__ import annotations

from collections.abc import Sequence

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.models.classifier import Classifier
from amkd_viz.models.wrapped import wrap

__all__ = ["PREFIX", "borrowed", "is_borrowed"]

PREFIX = "torchvision:"
TWO_HEADED = ("googlenet", "inception_v3")  # they return more than logits while they are trained


def is_borrowed(name: str) -> bool:
    """Whether ``name`` is torchvision:NAME with a classifier that torchvision has.

    Raises:
        InputError: it begins so, but there is no such classifier.

    >>> is_borrowed("torchvision:resnet18"), is_borrowed("resnet8")
    (True, False)
    """
    if not name.startswith(PREFIX):
        return False
    import torchvision.models

    known = [m for m in torchvision.models.list_models(module=torchvision.models) if m not in TWO_HEADED]
    if name.removeprefix(PREFIX) not in known:
        raise unknown("torchvision model", name.removeprefix(PREFIX), known)
    return True


def borrowed(
    name: str, *, num_classes: int, shape: Sequence[int], mean: Sequence[float], std: Sequence[float]
) -> Classifier:
    """A fresh, untrained net of torchvision behind the Classifier interface.

    Raises:
        InputError: no such classifier, or it does not take inputs of this shape.
    """
    is_borrowed(name)
    if tuple(shape[:1]) != (3,) or len(shape) != 3:
        raise InputError(f"Model {name!r} takes images of three channels, not inputs of shape {tuple(shape)}.")
    import torchvision.models

    module = torchvision.models.get_model(name.removeprefix(PREFIX), weights=None, num_classes=num_classes)
    return wrap(module, shape=shape, mean=mean, std=std, name=name)
