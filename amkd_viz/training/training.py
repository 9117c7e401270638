"""What a recipe stands for, in memory and on the device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.rng import defaults_seeded, mix
from amkd_viz.data import Dataset, Loader, augment_for, load
from amkd_viz.models import Classifier, build, inference_copy
from amkd_viz.models.classifier import buffers_kept
from amkd_viz.objectives import Step
from amkd_viz.training.clock import Clock
from amkd_viz.training.device import pick_device, pick_precision
from amkd_viz.training.evaluation import logits_on, scores
from amkd_viz.training.events import Event
from amkd_viz.training.graph import CudaRecorder, StepGraph
from amkd_viz.training.log import Log
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.schedule import learning_rate
from amkd_viz.training.seeding import Chance

__all__ = ["LIVE", "Training"]

LIVE = (
    "learning_rate",
    "step_size",
    "attack_steps",
    "max_boundary_samples",
)  # fields of Recipe that may change while training

# Recipes that agree on these have the same data and the same teacher (see teacher_recipe).
OF_DATA = ("dataset", "root", "data_seed", "device", "precision")
OF_TEACHER = ("teacher", "teacher_epochs", "teacher_batch_size", "teacher_learning_rate", "augment")


class Training:
    """What a recipe stands for, in memory and on the device: data, nets, objective, optimiser, position."""

    def __init__(
        self,
        recipe: Recipe,
        like: Training | None = None,
        listen: Callable[[Event], None] | None = None,
        alone: bool = False,
    ) -> None:
        """Load, build and check everything.

        Args:
            like: an earlier training that lends its data and teacher where the recipes name the same.
            listen: hears the training of the teacher, if there has to be one.
            alone: without a teacher, as a teacher itself is trained.
        """
        # a teacher may have to be trained first, by this very loop
        from amkd_viz.training.teachers import teacher_for, weights_of

        self.recipe = recipe
        if like is not None and any(getattr(like.recipe, f) != getattr(recipe, f) for f in OF_DATA + OF_TEACHER):
            like = None
        self.device = pick_device(recipe.device)
        self.full: Dataset = like.full if like else load(recipe.dataset, root=recipe.root, seed=recipe.data_seed)
        limited = self.full.limit(recipe.num_train, recipe.data_seed) if recipe.num_train else self.full
        self.dataset = limited.to(self.device)
        self.layout = torch.channels_last if self.dataset.kind == "images" else torch.contiguous_format
        self.student = build(recipe.student, self.dataset, seed=mix(recipe.seed, "student"))
        self.student.to(self.device).to(memory_format=self.layout)
        self.teacher: Classifier | None = None
        self.teacher_weights = ""  # ten hex digits that tell teachers apart
        self._teacher_logits: dict[str, Tensor] = {}
        if like is not None and like.teacher is not None:
            self.teacher, self._teacher_logits = like.teacher, like._teacher_logits
            self.teacher_weights = like.teacher_weights
        elif not alone:
            teacher = teacher_for(recipe, listen, self.full)
            check_pair(teacher, self.dataset, recipe.teacher)
            self.teacher_weights = weights_of(teacher)
            # folded and frozen: about a third less time in the attack, the same logits
            self.teacher = inference_copy(teacher).to(self.device).to(memory_format=self.layout)
        self._given = self.teacher
        self.objective, self.attack = recipe.objective, recipe.attack
        with defaults_seeded(mix(recipe.seed, "modules")):
            self.modules = self.objective.modules(self.teacher or self.student, self.student).to(self.device)
        self.parameters = [*self.student.parameters(), *self.modules.parameters()]
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
        precision, about_precision = pick_precision(recipe.precision, self.device.type)
        self.autocast = torch.bfloat16 if precision == "bf16" else None
        few = self.dataset.train.floats(slice(0, 2)).contiguous(memory_format=self.layout)
        self.chance = Chance(recipe.seed, self.student, few)
        on_gpu = self.device.type == "cuda"
        self.graph = StepGraph(CudaRecorder(self.device, self.chance.generator)) if on_gpu else None  # None: as usual
        self.epoch, self.batch = 0, 0  # the next batch to train on
        self.clock = Clock(self.device)  # of the steps, over all sessions
        self.log = Log()  # of the epoch that is going on
        self.changes: dict[str, Any] = {}  # made while training
        self.notes = [*notes_on(recipe, self.dataset), *([about_precision] if about_precision else [])]
        self._asking = threading.Lock()
        self._wishes: deque[dict[str, Any]] = deque()
        self._wished = recipe  # with all wishes that wait

    @property
    def is_its_recipes(self) -> bool:
        """Whether teacher and objective are still those that the recipe names."""
        return self.teacher is self._given and self.objective == self.recipe.objective

    def wish(self, **changes: Any) -> None:
        """Ask for other settings from the next batch on; may be called from any thread.

        Args:
            changes: fields of ``LIVE``, or TERM.FIELD as in ``Objective.changed``.

        Raises:
            InputError: at once, if a name or a value is not allowed; nothing changes then.
        """
        with self._asking:
            self._wished = changed(self._wished, changes)
            self._wishes.append(changes)

    def wishes(self) -> Iterator[dict[str, Any]]:
        """Take what has been asked for."""
        while self._wishes:
            yield self._wishes.popleft()

    def change(self, changes: dict[str, Any]) -> None:
        """Go on with other settings."""
        self.recipe = changed(self.recipe, changes)
        with self._asking:
            if not self._wishes:
                self._wished = self.recipe
        self.objective, self.attack = self.recipe.objective, self.recipe.attack
        self.changes |= changes

    @property
    def progress(self) -> float:
        """e / E of the objective's schedules, in (0, 1]."""
        return (self.epoch + 1) / self.recipe.epochs

    def step(self, x: Tensor, y: Tensor) -> Step:
        """Forward, backward and update on the next batch; returns the step with what it has computed.

        If a pause point inside ends it, nothing has happened: batch statistics are put back.
        """
        recipe, batches = self.recipe, len(self.loader)
        done = (self.epoch * batches + self.batch) / (recipe.epochs * batches)
        rate = learning_rate(recipe.schedule, recipe.learning_rate, done)
        # published recipe: momentum starts anew at each drop
        drops = recipe.schedule == "step" and rate < self.optimiser.param_groups[0]["lr"]
        self.student.train()
        x = x.contiguous(memory_format=self.layout)
        with self.clock.step():
            with self.chance.at(self.epoch, self.batch):
                step = self.graph(self, x, y) if self.graph else self.compute(self.new_step(x, y))
            if drops:
                self.optimiser.state.clear()
            self.optimiser.param_groups[0]["lr"] = rate
            self.optimiser.step()
        self.log.add(step)
        self.batch += 1
        return step

    def seed_chance(self) -> None:
        """Let the step that is computed draw its numbers again."""
        self.chance.seed(self.epoch, self.batch)

    def new_step(self, x: Tensor, y: Tensor) -> Step:
        """Nothing of it is computed yet."""
        return Step(
            teacher=self.teacher or self.student,
            student=self.student,
            x=x,
            y=y,
            progress=self.progress,
            generator=self.chance.generator,
            attack=self.attack,
            modules=self.modules,
        )

    def compute(self, step: Step) -> Step:
        """Loss and gradients, or nothing where a pause point ends it."""
        put_back = buffers_kept(self.student)
        try:
            loss = self.loss(step)
        except BaseException:
            put_back()
            raise
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        return step

    def loss(self, step: Step) -> Tensor:
        """The objective in the recipe's precision."""
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            return self.objective(step)

    def end_epoch(self) -> dict[str, Any]:
        """Validate, and go to the start of the next epoch; returns the epoch's metrics beside its log.

        Raises:
            InputError: a term is no longer finite.
        """
        recipe, terms = self.recipe, self.log.read()["terms"]
        if not all(v == v and abs(v) != float("inf") for v in terms.values()):
            raise InputError(
                f"The loss is not finite in epoch {self.epoch + 1} ({terms}); "
                f"lower learning_rate={recipe.learning_rate} or the weights."
            )
        done = self.epoch + 1
        metrics: dict[str, Any] = {}
        if done % recipe.evaluate_every == 0 or done == recipe.epochs:
            metrics |= self.evaluate("val")
        metrics["learning_rate"] = self.optimiser.param_groups[0]["lr"]
        metrics["weights"] = self.objective.weights(done / recipe.epochs)
        self.epoch, self.batch, self.log = done, 0, Log()
        return metrics

    def evaluate(self, split: str) -> dict[str, float]:
        """Accuracy, agreement with the teacher and KL on "val" or "test"."""
        part = getattr(self.dataset, split)
        student = logits_on(self.student, part, autocast=self.autocast)
        if self.teacher is None:
            return {f"{split}_accuracy": scores(student, student, part.y)["accuracy"]}
        if split not in self._teacher_logits:
            self._teacher_logits[split] = logits_on(self.teacher, part, autocast=self.autocast)
        found = scores(student, self._teacher_logits[split], part.y)
        return {f"{split}_{name}": value for name, value in found.items()}

    def state(self) -> dict[str, Any]:
        """Everything that changes while training, between any two batches; tensors, texts and numbers only."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.clock.seconds,
            "changes": dict(self.changes),
            "log": self.log.state(),
            "student": self.student.state_dict(),
            "modules": self.modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on as if training had never stopped: chance is a function of (seed, epoch, batch), not of history.

        A state without optimiser and modules (a fork starts so) takes fresh ones.
        """
        self.epoch, self.batch = state["epoch"], state.get("batch", 0)
        self.clock = Clock(self.device, state.get("seconds", 0.0))
        self.student.load_state_dict(state["student"])
        if "optimiser" in state:
            self.modules.load_state_dict(state["modules"])
            self.optimiser.load_state_dict(state["optimiser"])
        self.log = Log(state.get("log"), self.device)
        if state.get("changes"):
            self.change(state["changes"])


def changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with changes that are allowed while training.

    Raises:
        InputError: a name or a value is not.
    """
    terms = {name: value for name, value in changes.items() if "." in name}
    own = {name: value for name, value in changes.items() if "." not in name}
    for name in own:
        if name not in LIVE:
            raise unknown("setting to change while training", name, [*LIVE, "TERM.FIELD"])
    return recipe.replace(**own, overrides={**recipe.overrides, **terms})


def notes_on(recipe: Recipe, dataset: Dataset) -> Iterator[str]:
    """What a person should know before reading the numbers."""
    terms = recipe.objective.names
    if "boundary_triplet" in terms and dataset.num_classes < 3:
        yield (
            f"{dataset.name} has {dataset.num_classes} classes, so no negative lies outside a pair of them: "
            f"the triplets of {recipe.method} are empty and it equals bss."
        )
    if any(term.on_boundary for term, _ in recipe.objective.summands):
        if not any(recipe.objective.reads_boundary((e + 1) / recipe.epochs) for e in range(recipe.epochs)):
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


def check_pair(teacher: Classifier, dataset: Dataset, name: str) -> None:
    """The teacher must take the data's inputs and know its classes."""
    try:
        if teacher.shape != dataset.shape:  # some nets take any height and width
            with torch.no_grad():
                teacher(torch.zeros(1, *dataset.shape))
    except (RuntimeError, InputError) as error:
        raise InputError(
            f"Teacher {name} takes inputs of shape {teacher.shape}, but {dataset.name} has {dataset.shape}."
        ) from error
    if teacher.num_classes != dataset.num_classes:
        raise InputError(
            f"Teacher {name} knows {teacher.num_classes} classes, but {dataset.name} has {dataset.num_classes}; "
            "use a teacher that was trained on this data set."
        )
