"""Updates: plain SGD on the sum of all terms, or one momentum for each kind of knowledge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["UPDATES", "SplitSGD"]

# Update -> what is added to the momentum, by group of terms, in the order in which they are applied.
# A group that is not named goes with "others", else with the last one; weight decay with "target", else "task".
UPDATES: dict[str, dict[str, float]] = {
    "sum": {},
    # Distillation-oriented trainer, ICCV 2023, as mdistiller has it
    "dot": {"task": -0.075, "kd": 0.075},
    # MJKD, Electronics 2024 (abstract): our reading, the middle buffer for features
    "mjkd": {"task": -0.075, "feature": 0.0, "logit": 0.075},
    # DeepKD as released: the momentum of labels is that of the target class's part, not as configured
    "deepkd": {"task": -0.075, "others": 0.05, "target": -0.075},
}


class SplitSGD(torch.optim.Optimizer):
    """SGD with one momentum for each group of terms: v_k <- mu_k v_k + g_k, then w <- w - lr v_k, one after the other.

    A parameter that only one group reaches has the plain momentum.

    Args:
        shifts: group -> what is added to ``momentum``, see ``UPDATES``.
    """

    def __init__(
        self, parameters: Iterable[Tensor], shifts: Mapping[str, float], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.shifts = dict(shifts)
        self.gradients: dict[str, tuple[Tensor | None, ...]] = {}

    @property
    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Compute the gradients of each group from the losses of the groups of terms."""
        sums: dict[str, Tensor] = {}
        for name, loss in losses.items():
            group = name if name in self.shifts else "others" if "others" in self.shifts else list(self.shifts)[-1]
            sums[group] = sums[group] + loss if group in sums else loss
        live = [p for p in self._parameters if p.requires_grad]
        self.gradients, left = {}, len(sums)
        for group, loss in sums.items():
            left -= 1
            if loss.requires_grad:
                found = torch.autograd.grad(loss, live, retain_graph=left > 0, allow_unused=True)
                by_place = dict(zip(map(id, live), found, strict=True))
                self.gradients[group] = tuple(by_place.get(id(p)) for p in self._parameters)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        about = self.param_groups[0]
        for place, p in enumerate(self._parameters):
            own = {name: g[place] for name in self.shifts if (g := self.gradients.get(name)) and g[place] is not None}
            decays = next((name for name in ("target", "task") if name in own), next(iter(own), ""))
            for name, gradient in own.items():
                assert gradient is not None
                if name == decays and about["weight_decay"]:
                    gradient = gradient + about["weight_decay"] * p
                momentum = min(about["momentum"] + (self.shifts[name] if len(own) > 1 else 0.0), 0.999)
                if name not in self.state[p]:
                    self.state[p][name] = torch.zeros_like(p)
                p.add_(self.state[p][name].mul_(momentum).add_(gradient), alpha=-about["lr"])
