"""A frozen copy of a trained net that computes the same logits with fewer operations."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["inference_copy"]

M = TypeVar("M", bound=nn.Module)


def inference_copy(model: M) -> M:
    """A copy in eval mode without parameter gradients, each batch norm folded into the convolution before it.

    Logits agree with the original to float32 rounding; one forward and input-gradient pass of a CIFAR ResNet takes
    about a third less time. Only neighbours in an ``nn.Sequential`` or in a module that says ``folds = True`` (its
    children run in the order in which they are listed) are folded.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(model.modules()):
        in_order = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        if not (in_order or getattr(module, "folds", False)):
            continue
        for (before, conv), (after, norm) in pairwise(list(module.named_children())):
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_mean is not None:
                setattr(module, before, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
                setattr(module, after, nn.Identity().eval())
    return model
