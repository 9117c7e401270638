"""A frozen copy of a trained net that computes the same logits with fewer operations."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar, cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from amkd_viz.models.classifier import Classifier, ordinary, unwrapped
from amkd_viz.models.frozen import FrozenResNet
from amkd_viz.models.resnet import ResNetBody

__all__ = ["inference_copy"]

M = TypeVar("M", bound=nn.Module)


def inference_copy(model: M) -> M:
    """A copy in eval mode without parameter gradients, each batch norm folded into the convolution before it.

    Of a compiled net it is a copy of the net that was compiled.

    Logits agree with the original to float32 rounding. The body of a CIFAR ResNet becomes a ``FrozenResNet``, whose
    backward pass knows the input's gradient only. Only neighbours in an ``nn.Sequential``, or in a module that says
    ``folds = True`` (its children run in the order in which they are listed), are folded.
    """
    with ordinary():
        return _folded(copy.deepcopy(cast(M, unwrapped(model))).eval().requires_grad_(False))


def _folded(model: M) -> M:
    folded = False
    for module in list(model.modules()):
        in_order = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        if not (in_order or getattr(module, "folds", False)):
            continue
        for (before, conv), (after, norm) in pairwise(list(module.named_children())):
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_mean is not None:
                setattr(module, before, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
                setattr(module, after, nn.Identity().eval())
                folded = True
    if folded and isinstance(model, Classifier):
        model.architecture = f"folded {model.architecture}"  # a name that rebuilds nothing
    body = getattr(model, "body", None)
    if isinstance(body, ResNetBody) and FrozenResNet.takes(body):
        model.body = FrozenResNet(body).eval()
        model.__dict__.pop("_measured", None)  # its layers have other names
    return model
