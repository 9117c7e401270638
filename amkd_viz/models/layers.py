"""Layers of a net: its stages counted from the end, after or before their last ReLU.

    -1         the output of the last stage, as the net passes it on
    pre(-1)    the same activation before its ReLU

A net of the library lists its stages. For any other net they are measured with one forward pass of a blank input:

- where maps shrink, the last module at each map size, as in timm's features_only (among the children of one module:
  the one whose children have the most sizes);
- else the blocks of one kind that lie nearest to the output (a transformer's blocks);
- else the last module before each linear or convolutional layer (an MLP's activations).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Layer", "Pre", "Recorder", "measured_stages", "pre"]


class Pre(NamedTuple):
    """The activation before the last ReLU of a stage."""

    stage: int

    def __repr__(self) -> str:
        return f"pre({self.stage})"


Layer = int | Pre

RELUS = {F.relu, F.relu_, F.relu6, F.hardtanh, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
PASSIVE = (nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd)  # like poolings, these end no stage


def pre(stage: int = -1) -> Pre:
    """Return the layer before the last ReLU of ``stage``, which is counted from the end: ``pre(-1)``.

    >>> pre(-2), pre(-2) == pre(-2), len({pre(-2), -2})
    (pre(-2), True, 2)
    """
    return Pre(stage)


class Recorder(TorchFunctionMode):
    """Record the outputs of stages and what enters the ReLU at their end, while ``of`` is open.

    Attributes:
        after: stage name -> its output.
        before: stage name -> what entered its last ReLU; only for stages whose output is that of a ReLU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.after: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}
        self._relu: tuple[Tensor, Tensor] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in RELUS:
            return func(*args, **kwargs)
        before = (args[0] if args else kwargs["input"]).clone()  # the ReLU may work in place
        after = func(*args, **kwargs)
        self._relu = before, after
        return after

    @contextmanager
    def of(self, body: nn.Module, stages: Sequence[str], relus: bool) -> Iterator[Recorder]:
        """Hooks on the ``stages`` of ``body``; they are gone afterwards. Look for ReLUs only where ``relus`` asks."""

        def end(name: str) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                self.after[name] = output
                if self._relu is not None and self._relu[1] is output:
                    self.before[name] = self._relu[0]

            return hook

        with ExitStack() as stack:
            for name in stages:
                stack.callback(body.get_submodule(name).register_forward_hook(end(name)).remove)
            if relus:
                stack.enter_context(self)
            yield self
        self._relu = None


def measured_stages(body: nn.Module, blank: Tensor) -> tuple[str, ...]:
    """Return the names of the modules of ``body`` that end its stages; see the text of this module for the rules.

    Args:
        body: in eval mode. blank: one normalised input (1, ...).
    """
    ended: list[tuple[str, nn.Module, Tensor, int]] = []  # in this order; the number of weighted layers so far
    weighted, pooled, calls = 0, set[int](), dict[str, int]()

    def end(name: str) -> Any:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal weighted
            weighted += isinstance(module, WEIGHTED)
            calls[name] = calls.get(name, 0) + 1
            if not isinstance(output, Tensor) or not name:
                return
            ended.append((name, module, output, weighted))  # keeps the output, so that its id stays its own
            if "Pool" in type(module).__name__:
                pooled.add(id(output))  # also that of a container whose last module is a pooling

        return hook

    with ExitStack() as stack:
        for name, module in body.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                stack.callback(module.register_forward_hook(end(name)).remove)
        body(blank)
    ended = [e for e in ended if calls[e[0]] == 1 and id(e[2]) not in pooled and not isinstance(e[1], PASSIVE)]
    return _by_map_size(body, ended) or _by_block(ended) or _by_weight(ended)


Ended = list[tuple[str, nn.Module, Tensor, int]]


def _by_map_size(body: nn.Module, ended: Ended) -> tuple[str, ...]:
    best: list[str] = []
    for parent, _ in body.named_modules():  # from the outermost on
        names, largest = [], 0
        for name, _, output, _ in reversed(ended):
            if name.rpartition(".")[0] == parent and output.ndim == 4:
                _, a, b, c = output.shape
                size = a * b if a == b else b * c  # channels may come last
                if size > largest:
                    names.append(name)
                    largest = size
        best = max(best, names, key=len)
    return tuple(reversed(best)) if len(best) > 1 else ()


def _by_block(ended: Ended) -> tuple[str, ...]:
    for name, module, output, _ in reversed(ended):
        if output.ndim > 2 and any(True for _ in module.children()):
            parent = name.rpartition(".")[0]
            blocks = [n for n, m, _, _ in ended if n.rpartition(".")[0] == parent and type(m) is type(module)]
            if len(blocks) > 1:
                return tuple(blocks)
    return ()


def _by_weight(ended: Ended) -> tuple[str, ...]:
    return tuple({weighted: name for name, _, _, weighted in ended if weighted}.values())
