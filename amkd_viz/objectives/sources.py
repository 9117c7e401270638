"""Batches that a step makes when a term first reads them: boundary samples, a second view, validation samples."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from amkd_viz.boundary import BSS, Sampler, sample_targets, select_always, select_bases
from amkd_viz.core.fields import Fields, option
from amkd_viz.data import Loader
from amkd_viz.data.dataset import Split
from amkd_viz.objectives.step import Batch, Step

__all__ = ["Boundary", "SecondView", "Validation"]


@dataclass(frozen=True, repr=False)
class Boundary(Fields):
    """Boundary samples of the clean batch: base selection, target draw and attack (arXiv 1805.05532, sections 3.1-3.3).

    Attributes:
        sampler: the attack. limit: maximum number of boundary samples in a batch. of: the net that is attacked.
    """

    sampler: Sampler = field(default_factory=BSS)
    limit: int = option(64, "maximum number of boundary samples in a batch", low=1)
    of: str = option("teacher", "the net that is attacked")

    def __call__(self, step: Step) -> Batch:
        clean, attacked = step.clean, step.outputs(self.of).logits.detach()
        chosen = (attacked, step.selection_logits("student"), clean.y, self.limit)
        first = None
        if step.static:
            best, count = select_always(*chosen)
            row = torch.arange(len(best), device=best.device)
            again, first = row % count.clamp_min(1), (row < count) & (count > 1)  # one sample has no batch statistics
            target = sample_targets(attacked[best], step.generator)[again]
            rows = best[again]
        else:
            rows = select_bases(*chosen)
            target = sample_targets(attacked[rows], step.generator)
        samples = self.sampler(step.nets[self.of], clean.x[rows].detach(), target, step.generator)
        batch = Batch(samples.x, clean.y[rows], clean.index[rows], rows, samples, first)
        if len(rows):
            step.metrics["attack.crossed"] = batch.mean(samples.crossed.float())
            step.metrics["attack.reached_target"] = batch.mean((samples.status == 1).float())
        return batch


@dataclass(frozen=True)
class SecondView:
    """The samples of the clean batch, augmented a second time with the step's RNG."""

    loader: Loader

    def __call__(self, step: Step) -> Batch:
        x = self.loader.view(step.clean.index, step.generator)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return replace(step.clean, x=x, rows=torch.arange(len(x), device=x.device))


@dataclass(frozen=True)
class Validation:
    """As many validation samples as the clean batch has, drawn with the step's RNG (with replacement)."""

    split: Split

    def __call__(self, step: Step) -> Batch:
        y = self.split.y
        at = torch.randint(len(y), (len(step.clean.y),), generator=step.generator, device=y.device)
        return Batch(self.split.floats(at), y[at], at)
