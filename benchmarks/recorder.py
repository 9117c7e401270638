"""What a GPU does to a step, on a CPU: record and replay its operations, and tell which ones would make a host wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from amkd_viz.boundary import BSS, bss
from amkd_viz.objectives import Step
from amkd_viz.training import Training
from amkd_viz.training.graph import StepGraph

__all__ = ["CpuRecorder", "Waits", "as_on_gpu"]

R = TypeVar("R")
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "is_nonzero", "bincount")


class CpuRecorder:
    """A ``Recorder`` for a CPU: notes each operation with the tensors it reads and writes, and does it again on these.

    A capture computes nothing, so what ``record`` does is undone, also to the tensors that ``state`` returns.
    """

    def __init__(self, state: Callable[[], list[Tensor]]) -> None:
        self.noted, self.state, self.replays, self.records = Noted(), state, 0, 0

    def aside(self, work: Callable[[], R]) -> R:
        return work()

    def record(self, work: Callable[[], R]) -> R:
        self.records += 1
        before = [(t, t.clone()) for t in self.state()]
        self.noted = Noted()
        with self.noted:
            result = work()
        with torch.no_grad():
            for t in [t for _, _, _, new in self.noted.done for t in new]:
                t.zero_()
            for t, value in before:
                t.copy_(value)
        return result

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, new in self.noted.done:
            result = func(*args, **kwargs)
            made = [t for t in tree_flatten(result)[0] if isinstance(t, Tensor)]
            for to, what in zip(new, made[-len(new) :] if new else (), strict=True):
                to.copy_(what)

    def forget(self) -> None:
        self.noted = Noted()


class Noted(TorchDispatchMode):
    """Notes operations that make or change tensors (the others are views), and refuses what a capture refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if _waits(func, args):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        result = func(*args, **(kwargs or {}))
        read = {t.untyped_storage().data_ptr() for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)}
        made = [t for t in tree_flatten(result)[0] if isinstance(t, Tensor)]
        new = [t for t in made if t.untyped_storage().data_ptr() not in read]
        if new or not all(r.alias_info is None or not r.alias_info.is_write for r in func._schema.arguments):
            self.done.append((func, args, kwargs or {}, new))
        return result


class Waits(TorchDispatchMode):
    """Notes what would make the host wait for a GPU: values that Python reads, and shapes that depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if _waits(func, args):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def _waits(func: Any, args: Any) -> bool:
    name = func.overloadpacket.__name__
    masks = name in ("index", "index_put_", "_index_put_impl_") and any(
        i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
    )
    return masks or name.startswith(WAITS)


@dataclass(frozen=True, repr=False)
class StaticBSS(BSS):
    """BSS that keeps samples which have crossed in the batch, as on a GPU."""

    function = staticmethod(partial(bss, compact=False))


def as_on_gpu(training: Training) -> Training:
    """Return a training whose steps have static shapes and a graph; one on a GPU has both."""
    if training.device.type == "cuda":
        return training
    usual = training.new_step

    def new_step(x: Tensor, y: Tensor, index: Tensor) -> Step:
        step = usual(x, y, index)
        step.static = True
        return step

    training.new_step = new_step  # type: ignore[method-assign]
    if type(training.boundary.sampler) is BSS:
        training.boundary = replace(training.boundary, sampler=StaticBSS(**asdict(training.boundary.sampler)))
    training.graph = StepGraph(CpuRecorder(lambda: list(training.student.buffers())), training.work)
    return training
