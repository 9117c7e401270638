"""One training in several processes, its ranks, as torchrun starts them: NCCL between GPUs, gloo between CPUs.

Each rank holds a slice of every global batch. What the ranks exchange at a sync point is marked by ``_sync``: a rank
that has ended shows there, as a ``RankLost``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn  # its functions take the group that is there when they are imported and would keep it
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from amkd_viz.core.errors import InputError
from amkd_viz.core.pauses import pausable

__all__ = ["ALONE", "GlobalStatistics", "RankLost", "Ranks", "join", "joined", "mean_of"]

T = TypeVar("T")


class RankLost(InputError):
    """Another rank has ended, or this one was asked to end."""


class Ranks:
    """This process among those that train one net.

    Attributes:
        rank: from 0; rank 0 alone writes files. count: number of ranks.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    def own(self, n: int) -> slice:
        """Return which of ``n`` rows belong to this rank; all of them where it is alone."""
        return slice(*(n * k // self.count for k in (self.rank, self.rank + 1)))

    def gather(self, part: Tensor, n: int) -> Tensor:
        """Return all ``n`` rows from each rank's own; gradients flow to this rank's rows only."""
        if self.count == 1:
            return part
        sizes = [n * (k + 1) // self.count - n * k // self.count for k in range(self.count)]
        padded = part.new_zeros(max(sizes), *part.shape[1:])
        padded[: len(part)] = part.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        self._sync(lambda: dist.all_gather(parts, padded))
        rows = [
            part if k == self.rank else other[:size] for k, (other, size) in enumerate(zip(parts, sizes, strict=True))
        ]
        return torch.cat(rows)

    def collect(self, part: Tensor, rows: Tensor, n: int) -> Tensor:
        """Return the rows (M,) of a batch of ``n`` samples, of which each rank holds its own part."""
        if self.count == 1:
            return part[rows]
        own = self.own(n)
        here = (rows >= own.start) & (rows < own.stop)
        found = part.new_zeros(len(rows), *part.shape[1:])
        found[here] = part[rows[here] - own.start].detach()
        self._sync(lambda: dist.all_reduce(found))
        return found

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        self._sync(lambda: dist.all_reduce(flat))
        for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(part.view(t.shape))

    def everyone(self, content: bytes) -> list[bytes]:
        """Return what each rank gives, by rank."""
        if self.count == 1:
            return [content]
        own = torch.tensor([len(content)])
        sizes = [torch.empty_like(own) for _ in range(self.count)]
        self._sync(lambda: dist.all_gather(sizes, own))
        padded = torch.zeros(max(map(int, sizes)), dtype=torch.uint8)
        padded[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else 0
        parts = [torch.empty_like(padded) for _ in sizes]
        self._sync(lambda: dist.all_gather(parts, padded))
        return [part[: int(size)].numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]

    def each(self, value: Any) -> list[Any]:
        """Return what each rank gives, values of JSON, by rank."""
        return (
            [json.loads(content) for content in self.everyone(json.dumps(value).encode())]
            if self.count > 1
            else [value]
        )

    def together(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, which each rank does; what is wrong on one of them ends all.

        Raises:
            InputError: the one that ``work`` has raised here or elsewhere.
        """
        if self.count == 1:
            return work()
        try:
            result, reason = work(), ""
        except RankLost:
            raise
        except InputError as error:
            reason = str(error)
        reasons = self.each(reason)
        if any(reasons):
            rank, first = next((rank, text) for rank, text in enumerate(reasons) if text)
            raise InputError(
                first if all(text == first for text in reasons) else f"Rank {rank} of {self.count}: {first}"
            )
        return result

    def same(self, what: str, value: Any, advice: str) -> None:
        """Check that all ranks have the same value.

        Raises:
            InputError: they have not; names the first that differs.
        """
        for rank, other in enumerate(values := self.each(value)):
            if other != values[0]:
                raise InputError(
                    f"All ranks must have the same {what}, but rank {rank} has {other}, rank 0 {values[0]}; {advice}."
                )

    def _sync(self, exchange: Callable[[], object]) -> None:
        try:
            exchange()
        except RuntimeError as error:  # of gloo and NCCL, when the connection to a rank breaks
            raise RankLost(f"Rank {self.rank} of {self.count} cannot go on: another rank has ended.") from error


ALONE = Ranks()
_current = ALONE


def joined() -> Ranks:
    """Return the ranks that this process has joined, or ``ALONE``."""
    return _current


@contextmanager
def join(on_gpu: bool = False) -> Iterator[Ranks]:
    """Join the other ranks if torchrun has started this process with some.

    Ranks of one machine talk over its loopback interface alone. A request to end (SIGTERM) is obeyed at the next pause
    point, so that a checkpoint is whole.

    Args:
        on_gpu: train on the GPU of this rank's number.

    Raises:
        InputError: there are fewer GPUs than ranks on this machine.
        RankLost: see ``Ranks``.
    """
    global _current
    count, rank, local = (
        int(os.environ.get(name, usual)) for name, usual in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))
    )
    if count < 2:
        yield ALONE
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if on_gpu and torch.cuda.device_count() < here:
        raise InputError(
            f"{here} ranks need a GPU each, but this machine has {torch.cuda.device_count()}; give torchrun "
            f"--nproc-per-node {max(1, torch.cuda.device_count())}, or train with --device cpu."
        )
    if here == count:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    if on_gpu:
        torch.cuda.set_device(local)
    asked: list[int] = []

    def gate() -> None:
        if asked:
            raise RankLost(f"Rank {rank} of {count} was asked to end, as torchrun does when another rank has ended.")

    ranks = Ranks(rank, count)
    ranks._sync(partial(_meet, "cpu:gloo,cuda:nccl" if on_gpu else "gloo", rank, count))
    before = None
    if rank == 0 and threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    _current = ranks
    try:
        with pausable(gate):
            yield ranks
    except InputError as error:
        if rank:  # rank 0 prints the sentence
            raise SystemExit(2) from error
        raise
    else:
        dist.destroy_process_group()  # not after an error: it would wait for ranks that have ended
    finally:
        _current = ALONE
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _meet(backend: str, rank: int, count: int) -> None:
    store, _, _ = next(dist.rendezvous("env://", rank, count))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun keeps addresses of ranks that have ended
    dist.init_process_group(backend, store=dist.PrefixStore(attempt, store), rank=rank, world_size=count)


class _Sum(torch.autograd.Function):
    """The sum over the ranks, of values and of their gradients."""

    @staticmethod
    def forward(ctx: Any, ranks: Ranks, values: Tensor) -> Tensor:
        ctx.ranks, total = ranks, values.clone()
        ranks.add_up([total])
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        total = gradients[0].clone()
        ctx.ranks.add_up([total])
        return None, total


class GlobalStatistics(TorchFunctionMode):
    """Let batch norms in training mode take mean and variance over the rows of all ranks.

    PyTorch's SyncBatchNorm does the same on GPUs only, and would replace the modules of a net.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self.ranks = ranks

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm or not kwargs.get("training", args[5] if len(args) > 5 else False):
            return func(*args, **kwargs)
        return self._norm(*args, **kwargs)

    def _norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        dims, shape = [d for d in range(x.ndim) if d != 1], (1, -1, *[1] * (x.ndim - 2))
        wide = x if x.dtype == torch.float64 else x.float()  # also under autocast
        count = wide.new_tensor([x.numel() // x.shape[1]])
        sums = _Sum.apply(self.ranks, torch.cat([wide.sum(dims), count]))
        count = sums[-1].detach().clamp_min(1)
        mean = sums[:-1] / count
        centred = wide - mean.view(shape)
        var = _Sum.apply(self.ranks, centred.square().sum(dims)) / count
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * count / (count - 1).clamp_min(1)).to(running_var.dtype), momentum)
        scale = (var + eps).rsqrt() if weight is None else (var + eps).rsqrt() * weight
        out = centred * scale.view(shape)
        return (out if bias is None else out + bias.view(shape)).to(x.dtype)


def mean_of(values: Sequence[Any]) -> Any:
    """Return the mean of numbers, or of nested dicts of numbers, by key; a key counts where it is.

    >>> mean_of([{"kd": 1.0, "ce": 2.0}, {"kd": 3.0}])
    {'kd': 2.0, 'ce': 2.0}
    """
    if not isinstance(values[0], dict):
        return sum(values) / len(values)
    keys = dict.fromkeys(key for value in values for key in value)
    return {key: mean_of([value[key] for value in values if key in value]) for key in keys}
