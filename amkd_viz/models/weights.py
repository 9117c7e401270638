"""Save and load classifiers as safetensors files, never as pickles."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.files import write_atomic
from amkd_viz.core.parse import SHARE, parse
from amkd_viz.models.checkpoint import read_tensors, safetensors
from amkd_viz.models.classifier import Classifier, checked_numbers, ordinary, unwrapped
from amkd_viz.models.resnet import SHORTCUTS, ResNetBody
from amkd_viz.models.zoo import in_library, is_architecture

__all__ = ["about_net", "load_weights", "save_classifier"]

OURS = "amkd_viz"  # the metadata key of files written here
NET = {
    "architecture": str,
    "num_classes": range(1, 2**31),
    "shape": [range(1, 2**20)],
    "shortcut?": (None, str),
    "val_accuracy?": (None, SHARE),
    "classes?": [str],
    "recipe?": dict,
}
LARGEST_INPUT = 2**22  # numbers in one input
PAD_END = SHORTCUTS[0]
CIFAR_SIZE = 32


def save_classifier(model: Classifier, path: str | Path, *, flush: bool = True, **facts: object) -> Path:
    """Write weights and the name that rebuilds the net to one safetensors file, atomically; return its path.

    ``load_teacher`` and recipes read files of nets that have a name: the library's, torchvision's and registered ones.
    The file of any other net is read by ``load_weights`` only, and a warning says so.

    Args:
        model: a Classifier, which may be compiled or in DataParallel.
        flush: see ``write_atomic``.
        facts: more metadata.

    Raises:
        InputError: ``model`` is not a Classifier.
    """
    model = unwrapped(model)  # type: ignore[assignment]
    if not isinstance(model, Classifier):
        raise InputError(f"model must be a Classifier, got a {type(model).__name__}; wrap(module, shape=...) it first.")
    about = {"architecture": model.architecture, "num_classes": model.num_classes, "shape": model.shape, **facts}
    if isinstance(model.body, ResNetBody) and model.body.shortcut != PAD_END:
        about["shortcut"] = model.body.shortcut
    if not is_architecture(model.architecture):
        warnings.warn(UNNAMED.format(name=model.architecture, where=path), stacklevel=2)
    tensors = {  # copies: tied weights share their storage, which a safetensors file cannot say
        name: torch.clone(t.detach().cpu(), memory_format=torch.contiguous_format)
        for name, t in model.state_dict().items()
    }
    return write_atomic(
        Path(path), safetensors(".torch").save(tensors, metadata={OURS: json.dumps(about)}), flush=flush
    )


def size_of(path: str | Path) -> int | None:
    """Return the height in pixels of the images that the net of a file takes; None for points.

    Raises:
        InputError: see ``load_teacher``.
    """
    _, metadata = read_tensors(Path(path), only_metadata=True)
    shape = about_net(metadata, str(path))["shape"] if OURS in metadata else (3, CIFAR_SIZE, CIFAR_SIZE)
    return int(shape[1]) if len(shape) == 3 else None


def about_net(metadata: dict[str, str], where: str) -> dict[str, Any]:
    """Return what ``save_classifier`` wrote into a file's metadata beside the weights.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        found: dict[str, Any] = parse(metadata[OURS], NET)
    except (KeyError, ValueError) as error:
        raise InputError(f"{where} has damaged metadata, which name no net ({error}).") from error
    return found


UNNAMED = (
    "Only load_weights(model, path) can read {where}: its architecture {name!r} is not registered. For load_teacher "
    "and recipes, call amkd_viz.models.register(name, builder) and wrap the net with that name."
)
UNSAID = (
    "{where} does not say how its shortcuts are padded; zeros are put after the channels (pad-end), as in "
    "BSS_distillation. If the net was trained with zeros on both sides, as in akamaster/pytorch_resnet_cifar10, pass "
    "shortcut='pad-both' to load_teacher, or write shortcut: pad-both into the file's metadata."
)


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Fill ``model`` with the tensors of a safetensors file; every name and shape must agree."""
    fill(unwrapped(model), read_tensors(Path(path))[0], str(path))
    return model


def check_size(make: Callable[[], nn.Module], tensors: dict[str, Tensor], where: str) -> None:
    """Refuse a net with more numbers than the tensors, before any memory is taken for it."""
    count = sum(t.numel() for t in tensors.values())
    with torch.device("meta"):
        needed = sum(t.numel() for t in make().parameters())
    if needed > count:
        raise InputError(f"{where} has {count:,} numbers, fewer than the net that it names, which has {needed:,}.")


def check_skeleton(make: Callable[[], Classifier], tensors: dict[str, Tensor], where: str) -> None:
    """Refuse a net that the tensors do not fill, before any memory is taken for it."""
    try:
        with torch.device("meta"):
            skeleton = make()
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise InputError(f"{where} does not hold the net that it names ({error}).") from error
    check_fit(skeleton.state_dict(), tensors, where)


def fill(model: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    wanted = model.state_dict()
    check_fit(wanted, tensors, where)
    try:
        model.load_state_dict({name: tensors.get(name, value) for name, value in wanted.items()})
    except (RuntimeError, TypeError) as error:  # numbers of a type that none of the net's can take
        raise InputError(f"{where} does not fit the net: {' '.join(str(error).split())}.") from error


def check_fit(wanted: dict[str, Tensor], tensors: dict[str, Tensor], where: str) -> None:
    optional = {name for name in wanted if name.endswith("num_batches_tracked")} - tensors.keys()
    wrong = [n for n, t in wanted.items() if n not in optional and (n not in tensors or tensors[n].shape != t.shape)]
    wrong += [n for n in tensors if n not in wanted]
    if wrong:
        raise InputError(
            f"{where} does not fit the net: {len(wrong)} tensors differ in name or shape, first {wrong[0]!r}."
        )


def cifar_resnet(
    tensors: dict[str, Tensor], metadata: dict[str, str], where: str, shortcut: str | None
) -> tuple[Callable[[], Classifier], dict[str, Tensor]]:
    """Return what builds the net that foreign tensors describe, and the tensors under our names."""
    tensors = {ours(name): tensor for name, tensor in tensors.items()}
    stages = [len({m[1] for n in tensors if (m := re.match(rf"body\.layer{s}\.(\d+)\.", n))}) for s in (1, 2, 3)]
    odd = [n for n in tensors if re.search(r"layer4|conv3", n)]
    try:
        stem = tensors["body.conv1.weight"]
        widths = [stem.shape[0]] + [tensors[f"body.layer{s}.0.conv2.weight"].shape[0] for s in (1, 2, 3)]
        num_classes, width = tensors["head.weight"].shape
    except (KeyError, IndexError, ValueError) as error:
        what = f"it has no tensor {error}" if isinstance(error, KeyError) else "its tensors have other shapes"
        raise InputError(f"{where} is not a CIFAR ResNet with basic blocks: {what}.") from error
    if odd or stem.ndim != 4 or stem.shape[-1] != 3 or width != widths[-1]:
        what = odd[0] if odd else f"a stem of shape {tuple(stem.shape)} and a head over {width} features"
        raise InputError(f"{where} is not a CIFAR ResNet with three stages of basic blocks: it has {what}.")
    try:
        mean, std = ([float(v) for v in metadata[f"normalise_{k}"].split(",")] for k in ("mean", "std"))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{where} does not say how its inputs are normalised; write its metadata with normalise_mean and "
            "normalise_std, e.g. '0.4914,0.4822,0.4465'."
        ) from error
    channels = stem.shape[1]
    try:
        checked_numbers(mean, std, channels)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    convolves = any("downsample" in n for n in tensors)
    shortcut = shortcut or metadata.get("shortcut") or ("conv" if convolves else None)
    if shortcut is None:
        shortcut = PAD_END
        if len(set(widths)) > 1:
            warnings.warn(UNSAID.format(where=where), stacklevel=3)
    if shortcut not in SHORTCUTS:
        raise unknown("shortcut", shortcut, SHORTCUTS)
    regular = len(set(stages)) == 1
    widths_of: dict[tuple[int, ...], str] = {(16, 16, 32, 64): "", (32, 64, 128, 256): "x4"}
    known = regular and tuple(widths) in widths_of
    name = f"resnet{6 * stages[0] + 2}{widths_of[tuple(widths)]}" if known else "custom"

    def make() -> Classifier:
        with ordinary():
            return Classifier(
                ResNetBody(stages, widths, channels, shortcut),
                nn.Linear(width, num_classes),
                mean=mean,
                std=std,
                num_classes=num_classes,
                shape=(channels, CIFAR_SIZE, CIFAR_SIZE),
                architecture=name if in_library(name) else "custom",
            )

    view = (1, channels, 1, 1)
    return make, tensors | {f"normalise.{k}": torch.tensor(v).view(view) for k, v in (("mean", mean), ("std", std))}


def ours(name: str) -> str:
    name = name.removeprefix("module.").replace(".shortcut.", ".downsample.")
    head, dot, leaf = name.partition(".")
    return f"head.{leaf}" if head in ("linear", "fc", "classifier") and dot else f"body.{name}"
