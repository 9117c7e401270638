"""A copy of a trained net that computes the same logits with fewer operations."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar, cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from amkd_viz.models.classifier import Classifier, ordinary, unwrapped

__all__ = ["inference_copy"]

M = TypeVar("M", bound=nn.Module)


def inference_copy(model: M) -> M:
    """Return a copy in eval mode, without parameter gradients, each batch norm folded into the convolution before it.

    For a compiled net, return a copy of the net that was compiled. Logits, layers and input gradients agree with those
    of the original to float32 rounding.

    A batch norm is folded where it follows its convolution in an ``nn.Sequential``, or in a module with
    ``folds = True``, whose children run in the order in which they are listed.
    """
    with ordinary():
        folded = cast(M, copy.deepcopy(unwrapped(model)).eval().requires_grad_(False))
        if _fold(folded) and isinstance(folded, Classifier):
            folded.architecture = f"folded {folded.architecture}"  # a name that rebuilds nothing
        return folded


def _fold(model: nn.Module) -> bool:
    """Fold in place; return whether there was anything to fold."""
    count = 0
    for module in list(model.modules()):
        in_order = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        if not (in_order or getattr(module, "folds", False)):
            continue
        for (before, conv), (after, norm) in pairwise(list(module.named_children())):
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_mean is not None:
                setattr(module, before, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
                setattr(module, after, nn.Identity().eval())
                count += 1
    return count > 0
