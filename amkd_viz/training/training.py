"""A training in memory and on the device: nets, objective, optimiser, position."""

from __future__ import annotations

import copy
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.rng import defaults_seeded, mix
from amkd_viz.data import Dataset, Loader, augment_for
from amkd_viz.models import Classifier, build
from amkd_viz.models.classifier import buffers_kept
from amkd_viz.objectives import Batch, SecondView, Step, Validation
from amkd_viz.objectives.step import Source
from amkd_viz.training.clock import Clock
from amkd_viz.training.device import pick_device, pick_precision
from amkd_viz.training.evaluation import logits_on, scores
from amkd_viz.training.graph import CudaRecorder, StepGraph, Work
from amkd_viz.training.log import Log
from amkd_viz.training.recipe import Recipe, renamed
from amkd_viz.training.schedule import drops, learning_rate
from amkd_viz.training.seeding import Seeding

__all__ = ["LIVE", "Training", "changed"]

# Fields of Recipe that may change while training.
LIVE = ("learning_rate", "step_size", "attack_steps", "max_boundary_samples")
PLAIN = {bool, int, float, str}


class Training:
    """What a recipe stands for: data, nets by name, objective, optimiser, position. ``runs.prepare`` makes one.

    Args:
        full: the data set of the recipe, all of it.
        teachers: by net name ("teacher", "teacher2", ...), frozen and on the device; empty to train without a teacher.
        teacher_weights: tells these teachers from others, see ``teachers.fingerprint``.
        teacher_logits: of the teacher, by split, where they are known.

    Attributes:
        nets: "student", the peers and teachers, and "past" (the student at the end of the epoch before, where a term
            reads it). learning: the nets among them that learn. notes: what a person should know before reading the
            numbers; a step may add some.
    """

    def __init__(
        self,
        recipe: Recipe,
        full: Dataset,
        teachers: Mapping[str, Classifier],
        teacher_weights: str = "",
        teacher_logits: dict[str, Tensor] | None = None,
    ) -> None:
        self.recipe, self.full = recipe, full
        self.device = pick_device(recipe.device)
        self.dataset = recipe.subset(full).to(self.device)
        self.layout = layout_of(full)
        self.learning = {"student": self._built(recipe.student, "student")}
        self.learning |= {net: self._built(name, net) for net, name in numbered("peer", recipe.peers).items()}
        self.nets: dict[str, Classifier] = {**self.learning, **teachers}
        self.objective, self.boundary = recipe.objective, recipe.boundary
        if any(net == "past" for net, _, _ in self.objective.reads()):
            self.nets["past"] = copy.deepcopy(self.student).eval().requires_grad_(False)
        self.teacher_weights = teacher_weights  # ten hex digits each
        self.teacher_logits = {} if teacher_logits is None else teacher_logits
        self._given = dict(teachers)
        with defaults_seeded(mix(recipe.seed, "modules")):
            self.modules = self.objective.modules(self.nets).to(self.device)
        self.parameters = [*(p for net in self.learning.values() for p in net.parameters()), *self.modules.parameters()]
        self.optimiser = torch.optim.SGD(
            self.parameters,
            recipe.learning_rate,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True if self.device.type == "cuda" else None,
        )
        self.loader = Loader(
            self.dataset.train,
            recipe.batch_size,
            seed=recipe.seed,
            augment=augment_for(self.dataset, recipe.augment),
            device=self.device,
        )
        for on in self.objective.batches() - {"clean", *self.sources}:
            raise unknown("batch", on, ["clean", *self.sources])
        precision, about_precision = pick_precision(recipe.precision, str(self.device))
        self.autocast = torch.bfloat16 if precision == "bf16" else None
        few = self.dataset.train.floats(slice(0, 2)).contiguous(memory_format=self.layout)
        self.seeding = Seeding(recipe.seed, self.learning.values(), few)
        self.notes = [*notes_on(recipe, self.dataset), *([about_precision] if about_precision else [])]
        on_gpu = self.device.type == "cuda"
        self.graph = StepGraph(CudaRecorder(self.device, self.seeding.generator), self.work) if on_gpu else None
        self.epoch, self.batch = 0, 0  # the next batch to train on
        self.clock = Clock(self.device)  # of the steps, over all sessions
        self.log = Log()  # of the current epoch
        self.overrides: dict[str, Any] = {}  # made while training
        self._lock = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque()
        self._ahead = recipe  # with all overrides that wait

    def _built(self, name: str, net: str) -> Classifier:
        made = build(name, self.dataset, seed=mix(self.recipe.seed, net))
        return made.to(self.device).to(memory_format=self.layout)

    @property
    def work(self) -> Work:
        """What a step does, for its graph."""
        note = self.notes.append
        return Work(self.new_step, self.compute, self.loss, self.seeding.seed, self._keep, note, self.parameters)

    @property
    def student(self) -> Classifier:
        return self.nets["student"]

    @property
    def teacher(self) -> Classifier | None:
        """The first teacher, or None."""
        return self.nets.get("teacher")

    @property
    def sources(self) -> dict[str, Source]:
        """What makes the batches of a step beside "clean", by name."""
        return {
            "boundary": self.boundary,
            "view2": SecondView(self.loader),
            "validation": Validation(self.dataset.val),
        }

    @property
    def follows_recipe(self) -> bool:
        """Whether teachers and objective are still those that the recipe names."""
        same = all(self.nets.get(name) is net for name, net in self._given.items())
        return same and str(self.objective) == str(self.recipe.objective)  # weights that are closures are never equal

    def override(self, **overrides: Any) -> None:
        """Ask for other settings from the next batch on; may be called from any thread.

        Args:
            overrides: fields of ``LIVE``, or TERM.FIELD as in ``Objective.changed``, or SAMPLER.FIELD.

        Raises:
            InputError: at once, if a name or a value is not allowed; nothing changes then.
        """
        with self._lock:
            self._ahead = changed(self._ahead, overrides)
            self._waiting.append(overrides)

    def waiting(self) -> Iterator[dict[str, Any]]:
        """Take the overrides that were asked for."""
        while self._waiting:
            yield self._waiting.popleft()

    def change(self, overrides: dict[str, Any]) -> None:
        """Continue with other settings."""
        self.recipe = changed(self.recipe, overrides)
        with self._lock:
            if not self._waiting:
                self._ahead = self.recipe
        self.objective, self.boundary = self.recipe.objective, self.recipe.boundary
        self.overrides |= overrides

    @property
    def progress(self) -> float:
        """e / E of the objective's schedules, in (0, 1]."""
        return (self.epoch + 1) / self.recipe.epochs

    def step(self, x: Tensor, y: Tensor, index: Tensor) -> Step:
        """Compute forward, backward and update on the next batch; return the step with what it has computed.

        If a pause point inside ends it, nothing has happened: batch statistics are put back.

        Args:
            index: (N,) row of the training split that each sample is.
        """
        recipe, batches = self.recipe, len(self.loader)
        done, of = self.epoch * batches + self.batch, (recipe.epochs * batches, recipe.epochs)
        rate = learning_rate(recipe.schedule, recipe.learning_rate, done, *of)
        for net in self.learning.values():
            net.train()
        x = x.contiguous(memory_format=self.layout)
        with self.clock.step():
            with self.seeding.at(self.epoch, self.batch):
                weights = {label: w for label, w in self.objective.weights(self.progress).items() if w}
                if self.graph and (
                    self.boundary.sampler.static or "boundary" not in self.objective.batches(self.progress)
                ):
                    step = self.graph(x, y, index, weights, self.progress, self._kind())
                else:
                    step = self.compute(self.new_step(x, y, index))
            if recipe.schedule == "step" and drops(done, *of) > drops(done - 1, *of):
                self.optimiser.state.clear()  # published recipe: momentum starts anew at each drop of the schedule
            self.optimiser.param_groups[0]["lr"] = rate
            self.optimiser.step()
        self.log.add(step)
        self.batch += 1
        return step

    def _kind(self) -> object:
        """Return what a step may read as Python values beside its progress: a recording holds them for good."""
        learning = [module for net in (*self.learning.values(), self.modules) for module in net.modules()]
        return (
            (self.objective.summands, self.boundary, self.recipe.boundary_bn, self.loader.augment),
            [*self.nets.items()],
            [p.requires_grad for p in self.parameters],
            [value for module in learning for value in vars(module).values() if type(value) in PLAIN],
        )

    def new_step(self, x: Tensor, y: Tensor, index: Tensor) -> Step:
        """Return the step of a batch, with nothing computed yet."""
        return Step(
            nets=self.nets,
            clean=Batch(x, y, index),
            progress=self.progress,
            generator=self.seeding.generator,
            sources=self.sources,
            boundary_bn=self.recipe.boundary_bn,
            seeding=self.seeding.cell if self.seeding.draws and self.graph is None else None,
            modules=self.modules,
        )

    def compute(self, step: Step) -> Step:
        """Compute loss and gradients, or nothing where a pause point ends the step."""
        put_back = self._keep()
        try:
            loss = self.loss(step)
        except BaseException:
            put_back()
            raise
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        return step

    def _keep(self) -> Callable[[], None]:
        """Keep the batch statistics of the learning nets; what is returned puts them back."""
        kept = [buffers_kept(net) for net in self.learning.values()]

        def put_back() -> None:
            for one in kept:
                one()

        return put_back

    def loss(self, step: Step) -> Tensor:
        """Return the objective in the recipe's precision."""
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            return self.objective(step)

    def close(self) -> None:
        """Free the recorded step; a training that goes on records it again."""
        if self.graph:
            self.graph.forget()

    def end_epoch(self) -> dict[str, Any]:
        """Validate, and go to the start of the next epoch; return the epoch's metrics beside its log.

        Raises:
            InputError: a term or a weight is no longer finite.
        """
        recipe, terms = self.recipe, self.log.read()["terms"]
        if not all(map(math.isfinite, terms.values())):
            raise self._diverged(f"The loss is not finite in epoch {self.epoch + 1} ({terms})")
        self._check_finite()
        done = self.epoch + 1
        metrics: dict[str, Any] = {}
        if done % recipe.evaluate_every == 0 or done == recipe.epochs:
            metrics |= self.evaluate("val")
        metrics["learning_rate"] = self.optimiser.param_groups[0]["lr"]
        metrics["weights"] = self.objective.weights(done / recipe.epochs)
        if "past" in self.nets:
            self.nets["past"].load_state_dict(self.student.state_dict())
        self.epoch, self.batch, self.log = done, 0, Log()
        return metrics

    def evaluate(self, split: str) -> dict[str, float]:
        """Return accuracy, agreement with the teacher and KL on "val" or "test"; a peer's names begin with ``peer.``"""
        part = getattr(self.dataset, split)
        if self.teacher is not None and split not in self.teacher_logits:
            self.teacher_logits[split] = logits_on(self.teacher, part, autocast=self.autocast)
        metrics: dict[str, float] = {}
        for name, net in self.learning.items():
            own = logits_on(net, part, autocast=self.autocast)
            found = scores(own, self.teacher_logits.get(split, own), part.y)
            shown = found if self.teacher is not None else {"accuracy": found["accuracy"]}
            start = "" if name == "student" else f"{name}."
            metrics |= {f"{start}{split}_{key}": value for key, value in shown.items()}
        return metrics

    def state(self) -> dict[str, Any]:
        """Return everything that changes while training, between any two batches; tensors, texts and numbers only.

        Raises:
            InputError: a weight, a batch statistic or a momentum is not finite.
        """
        self._check_finite()
        others = {name: net for name, net in self.nets.items() if name in self.learning or name == "past"}
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.clock.seconds,
            "changes": dict(self.overrides),
            "log": self.log.state(),
            "student": self.student.state_dict(),
            "nets": {name: net.state_dict() for name, net in others.items() if name != "student"},
            "modules": self.modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def _check_finite(self) -> None:
        nets = [net.state_dict() for net in (*self.learning.values(), self.modules)]
        if not finite([nets, self.optimiser.state_dict()["state"]]):
            raise self._diverged(f"A weight or its momentum is not finite in epoch {self.epoch + 1}")

    def _diverged(self, what: str) -> InputError:
        rate = f"{'' if self.recipe.teacher else 'teacher_'}learning_rate={self.recipe.learning_rate}"
        advice = " and resume the run, which goes on from its last checkpoint" if self.recipe.teacher else ""
        return InputError(f"{what}; lower {rate} or the weights of the terms{advice}.")

    def restore(self, state: dict[str, Any]) -> None:
        """Continue as if training had never stopped: random numbers depend on (seed, epoch, batch), not on history.

        A state without optimiser and modules (a fork starts so) takes fresh ones.
        """
        self.epoch, self.batch = state["epoch"], state.get("batch", 0)
        self.clock = Clock(self.device, state.get("seconds", 0.0))
        self.student.load_state_dict(state["student"])
        for name, weights in ({"past": state["student"]} | state.get("nets", {})).items():
            if name in self.nets:
                self.nets[name].load_state_dict(weights)
        if "optimiser" in state:
            self.modules.load_state_dict(state["modules"])
            self.optimiser.load_state_dict(state["optimiser"])
        self.log = Log(state.get("log"), self.device)
        if state.get("changes"):
            self.change(renamed(state["changes"]))


def finite(state: Any) -> bool:
    """Return whether every tensor in nested dictionaries and lists is finite."""
    tensors = list(_tensors(state))
    return not tensors or bool(torch.stack([t.isfinite().all() for t in tensors]).all())


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping | list | tuple):
        for value in state.values() if isinstance(state, Mapping) else state:
            yield from _tensors(value)


def layout_of(dataset: Dataset) -> torch.memory_format:
    """Return the memory format in which nets and batches of a data set are kept."""
    return torch.channels_last if dataset.kind == "images" else torch.contiguous_format


def numbered(role: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return net names for several nets of a role: "teacher", "teacher2", "teacher3"."""
    return {role if place == 0 else f"{role}{place + 1}": name for place, name in enumerate(names)}


def changed(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Return the recipe with overrides that are allowed while training.

    Raises:
        InputError: a name or a value is not allowed.
    """
    numbers = {name: value for name, value in overrides.items() if "." in name}
    own = {name: value for name, value in overrides.items() if "." not in name}
    for name in own:
        if name not in LIVE:
            raise unknown("setting to change while training", name, [*LIVE, "TERM.FIELD"])
    return recipe.replace(**own, overrides={**recipe.overrides, **numbers})


def notes_on(recipe: Recipe, dataset: Dataset) -> Iterator[str]:
    """Yield what a person should know before reading the numbers."""
    objective, live = recipe.objective, [(e + 1) / recipe.epochs for e in range(recipe.epochs)]
    if "boundary_triplet" in objective.names and dataset.num_classes < 3:
        yield (
            f"{dataset.name} has {dataset.num_classes} classes, so no negative lies outside a pair of them: "
            f"the triplets of {recipe.method} are empty and it equals bss."
        )
    if "boundary" in objective.batches():
        if not any("boundary" in objective.batches(progress) for progress in live):
            yield (
                f"With epochs={recipe.epochs} the terms on boundary samples of {recipe.method} never have a weight, so "
                "nothing is attacked: take more epochs."
            )
        elif recipe.sampler == "bss" and recipe.step_rule == "newton" and recipe.step_size < 1:
            left = (1 - recipe.step_size) ** recipe.attack_steps
            yield (
                f"With step_rule=newton each step goes {recipe.step_size:g} of the way to the boundary, so that about "
                f"{100 * left:.1f} % of it is left after {recipe.attack_steps} and few samples cross: take a step_size "
                "just above 1, such as 1.05."
            )
    for net in numbered("teacher", recipe.teachers):
        if net != "teacher" and not any(read[0] == net for read in objective.reads()):
            yield f"No term of {recipe.method} reads the net {net!r}: it is loaded and has no effect."
