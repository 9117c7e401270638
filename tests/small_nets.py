"""What tests of nets, attacks and objectives share: generators, fitted nets, what a net is before and after, and how
much memory is asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class Asked(TorchDispatchMode):
    """Within, ``most`` is the size in bytes of the largest tensor that any operation of this thread has returned."""

    most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        every = made if isinstance(made, tuple | list) else [made]
        sizes = [one.untyped_storage().nbytes() for one in every if isinstance(one, Tensor)]
        self.most = max([self.most, *sizes])
        return made


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(net, x: Tensor, y: Tensor, steps: int = 40):
    """Fit a net to a batch: a fresh one's logits are almost equal everywhere, so there is no boundary to cross."""
    optimiser = torch.optim.Adam(net.parameters(), 0.03)
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    net.zero_grad(set_to_none=True)
    return net.eval()


def state_of(net: nn.Module) -> tuple:
    """Return all tensors, flags, gradients (None or not) and modules of a net, to compare with ``unchanged``."""
    parameters = [(p.requires_grad, p.grad is None) for p in net.parameters()]
    modules = [(type(m).__name__, m.training) for m in net.modules()]
    return {k: v.clone() for k, v in net.state_dict().items()}, parameters, modules


def unchanged(net: nn.Module, before: tuple) -> bool:
    now = state_of(net)
    same = now[0].keys() == before[0].keys() and all(torch.equal(v, before[0][k]) for k, v in now[0].items())
    return same and now[1:] == before[1:]
