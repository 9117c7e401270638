"""One training step's quantities, each computed when a term first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from amkd_viz.boundary import (
    BoundarySamples,
    bss,
    deepfool,
    fgsm,
    noise,
    sample_targets,
    select_always,
    select_bases,
)
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.models import Classifier, Outputs

__all__ = ["Attack", "BoundaryBatch", "Step"]


@dataclass(frozen=True)
class Attack:
    """How boundary samples are made within a step (arXiv 1805.05532, section 3; its settings are the defaults).

    ``sampler`` and the terms that read its samples are independent choices.
    """

    sampler: str = "bss"
    step_size: float = 0.3
    steps: int = 10
    step_rule: str = "gap"
    limit: int = 64
    epsilon: float = 8 / 255
    boundary_bn: str = "separate"

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise unknown("boundary sampler", self.sampler, SAMPLERS)
        if self.boundary_bn not in ("separate", "joint", "frozen"):
            raise unknown("student pass", self.boundary_bn, ["separate", "joint", "frozen"])
        if self.step_rule not in ("gap", "newton"):
            raise unknown("step_rule", self.step_rule, ["gap", "newton"])
        if not (self.step_size > 0 and self.epsilon > 0 and self.steps >= 1):
            raise InputError(
                "The attack needs step_size > 0, epsilon > 0 and steps >= 1, "
                f"not step_size={self.step_size}, epsilon={self.epsilon}, steps={self.steps}."
            )
        if self.limit < 1:
            raise InputError(f"At least one sample of a batch must be attacked, not {self.limit}.")

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, generator: torch.Generator) -> BoundarySamples:
        """Boundary samples of ``x``."""
        return SAMPLERS[self.sampler](self, model, x, target, generator)


def _bss(a: Attack, net: nn.Module, x: Tensor, k: Tensor, _: torch.Generator) -> BoundarySamples:
    return bss(net, x, k, step_size=a.step_size, steps=a.steps, step_rule=a.step_rule, check=False)


Sampler = Callable[[Attack, nn.Module, Tensor, Tensor, torch.Generator], BoundarySamples]
SAMPLERS: dict[str, Sampler] = {
    "bss": _bss,
    "fgsm": lambda a, net, x, k, g: fgsm(net, x, k, epsilon=a.epsilon, check=False),
    "noise": lambda a, net, x, k, g: noise(net, x, k, epsilon=a.epsilon, generator=g, check=False),
    # on a GPU its samples differ in the classes they are compared with, so the host waits for it at each step
    "deepfool": lambda a, net, x, k, g: deepfool(net, x, k, steps=a.steps),
}


@dataclass(frozen=True)
class BoundaryBatch:
    """Boundary samples of the base images ``index`` (M,) of the batch.

    Where shapes may not depend on data, M is always the limit: too few base images are repeated, for the student's
    batch statistics, and ``first`` (M,) bool says which are there for the first time. None stands for all. A single one
    has no statistics and is left out.
    """

    index: Tensor
    samples: BoundarySamples
    first: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Of (M,) values, each base image counted once; 0 without any."""
        if self.first is None:
            return values.mean() if len(values) else values.sum()
        return (values * self.first).sum() / self.first.sum().clamp_min(1)


@dataclass
class Step:
    """Teacher and student on one batch. Every property is computed once, when first read; logits are float32.

    Attributes:
        teacher: frozen, in eval mode. student: in the mode the loop left it in.
        x: (B, ...) in [0, 1]; y: (B,) labels.
        progress: e / E in (0, 1].
        reads_boundary: a live term reads the boundary samples (the objective says so; only the joint pass asks).
        generator: of all chance in the step but what layers draw for themselves.
        static: no shape depends on data, so that the host never waits for a GPU; by default on all but a CPU.
        modules: learned parts of the terms, by term name.
        weights: scalars on the device that stand for the objective's own weights, by term name; a step that is recorded
            and replayed must not contain these as numbers.
        terms: the value of each live term, once the objective has been called.
        metrics: scalars that terms leave behind for the log; histograms likewise, 32 bins over [0, 4].
    """

    teacher: Classifier
    student: Classifier
    x: Tensor
    y: Tensor
    progress: float
    generator: torch.Generator
    attack: Attack = field(default_factory=Attack)
    reads_boundary: bool = False
    static: bool | None = None
    modules: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, Tensor] = field(default_factory=dict)
    histograms: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def teacher_clean(self) -> Outputs:
        with torch.no_grad():
            return _wide(self.teacher.outputs(self.x))

    @cached_property
    def student_clean(self) -> Outputs:
        if self.attack.boundary_bn == "joint" and self.reads_boundary:
            return self._joint[0]
        return _wide(self.student.outputs(self.x))

    @cached_property
    def boundary(self) -> BoundaryBatch:
        """Base selection, target draw and attack (arXiv 1805.05532, sections 3.1 to 3.3)."""
        if self.attack.boundary_bn == "joint":  # the joint pass needs the samples first, so select without it
            with torch.no_grad(), _frozen_norms(self.student):
                student_logits = self.student(self.x)
        else:
            student_logits = self.student_clean.logits.detach()
        told, first = (self.teacher_clean.logits, student_logits, self.y, self.attack.limit), None
        if self.static if self.static is not None else self.x.device.type != "cpu":
            best, count = select_always(*told)
            row = torch.arange(len(best), device=best.device)
            again, first = row % count.clamp_min(1), (row < count) & (count > 1)
            target = sample_targets(self.teacher_clean.logits[best], self.generator)[again]
            index = best[again]
        else:
            index = select_bases(*told)
            target = sample_targets(self.teacher_clean.logits[index], self.generator)
        samples = self.attack(self.teacher, self.x[index].detach(), target, self.generator)
        batch = BoundaryBatch(index, samples, first)
        if len(index):
            self.metrics["attack.crossed"] = batch.mean(samples.crossed.float())
            self.metrics["attack.reached_target"] = batch.mean((samples.status == 1).float())
        return batch

    @cached_property
    def teacher_boundary(self) -> Outputs:
        """The teacher on the boundary samples, with features; the logits alone come with the samples for free."""
        with torch.no_grad():
            return _wide(self.teacher.outputs(self.boundary.samples.x))

    @cached_property
    def student_boundary(self) -> Outputs:
        """The student on the boundary samples: in its own pass, joined to the clean batch, or with frozen norms."""
        samples, mode = self.boundary.samples, self.attack.boundary_bn
        if len(samples) == 0:
            return Outputs(self.student_clean.logits[:0], self.student_clean.features[:0], {})  # stays in the graph
        if mode == "joint":
            embedding = self._joint[1]
        elif mode == "frozen" or len(samples) == 1:  # one sample has no batch statistics
            with _frozen_norms(self.student):
                embedding = _wide(self.student.outputs(samples.x))
        else:
            with _counting(self.student, self.boundary.first):
                embedding = _wide(self.student.outputs(samples.x))
        log_teacher, log_student = samples.logits.log_softmax(1), embedding.logits.detach().log_softmax(1)
        mean = self.boundary.mean
        self.metrics["boundary.kl"] = mean((log_teacher.exp() * (log_teacher - log_student)).sum(1))
        self.metrics["boundary.student_flipped"] = mean((log_student.argmax(1) != samples.base).float())
        return embedding

    @cached_property
    def _joint(self) -> tuple[Outputs, Outputs]:
        samples = self.boundary.samples
        both = _wide(self.student.outputs(torch.cat([self.x, samples.x])))
        (clean_z, edge_z), (clean_f, edge_f) = (part.split([len(self.x), len(samples)]) for part in both[:2])
        return Outputs(clean_z, clean_f, {}), Outputs(edge_z, edge_f, {})


def _wide(embedding: Outputs) -> Outputs:
    """float32 under autocast; float64 stays."""

    def wide(t: Tensor) -> Tensor:
        return t if t.dtype == torch.float64 else t.float()

    return Outputs(wide(embedding.logits), wide(embedding.features), embedding.layers)


@contextmanager
def _counting(model: nn.Module, rows: Tensor | None) -> Iterator[None]:
    """What a pass leaves in the batch norms counts only if one of its ``rows`` (M,) bool does; None stands for all."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    # .data: autograd has kept them, and does not read them in training mode
    own = [part.data for m in norms for part in (m.running_mean, m.running_var) if part is not None]
    if rows is None or not own:
        yield
        return
    before = torch._foreach_add(own, 0.0)  # one kernel for all, as below: a GPU's step has many small ones already
    yield
    torch._foreach_sub_(own, before)
    torch._foreach_mul_(own, rows.any().to(own[0].dtype))
    torch._foreach_add_(own, before)


@contextmanager
def _frozen_norms(model: nn.Module) -> Iterator[None]:
    """Batch norms use and keep their running statistics; everything else stays in its mode."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True
