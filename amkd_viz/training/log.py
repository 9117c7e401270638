"""Means over the steps of an epoch, summed on the device and read once."""

from __future__ import annotations

from typing import Any

import torch

from amkd_viz.objectives import Step

__all__ = ["Log"]

KINDS = ("terms", "metrics")


class Log:
    """Means of terms and metrics, each over the steps that had it."""

    def __init__(self, state: dict[str, Any] | None = None, device: torch.device | str = "cpu") -> None:
        before = state["sums"] if state else {}
        self._sums = {kind: {n: v.to(device) for n, v in before.get(kind, {}).items()} for kind in KINDS}
        self._counts: dict[str, int] = dict(state["counts"]) if state else {}  # steps that had it, by "kind name"

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint in the middle of an epoch needs."""
        return {"sums": {kind: dict(sums) for kind, sums in self._sums.items()}, "counts": dict(self._counts)}

    def add(self, step: Step) -> None:
        """Add the terms and metrics of a step."""
        for kind, sums in self._sums.items():
            for name, value in getattr(step, kind).items():
                value = value.detach().float()
                sums[name] = sums[name] + value if name in sums else value.clone()  # the step may overwrite its own
                self._counts[f"{kind} {name}"] = self._counts.get(f"{kind} {name}", 0) + 1

    def read(self) -> dict[str, Any]:
        """Return the means by kind, kinds without any left out. Waits for the device."""
        found = {
            kind: {name: (total / self._counts[f"{kind} {name}"]).tolist() for name, total in sums.items()}
            for kind, sums in self._sums.items()
        }
        return {kind: values for kind, values in found.items() if values}
