"""Make a net of this library from a checkpoint of other code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.models.checkpoint import read_checkpoint
from amkd_viz.models.classifier import Classifier, ordinary
from amkd_viz.models.libraries import in_another_library
from amkd_viz.models.weights import CIFAR_SIZE, OURS, cifar_resnet, fill
from amkd_viz.models.zoo import architectures, build, in_library, is_architecture, takes_shortcut

__all__ = ["import_net"]

COUNTED = "num_batches_tracked"


def import_net(
    path: str | Path,
    architecture: str | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    shortcut: str | None = None,
    size: int | None = None,
) -> tuple[Classifier, str]:
    """Return the net of a checkpoint, in eval mode and without gradients, and what was taken from the file.

    Tensors are matched by name where the names agree, else in their order by shape, which is the same in most
    implementations of one architecture; measure the net afterwards.

    Args:
        architecture: name of the net; by default it is inferred, for a CIFAR ResNet from names and shapes, for the
            library's other nets from their shapes in order.
        mean, std: normalisation of the inputs it was trained with, per channel, in [0, 1] units.
        shortcut: of a CIFAR ResNet, see ``load_teacher``.
        size: height and width of its images in pixels; default: 32, and 224 for nets of torchvision and timm.

    Raises:
        InputError: see ``read_checkpoint``; the architecture is unknown or does not fit; or mean and std are missing.
    """
    found = read_checkpoint(path)
    where = str(path)
    if OURS in found.metadata:
        raise InputError(f"{where} is a file of this library already; name it as the teacher.")
    norm = _norm(mean, std, found.metadata, where)
    for name, tensor in found.tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InputError(f"{where} holds numbers that are not finite in {name!r}: its training has diverged.")
    plain = {name: tensor for name, tensor in found.tensors.items() if not name.endswith(COUNTED)}
    classes = max(1, *([len(tensor) for tensor in plain.values() if tensor.ndim in (1, 2)][-1:] or [1]))
    same: list[str] = []
    if architecture is None or takes_shortcut(architecture):
        about = {f"normalise_{key}": ",".join(map(str, values)) for key, values in norm.items()}
        try:
            make, tensors = cifar_resnet(found.tensors, found.metadata | about, where, shortcut)
        except InputError:
            same = inferred(plain, classes, len(norm["mean"])) if architecture is None else []
            if not same:
                raise
            architecture = same[0]
        else:
            net = make()
            if architecture not in (None, net.architecture):
                raise InputError(f"{where} holds a {net.architecture}, not a {architecture}.")
    if architecture is not None and not takes_shortcut(architecture):
        if not is_architecture(architecture):
            raise unknown("architecture", architecture, [*architectures(), "torchvision:NAME", "timm:NAME"])
        if shortcut is not None:
            raise InputError(f"shortcut must be left out for {architecture!r}: only CIFAR ResNets have a choice of it.")
        side = size or (224 if in_another_library(architecture) else CIFAR_SIZE)
        shape = (len(norm["mean"]), side, side)
        net = build(architecture, num_classes=classes, shape=shape, mean=norm["mean"], std=norm["std"])
        tensors = _matched(plain, net, where)
    with ordinary():
        fill(net, tensors, where)
        also = f" ({', '.join(same[1:])} would have the same weights)" if same[1:] else ""
        return net.eval().requires_grad_(False), found.taken + also


def inferred(tensors: Mapping[str, Tensor], classes: int, channels: int) -> list[str]:
    """Return the names of the library's nets whose tensors have these shapes in this order, but for CIFAR ResNets."""
    shapes = [tuple(tensor.shape) for tensor in tensors.values()]
    found, points = [], architectures((2,))
    for name in architectures():
        if in_library(name) and not takes_shortcut(name) and name not in points:
            with torch.device("meta"):
                net = build(name, num_classes=classes, shape=(channels, CIFAR_SIZE, CIFAR_SIZE))
            if [tuple(t.shape) for t in own_tensors(net).values()] == shapes:
                found.append(name)
    return found


def own_tensors(net: Classifier) -> dict[str, Tensor]:
    """Return the tensors of a net that a checkpoint of other code has, too."""
    state = net.state_dict()
    return {name: t for name, t in state.items() if not name.endswith(COUNTED) and not name.startswith("normalise.")}


def _norm(
    mean: Sequence[float] | None, std: Sequence[float] | None, metadata: Mapping[str, str], where: str
) -> dict[str, list[float]]:
    """Return mean and std, from the arguments or the file's metadata."""
    given = {"mean": mean, "std": std}
    found: dict[str, list[float]] = {}
    for key, values in given.items():
        text = metadata.get(f"normalise_{key}", metadata.get(key, "")).strip("[]() ")
        try:
            found[key] = [float(v) for v in (values if values is not None else text.split(",") if text else [])]
        except (TypeError, ValueError) as error:
            raise InputError(f"{key} must be numbers for each channel, got {values or text!r}.") from error
    if not found["mean"] or not found["std"]:
        raise InputError(
            f"{where} does not say how its inputs are normalised; give mean and std of its training, in [0, 1] units, "
            "such as --mean 0.4914,0.4822,0.4465 --std 0.2470,0.2435,0.2616."
        )
    if max(found["mean"]) > 1 or max(found["std"]) > 1:
        scaled = ", ".join(f"{value / 255:.4f}" for value in found["mean"])
        raise InputError(f"mean and std must be in [0, 1] units, got mean {found['mean']}; divide by 255: {scaled}.")
    return found


def _matched(tensors: dict[str, Tensor], net: Classifier, where: str) -> dict[str, Tensor]:
    """Return foreign tensors under the names of a net: by name, else in their order by shape."""
    wanted = own_tensors(net)
    norm = {name: t for name, t in net.state_dict().items() if name.startswith("normalise.")}
    for rename in (lambda name: name, lambda name: f"body.{name}", _behind_wrap(net)):
        named = {rename(name): t for name, t in tensors.items()}
        if named.keys() == wanted.keys():
            return norm | named
    shapes, own = [tuple(t.shape) for t in tensors.values()], [tuple(t.shape) for t in wanted.values()]
    if shapes == own:
        return norm | dict(zip(wanted, tensors.values(), strict=True))
    if len(shapes) != len(own):
        raise InputError(f"{where} has {len(shapes)} tensors, but {net.architecture} has {len(own)}.")
    name, shape, other = next((name, a, b) for name, a, b in zip(tensors, shapes, own, strict=True) if a != b)
    raise InputError(f"{where} does not fit {net.architecture}: {name!r} has shape {shape}, where {other} is expected.")


def _behind_wrap(net: Classifier) -> Any:
    """Return what renames the tensors of a plain module as ``wrap`` does: its last linear layer is the head."""
    head = next((n for n, m in reversed(list(net.body.named_modules())) if isinstance(m, torch.nn.Identity)), "")

    def rename(name: str) -> str:
        return f"head.{name.removeprefix(head + '.')}" if head and name.startswith(f"{head}.") else f"body.{name}"

    return rename
