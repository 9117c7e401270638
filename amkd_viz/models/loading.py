"""Load a trained net from a file: of this library, or of other code."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.models.classifier import Classifier, ordinary
from amkd_viz.models.imported import import_net
from amkd_viz.models.libraries import in_another_library, module_of
from amkd_viz.models.weights import (
    LARGEST_INPUT,
    OURS,
    PAD_END,
    about_net,
    check_size,
    check_skeleton,
    cifar_resnet,
    fill,
    read_tensors,
)
from amkd_viz.models.zoo import build, in_library, is_architecture

__all__ = ["load_teacher"]


def load_teacher(
    path: str | Path,
    device: str | torch.device = "cpu",
    *,
    shortcut: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    architecture: str | None = None,
) -> Classifier:
    """Load a trained classifier: a file of ``save_classifier``, or a CIFAR ResNet of conv-bn-relu basic blocks.

    For a foreign file depth and width are inferred from names and shapes (``conv1``, ``layer{1,2,3}.{i}.conv{1,2}``,
    ``linear`` or ``fc``), a 1x1 convolution in a shortcut is recognised, and the normalisation is read from the
    file's metadata (``normalise_mean`` and ``normalise_std``, comma-separated, per channel of [0, 1] images).

    A shortcut without parameters pads channels with zeros, and the weights do not show where: "pad-end" is that of
    BSS_distillation, "pad-both" that of akamaster/pytorch_resnet_cifar10. With the wrong one the net loads and computes
    something else. Without ``shortcut`` in the file's metadata it is padded at the end, with a warning.

    Args:
        shortcut: "pad-end", "pad-both" or "conv" for a foreign file; overrides its metadata.
        mean, std, architecture: of a checkpoint of other code, in any format that ``import_net`` reads.

    Returns:
        The classifier in float32 and eval mode, its parameters without gradients.

    Raises:
        InputError: the file is missing, cannot be read, truncated, a pickle, or not such a net.
    """
    if mean is not None or std is not None or architecture is not None or Path(path).suffix != ".safetensors":
        net, _ = import_net(path, architecture, mean=mean, std=std, shortcut=shortcut)
        return net.to(device)
    tensors, metadata = read_tensors(Path(path))
    if OURS in metadata:
        about = about_net(metadata, str(path))
        name, saved = about["architecture"], about.get("shortcut")
        num_classes, shape = about["num_classes"], tuple(about["shape"])
        if not is_architecture(name):
            raise InputError(
                f"{path} holds a net of architecture {name!r}, which is not registered here; register it first with "
                "amkd_viz.models.register(name, builder), or build it and use load_weights(model, path)."
            )
        if shortcut not in (None, saved or PAD_END):
            raise InputError(f"{path} records the shortcut of its net; load it without shortcut={shortcut!r}.")
        if num_classes > sum(t.numel() for t in tensors.values()) or math.prod(shape) > LARGEST_INPUT:
            raise InputError(
                f"{path} does not hold the net that its metadata name: {num_classes:,} classes of {shape} inputs."
            )
        make: Callable[[], Classifier] = partial(build, name, num_classes=num_classes, shape=shape, shortcut=saved)
        known = in_library(name)
        if in_another_library(name):
            check_size(partial(module_of, name, num_classes, shape), tensors, str(path))
    else:
        make, tensors = cifar_resnet(tensors, metadata, str(path), shortcut)
        known = True
    if known:  # the builder of a registered net may not be able to run without numbers
        check_skeleton(make, tensors, str(path))
    model = make()
    fill(model, tensors, str(path))
    if OURS in metadata:
        model.classes = tuple(about.get("classes", ()))
    with ordinary():
        return model.eval().requires_grad_(False).to(device)
