"""Wrap any module that returns logits (torchvision, timm, transformers, your own) as a Classifier."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.models.classifier import Classifier, checked_numbers, checked_shape, freeze, ordinary, unwrapped

__all__ = ["wrap"]

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def wrap(
    module: nn.Module,
    *,
    shape: Sequence[int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    name: str = "custom",
) -> Classifier:
    """Return a copy of ``module`` behind the Classifier interface, in eval mode and without gradients; the original
    stays as it was. ``build`` of a registered name makes nets that learn.

    A Classifier, which normalises by itself, is copied as it is. Wrappers of torch.compile and DataParallel are left
    out. The last linear layer becomes the head and its inputs the features; if the module computes anything after that
    layer, the whole module becomes the body and features equal logits.

    Args:
        module: normalised inputs (N, *shape) -> logits (N, K), or an output with ``logits`` as attribute or key (as in
            Hugging Face's transformers). A module in half or double precision stays so and takes any floating type.
        shape: (C, H, W), or (2,) for points.
        mean, std: normalisation of the module's inputs, in [0, 1] units. Default: ImageNet's for three channels,
            otherwise 0 and 1 (none).
        name: the name that builds this net: "torchvision:resnet18", say, or a registered one. ``save_classifier`` then
            writes a file that ``load_teacher`` and a recipe can read.

    Raises:
        InputError: the module does not turn (N, *shape) into (N, K), or is a Classifier and another shape or
            normalisation is given.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"module must be a torch.nn.Module, got a {type(module).__name__}.")
    shape, module = checked_shape(shape), unwrapped(module)
    if isinstance(module, Classifier):
        if shape != module.shape or mean is not None or std is not None:
            raise InputError(
                f"The module is a Classifier already: it takes inputs {module.shape} and normalises them itself. "
                "Wrap it with that shape and without mean= and std=, or wrap the module that it was made of."
            )
        with ordinary():
            same = copy.deepcopy(module)
        same.architecture = same.architecture if name == "custom" else name
        return same.eval().requires_grad_(False)
    if (mean is None) != (std is None):
        raise InputError("wrap needs both mean= and std=, or neither, got one of them.")
    if mean is not None and std is not None and len(shape) == 3 and max(checked_numbers(mean, std, shape[0])[0]) > 1:
        raise InputError(f"mean and std must be in [0, 1] units, got mean={list(mean)}; divide both by 255.")
    if mean is None or std is None:
        mean, std = IMAGENET if len(shape) == 3 and shape[0] == 3 else ((0.0,) * shape[0], (1.0,) * shape[0])
    with ordinary(), torch.no_grad():  # or a scripted module's copy would remember where it comes from
        body = copy.deepcopy(module)
    like = next((p for p in body.parameters() if p.is_floating_point()), torch.zeros((), dtype=torch.float32))
    probe = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(like)
    with freeze(body), torch.no_grad():
        for some in (probe[:1], probe):
            try:
                output = body(some)
            except Exception as error:  # whatever the module raises, it does not take these inputs
                why = (str(error).splitlines() or [type(error).__name__])[0]
                raise InputError(f"The module does not take inputs of shape {shape}: {why}") from error
            expected = logits_of(output)
            if not isinstance(expected, Tensor) or expected.ndim != 2 or len(expected) != len(some):
                tensor = isinstance(expected, Tensor)
                kind = f"a tensor {tuple(expected.shape)}" if tensor else f"a {type(output).__name__}"
                raise InputError(
                    f"The module must return logits (N, K), got {kind} for inputs {tuple(some.shape)}; "
                    "put it into a module whose forward returns only its logits, and wrap that."
                )
        sums = expected.double().sum(1)
        if expected.min() >= 0 and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
            raise InputError(
                "The module ends in a softmax: its outputs are probabilities, and distillation needs the logits before "
                "it; wrap the module without its softmax."
            )
        if expected is not output:
            body = Logits(body)
        head = split_head(body, probe, expected)
    with ordinary():
        net = Classifier(body, head, mean=mean, std=std, num_classes=expected.shape[1], shape=shape, architecture=name)
        net.normalise.to(like)  # inputs come out of it in the type that the module takes
        return net.to(like.device).eval().requires_grad_(False)  # statistics of a teacher that trains on would drift


def split_head(body: nn.Module, probe: Tensor, expected: Tensor) -> nn.Module:
    """Return the last linear layer of ``body`` and leave an identity in its place, if its output is the logits.

    Otherwise leave ``body`` as it is and return an identity.
    """
    linears = [name for name, part in body.named_modules() if isinstance(part, nn.Linear) and name]
    if not linears:
        return nn.Identity()
    parent, _, leaf = linears[-1].rpartition(".")
    holder = body.get_submodule(parent)
    last = getattr(holder, leaf)
    given: list[tuple[Tensor, int]] = []
    with last.register_forward_hook(lambda _module, _inputs, output: given.append((output, output._version))):
        logits = body(probe)
    # compare storage, not numbers: a clamp or a factor after the layer may change nothing yet
    if len(given) != 1 or logits.data_ptr() != given[0][0].data_ptr() or logits._version != given[0][1]:
        return nn.Identity()
    setattr(holder, leaf, nn.Identity())
    try:
        features = body(probe)
        if features.shape == (2, last.in_features) and torch.allclose(last(features), expected):
            return last
    except Exception:  # the module cannot run without it
        pass
    setattr(holder, leaf, last)
    return nn.Identity()


class Logits(nn.Module):
    """Return only the logits of a module that returns more."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, z: Tensor) -> Tensor:
        return logits_of(self.module(z))


def logits_of(output: Any) -> Any:
    """Return the ``logits`` of a module's output if it has them, else the output."""
    return output.get("logits", output) if isinstance(output, Mapping) else getattr(output, "logits", output)
