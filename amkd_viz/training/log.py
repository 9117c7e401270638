"""What an epoch's steps said, summed on the device and read once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from amkd_viz.objectives import Step

__all__ = ["Log"]


class Log:
    """Means of terms and metrics over the steps that had them, and summed histograms."""

    def __init__(self, state: dict[str, Any] | None = None, device: torch.device | str = "cpu") -> None:
        self._sums: dict[str, dict[str, Tensor]] = {"terms": {}, "metrics": {}, "histograms": {}}
        self._counts: dict[str, int] = {}  # steps that had a term or metric, by "kind name"
        if state:
            self._sums = {kind: {n: v.to(device) for n, v in sums.items()} for kind, sums in state["sums"].items()}
            self._counts = dict(state["counts"])

    def state(self) -> dict[str, Any]:
        """For a checkpoint in the middle of an epoch."""
        return {"sums": {kind: dict(sums) for kind, sums in self._sums.items()}, "counts": dict(self._counts)}

    def add(self, step: Step) -> None:
        for kind, sums in self._sums.items():
            for name, value in getattr(step, kind).items():
                value = value.detach().float()
                sums[name] = sums[name] + value if name in sums else value.clone()  # the step's own may be overwritten
                self._counts[f"{kind} {name}"] = self._counts.get(f"{kind} {name}", 0) + 1

    def read(self) -> dict[str, Any]:
        """Plain numbers by kind; kinds without any are left out. Waits for the device."""
        found: dict[str, Any] = {
            kind: {
                n: (v if kind == "histograms" else v / self._counts[f"{kind} {n}"]).tolist() for n, v in sums.items()
            }
            for kind, sums in self._sums.items()
        }
        return {kind: values for kind, values in found.items() if values}
