"""Batches that a step makes when a term first reads them: boundary samples, validation samples, and the views."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from amkd_viz.boundary import BSS, BoundarySamples, Sampler, refine, sample_targets, select_always, select_bases
from amkd_viz.boundary.samples import as_logits
from amkd_viz.boundary.selection import BASES
from amkd_viz.core.fields import Fields, option
from amkd_viz.core.registry import Registry
from amkd_viz.data import Loader
from amkd_viz.data.dataset import Split
from amkd_viz.objectives.step import Batch, Step

__all__ = ["Boundary", "Inside", "SecondView", "Validation", "View", "views"]


@dataclass(frozen=True, repr=False)
class Boundary(Fields):
    """Boundary samples of the clean batch: base selection, target draw and attack (arXiv 1805.05532, sections 3.1-3.3).

    Published are ``bases`` "difference", ``refined`` 0 and ``kept`` 1; the rest is our reading of AMKD's "close to the
    decision boundary".

    Attributes:
        sampler: the attack. limit: maximum number of base samples in a batch. of: the net that is attacked.
        bases: which base samples come first, see ``select_bases``. refined: bisections after the attack, see
            ``refine``. kept: share of the samples that is kept, those whose two largest probabilities are nearest.
    """

    sampler: Sampler = field(default_factory=BSS)
    limit: int = option(64, "maximum number of boundary samples in a batch", low=1)
    of: str = option("teacher", "the net that is attacked")
    bases: str = option("difference", "which base samples come first", choices=BASES)
    refined: int = option(0, "bisections after the attack", low=0, high=20)
    kept: float = option(1.0, "share of the boundary samples that is kept", low=0.05, high=1.0)

    def __call__(self, step: Step) -> Batch:
        rows, target, first = self.choose(step)
        clean = step.clean
        samples = self._attacked(step, step.ranks.collect(clean.x, rows, len(clean.y)).detach(), target)
        return self.batch(step, rows, samples, first)

    def choose(self, step: Step) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the rows that are attacked, towards which classes, and which of them count; see ``Batch``."""
        attacked = step.outputs(self.of).logits.detach()
        chosen = (attacked, step.selection_logits("student"), step.clean.y, self.limit, self.bases)
        first = None
        if step.static:
            best, count = select_always(*chosen)
            row = torch.arange(len(best), device=best.device)
            again, first = row % count.clamp_min(1), row < count
            target = sample_targets(attacked[best], step.generator, step.waits)[again]
            rows = best[again]
        else:
            rows = select_bases(*chosen)
            target = sample_targets(attacked[rows], step.generator, step.waits)
        return rows, target, first

    def attack(self, net: nn.Module, x: Tensor, target: Tensor, generator: torch.Generator) -> BoundarySamples:
        """Return the samples that the sampler makes, refined."""
        samples = self.sampler(net, x, target, generator)
        return refine(net, samples, self.refined) if self.refined else samples

    def batch(self, step: Step, rows: Tensor, samples: BoundarySamples, first: Tensor | None) -> Batch:
        """Return the batch of the samples that are kept."""
        clean = step.clean
        if self.kept < 1:
            order, first = self._nearest(samples, first)
            rows, samples = rows[order], samples[order]
        own = samples.x[step.ranks.own(len(rows))]
        batch = Batch(own, clean.y[rows], clean.index[rows], rows, samples, first)
        if len(rows) and self.of == "teacher":
            step.metrics["attack.crossed"] = batch.mean(samples.crossed.float())
            step.metrics["attack.reached_target"] = batch.mean((samples.status == 1).float())
            step.metrics["attack.gap"] = batch.mean(samples.gap)
        return batch

    def _attacked(self, step: Step, x: Tensor, target: Tensor) -> BoundarySamples:
        """Attack M samples; each rank attacks its part of them, unless the attack draws for all at once."""
        net, ranks, draws = step.nets[self.of], step.ranks, getattr(self.sampler, "draws", True)
        own = slice(None) if draws else ranks.own(len(x))
        samples = self.attack(net, x[own], target[own], step.generator)
        if draws or ranks.count == 1:
            return samples
        names = ("x", "base", "status", "steps", "inside", "logits")
        whole: dict[str, Any] = {name: ranks.gather(getattr(samples, name), len(x)) for name in names}
        return replace(samples, **whole, target=target, origin=x, path=None)

    def _nearest(self, samples: BoundarySamples, first: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the places of the samples that are kept, nearest first, and which of them count; see ``Batch``."""
        gap = torch.where(samples.crossed, samples.gap, 2.0)
        if first is None:
            return gap.argsort()[: math.ceil(self.kept * len(gap))], None
        few = (self.kept * first.sum()).ceil().long()
        place = torch.arange(len(gap), device=gap.device)
        return gap.masked_fill(~first, 3.0).argsort()[place % few.clamp_min(1)], place < few


@dataclass(frozen=True)
class Inside:
    """The boundary samples one step earlier: the last iterates in their base class."""

    of: ClassVar[str] = "teacher"

    def __call__(self, step: Step) -> Batch:
        batch = step.batch("boundary")
        samples = batch.samples
        assert samples is not None
        logits = samples.logits
        if len(samples):
            with torch.no_grad():
                logits = as_logits(step.nets[self.of](samples.inside))
        own = samples.inside[step.ranks.own(len(samples))]
        return replace(batch, x=own, samples=replace(samples, x=samples.inside, logits=logits))


@dataclass(frozen=True)
class View:
    """A batch made of the clean one.

    Attributes:
        loader: of the training split. images: whether it needs images, not points.
    """

    loader: Loader
    images: ClassVar[bool] = False

    def __call__(self, step: Step) -> Batch:
        """Return the batch; random numbers come from the step's generator."""
        raise NotImplementedError

    def batch(self, step: Step, x: Tensor, **about: Any) -> Batch:
        """Return the samples of the clean batch as ``x`` shows them."""
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return replace(step.clean, x=x, rows=torch.arange(len(step.clean.y), device=x.device), **about)


views: Registry[type[View]] = Registry("view")


class SecondView(View):
    """The samples of the clean batch, augmented a second time with the step's RNG."""

    def __call__(self, step: Step) -> Batch:
        index = step.clean.index
        return self.batch(step, self.loader.view(index, step.generator, step.ranks.own(len(index))))


views.add("view2", SecondView)


@dataclass(frozen=True)
class Validation:
    """As many validation samples as the clean batch has, drawn with the step's RNG (with replacement)."""

    split: Split

    def __call__(self, step: Step) -> Batch:
        y = self.split.y
        at = torch.randint(len(y), (len(step.clean.y),), generator=step.generator, device=y.device)
        return Batch(self.split.floats(at[step.ranks.own(len(at))]), y[at], at)
