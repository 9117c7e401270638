"""Any torchvision or timm classifier as a Classifier."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.models.classifier import Classifier, checked_shape, freeze, ordinary, unwrapped

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
    """A copy of ``module`` behind the Classifier interface; the original is left alone.

    Of a Classifier, which normalises by itself, it is a plain copy. What torch.compile or DataParallel have put around
    a net stays behind.

    The last linear layer becomes the head, so that ``embed`` gives what feeds it as features; where the module does
    something after that layer, the whole module is the body and features equal logits.

    Args:
        module: normalised inputs (N, *shape) -> logits (N, K). In half or double precision it stays so, and takes
            inputs of any floating type. Of an answer that has ``logits`` (an attribute or a key, as in Hugging Face's
            transformers) these are taken.
        shape: (C, H, W), or (2,) for points.
        mean, std: what the module's inputs are normalised with, in [0, 1] units. Default: ImageNet's for three
            channels, otherwise 0 and 1 (no normalisation).
        name: "torchvision:resnet18", say, or one that you have given to ``register``, where the module is that net:
            ``save_classifier`` then writes a file that ``load_teacher`` and a recipe can read.

    Raises:
        InputError: where the module does not turn (N, *shape) into (N, K), or is a Classifier and another shape or
            normalisation is asked of it.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"wrap takes a torch.nn.Module, not a {type(module).__name__}.")
    shape, module = checked_shape(shape), unwrapped(module)
    if isinstance(module, Classifier):
        if shape != module.shape or mean is not None or std is not None:
            raise InputError(
                f"The module is a Classifier already, of inputs {module.shape} that it normalises itself; "
                "wrap it without mean= and std= and with its own shape, or wrap the module that it was made of."
            )
        with ordinary():
            found = copy.deepcopy(module)
        found.architecture = found.architecture if name == "custom" else name
        return found
    if (mean is None) != (std is None):
        raise InputError(
            "wrap needs both mean= and std=, or neither; what one of them is does not follow from the other."
        )
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
            except Exception as error:  # whatever the module raises, the inputs are not for it
                why = (str(error).splitlines() or [type(error).__name__])[0]
                raise InputError(f"The module does not take inputs of shape {shape}: {why}") from error
            expected = logits_of(output)
            if not isinstance(expected, Tensor) or expected.ndim != 2 or len(expected) != len(some):
                tensor = isinstance(expected, Tensor)
                kind = f"a tensor {tuple(expected.shape)}" if tensor else f"a {type(output).__name__}"
                raise InputError(
                    f"The module must return logits (N, K), but gave {kind} for inputs {tuple(some.shape)}; "
                    "put it into a module whose forward returns its logits alone, and wrap that."
                )
        if expected is not output:
            body = Logits(body)
        head = split_head(body, probe, expected)
    with ordinary():
        net = Classifier(body, head, mean=mean, std=std, num_classes=expected.shape[1], shape=shape, architecture=name)
        net.normalise.to(like)  # inputs come out of it in the type that the module takes
        return net.to(like.device)


def split_head(body: nn.Module, probe: Tensor, expected: Tensor) -> nn.Module:
    """The last linear layer of ``body`` if it gives the logits, an identity left in its place; else an identity."""
    linears = [name for name, part in body.named_modules() if isinstance(part, nn.Linear) and name]
    if not linears:
        return nn.Identity()
    parent, _, leaf = linears[-1].rpartition(".")
    holder = body.get_submodule(parent)
    last = getattr(holder, leaf)
    given: list[tuple[Tensor, int]] = []
    with last.register_forward_hook(lambda _module, _inputs, output: given.append((output, output._version))):
        logits = body(probe)
    # numbers would not do: a clamp or a factor after the layer may change nothing yet
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
    """The logits alone of a module that returns more."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, z: Tensor) -> Tensor:
        return logits_of(self.module(z))


def logits_of(output: Any) -> Any:
    """Return ``output.logits`` or ``output["logits"]`` if it exists, else ``output``."""
    return output.get("logits", output) if isinstance(output, Mapping) else getattr(output, "logits", output)
