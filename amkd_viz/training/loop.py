"""The training loop: a generator of events, and the things it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from amkd_viz.boundary import boundary_similarity
from amkd_viz.data import Dataset, Loader, augment_for, load
from amkd_viz.data.seeds import generator, mix
from amkd_viz.errors import InputError
from amkd_viz.models import Classifier, build, inference_copy
from amkd_viz.objectives import BoundaryBatch, Step
from amkd_viz.training.device import pick_device
from amkd_viz.training.evaluation import accuracy, logits_on, scores
from amkd_viz.training.log import Log
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.schedule import learning_rate

__all__ = ["EpochEnded", "Event", "Finished", "Started", "Stepped", "Training", "events"]


@dataclass(frozen=True)
class Started:
    training: Training


@dataclass(frozen=True)
class Stepped:
    """One optimiser step. ``terms`` are unweighted scalars on the device: reading one waits for it."""

    epoch: int
    batch: int
    batches: int
    terms: dict[str, Tensor]
    boundary: BoundaryBatch | None


@dataclass(frozen=True)
class EpochEnded:
    epoch: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    summary: dict[str, Any]


Event = Started | Stepped | EpochEnded | Finished


# Recipes that agree on these have the same data and the same teacher (see teacher_recipe).
SHARED = [
    *("dataset", "root", "data_seed", "device", "precision", "augment"),
    *("batch_size", "learning_rate", "teacher", "teacher_epochs"),
]


class Training:
    """What a recipe stands for, in memory and on the device: data, nets, objective, optimiser, position."""

    def __init__(
        self, recipe: Recipe, like: Training | None = None, listen: Callable[[Event], None] | None = None
    ) -> None:
        """Load, build and check everything.

        Args:
            like: an earlier training that lends its data and teacher where the recipes name the same.
            listen: hears the training of the teacher, if there has to be one.
        """
        from amkd_viz.training.teachers import teacher_for  # a teacher may have to be trained first, by this very loop

        self.recipe = recipe
        if like is not None and any(getattr(like.recipe, f) != getattr(recipe, f) for f in SHARED):
            like = None
        self.device = pick_device(recipe.device)
        self.full: Dataset = like.full if like else load(recipe.dataset, root=recipe.root, seed=recipe.data_seed)
        limited = self.full.limit(recipe.limit_train, recipe.data_seed) if recipe.limit_train else self.full
        self.dataset = limited.to(self.device)
        self.layout = torch.channels_last if self.dataset.kind == "images" else torch.contiguous_format
        self.student = build(recipe.student, self.dataset, seed=mix(recipe.seed, "student"))
        self.student.to(self.device).to(memory_format=self.layout)
        self.teacher: Classifier | None = None
        self._teacher_logits: dict[str, Tensor] = {}
        if like is not None and like.teacher is not None:
            self.teacher, self._teacher_logits = like.teacher, like._teacher_logits
        elif needs_teacher(recipe):
            teacher = teacher_for(recipe, listen)
            check_pair(teacher, self.dataset, recipe.teacher)
            # folded and frozen: about a third less time in the attack, the same logits
            self.teacher = inference_copy(teacher).to(self.device).to(memory_format=self.layout)
        self.objective, self.attack = recipe.objective, recipe.attack
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mix(recipe.seed, "modules"))
            self.modules = self.objective.modules(self.teacher or self.student, self.student).to(self.device)
        self.parameters = [*self.student.parameters(), *self.modules.parameters()]
        self.optimiser = torch.optim.SGD(
            self.parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.loader = Loader(
            self.dataset.train,
            recipe.batch_size,
            seed=recipe.seed,
            augment=augment_for(self.dataset, recipe.augment),
            device=self.device,
        )
        self.autocast = torch.bfloat16 if recipe.precision == "bf16" else None
        self.chance = torch.Generator(self.device)
        self.epoch = 0  # epochs done

    def step(self, epoch: int, batch: int, x: Tensor, y: Tensor) -> Step:
        """Forward, backward and update on one batch; returns the step with what it has computed."""
        recipe, batches = self.recipe, len(self.loader)
        done = (epoch * batches + batch) / (recipe.epochs * batches)
        rate = learning_rate(recipe.schedule, recipe.learning_rate, done)
        if recipe.schedule == "step" and rate != self.optimiser.param_groups[0]["lr"]:
            self.optimiser.state.clear()  # published recipe: momentum starts anew at each drop
        self.optimiser.param_groups[0]["lr"] = rate
        self.student.train()
        step = Step(
            teacher=self.teacher or self.student,
            student=self.student,
            x=x.contiguous(memory_format=self.layout),
            y=y,
            progress=(epoch + 1) / recipe.epochs,
            generator=self.chance.manual_seed(mix(recipe.seed, "step", epoch, batch)),
            attack=self.attack,
            modules=self.modules,
        )
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            loss = self.objective(step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return step

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
        """Everything that changes while training; tensors and numbers only."""
        return {
            "epoch": self.epoch,
            "student": self.student.state_dict(),
            "modules": self.modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on as if training had never stopped: chance is a function of (seed, epoch, batch), not of history."""
        self.epoch = state["epoch"]
        self.student.load_state_dict(state["student"])
        self.modules.load_state_dict(state["modules"])
        self.optimiser.load_state_dict(state["optimiser"])


def events(recipe: Recipe, training: Training | None = None) -> Iterator[Event]:
    """Train, and yield what happens. The caller may stop between any two events; nothing is written here.

    Raises:
        InputError: data, nets and recipe do not fit, or the loss is no longer finite.
    """
    training = training or Training(recipe)
    yield Started(training)
    begun = time.perf_counter()
    for epoch in range(training.epoch, recipe.epochs):
        log, seen, epoch_begun = Log(), 0, time.perf_counter()
        for batch, (x, y, _) in enumerate(training.loader.epoch(epoch)):
            step = training.step(epoch, batch, x, y)
            log.add(step)
            seen += len(x)
            yield Stepped(epoch, batch, len(training.loader), step.terms, step.__dict__.get("boundary"))
        said = log.read()  # CPU-GPU sync point, so that the clock is read after the work
        metrics = {"images_per_s": seen / (time.perf_counter() - epoch_begun), **said}
        if not all(v == v and abs(v) != float("inf") for v in metrics["terms"].values()):
            raise InputError(
                f"The loss is not finite in epoch {epoch + 1} ({metrics['terms']}); "
                f"lower learning_rate={recipe.learning_rate} or the weights."
            )
        training.epoch = epoch + 1
        if training.epoch % recipe.evaluate_every == 0 or training.epoch == recipe.epochs:
            metrics |= training.evaluate("val")
        metrics["learning_rate"] = training.optimiser.param_groups[0]["lr"]
        metrics["weights"] = training.objective.weights((epoch + 1) / recipe.epochs)
        yield EpochEnded(epoch + 1, metrics)
    train_seconds = time.perf_counter() - begun
    yield Finished({**final_scores(training), "train_seconds": train_seconds})


def final_scores(training: Training) -> dict[str, Any]:
    """Last-epoch numbers on the test split, the only use of it."""
    recipe, test = training.recipe, training.dataset.test
    found: dict[str, Any] = training.evaluate("test") | training.evaluate("val")
    if training.teacher is None:
        return found
    found["teacher_test_accuracy"] = accuracy(training._teacher_logits["test"], test.y)
    count = min(recipe.similarity_images, len(test))
    if count:
        chosen = torch.randperm(len(test), generator=generator("cpu", "similarity"))[:count].to(test.y.device)
        found |= boundary_similarity(
            training.teacher,
            training.student,
            test.floats(chosen),
            test.y[chosen],
            step_size=recipe.step_size,
            steps=recipe.attack_steps,
            rule=recipe.rule,
            max_targets=9,
        )._asdict()
    return found


def needs_teacher(recipe: Recipe) -> bool:
    """Every distillation does, and so does agreement; only a net that is trained to be a teacher has none."""
    return recipe.teacher != recipe.student or recipe.method != "ce"


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
