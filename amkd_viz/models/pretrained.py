"""Nets with the weights of their library, and a new last layer: ``torchvision:resnet18,pretrained``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from amkd_viz.core.errors import InputError
from amkd_viz.data.checks import require
from amkd_viz.data.where import cache_folder
from amkd_viz.models.checkpoint import read_checkpoint
from amkd_viz.models.classifier import Classifier
from amkd_viz.models.libraries import module_of, split_options
from amkd_viz.models.wrapped import wrap

__all__ = ["pretrained_net"]


class Weights(NamedTuple):
    """Published weights: where they are kept, where they are from, and the inputs that they were trained with."""

    file: Path
    url: str
    side: int
    mean: Sequence[float]
    std: Sequence[float]


def pretrained_net(name: str, num_classes: int) -> Classifier:
    """Return a net with its library's weights, of which only a new last layer learns; the rest stays in eval mode.

    Its images have the size that it was trained with, or that of the name, and are resized from any other.

    Raises:
        InputError: the library has no weights for it, they are neither here nor can be fetched, or they do not fit.
    """
    base, size = split_options(name)
    weights = _published(base)
    shape = (3, size or weights.side, size or weights.side)
    module = module_of(base, num_classes, shape)
    with torch.device("meta"):  # shapes alone
        other = module_of(base, num_classes + 1, shape).state_dict()
    own = module.state_dict()
    last = {n for n, tensor in own.items() if tensor.shape != other[n].shape}
    found = read_checkpoint(_fetched(base, weights)).tensors
    wrong = [n for n in own if n not in last and (n not in found or found[n].shape != own[n].shape)]
    if wrong or not last:
        what = f"{wrong[0]!r} is missing or has another shape" if wrong else "it has no last layer to replace"
        raise InputError(f"{weights.file} does not fit {base} at {shape[1]} pixels: {what}.")
    module.load_state_dict(own | {n: found[n] for n in own if n not in last})
    net = wrap(module, shape=shape, mean=weights.mean, std=weights.std, name=base)
    if not isinstance(net.head, nn.Identity):
        net.head.requires_grad_(True)
    else:  # the last layer lies within the body
        for n, parameter in net.body.named_parameters():
            parameter.requires_grad_(n.removeprefix("module.") in last)
    net.steady = True
    return net


def _published(name: str) -> Weights:
    library, _, own = name.partition(":")
    if library == "timm":
        timm = require("timm", "timm", f"Model {name!r}")
        about = timm.get_pretrained_cfg(own)
        if about is None or not about.hf_hub_id:
            raise InputError(f"timm has no pretrained weights for {own!r}; timm.list_pretrained() names those it has.")
        folder = f"{about.hf_hub_id}/resolve/main/model.safetensors"
        file = cache_folder() / "pretrained" / f"{about.hf_hub_id.replace('/', '--')}.safetensors"
        return Weights(file, f"https://huggingface.co/{folder}", about.input_size[1], about.mean, about.std)
    models = require("torchvision.models", "torchvision", f"Model {name!r}")
    weights: Any = models.get_model_weights(own).DEFAULT
    preset = weights.transforms()
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    return Weights(file, weights.url, preset.crop_size[0], preset.mean, preset.std)


def _fetched(name: str, weights: Weights) -> Path:
    """Return the file of published weights, fetched where it is not here yet."""
    if weights.file.is_file():
        return weights.file
    prefix = weights.file.stem.rpartition("-")[2] if name.startswith("torchvision:") else None
    try:
        weights.file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(weights.url, str(weights.file), prefix)
    except Exception as error:  # whatever a network or a disk makes it raise
        why = " ".join(str(error).split())[:120]
        raise InputError(
            f"The weights of {name} are not here and cannot be fetched ({why}); fetch {weights.url} and put it at "
            f"{weights.file}."
        ) from error
    return weights.file
