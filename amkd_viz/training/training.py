"""A training in memory and on the device: nets, objective, optimiser, position."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.ranks import ALONE, GlobalStatistics, Ranks, mean_of
from amkd_viz.core.rng import defaults_seeded, mix
from amkd_viz.data import Dataset, Loader, augment_for, path_kind
from amkd_viz.models import Classifier, Outputs, build
from amkd_viz.models.classifier import buffers_kept
from amkd_viz.objectives import Batch, Boundary, Inside, Step, Validation
from amkd_viz.objectives.algebra import Follows
from amkd_viz.objectives.selves import Self, selves
from amkd_viz.objectives.sources import views
from amkd_viz.objectives.step import Source
from amkd_viz.training.clock import Clock
from amkd_viz.training.device import pick_device, pick_precision
from amkd_viz.training.evaluation import class_accuracies, logits_on, outputs_on, scores
from amkd_viz.training.graph import CudaRecorder, StepGraph, Work
from amkd_viz.training.log import Log
from amkd_viz.training.orders import order_for
from amkd_viz.training.recipe import Recipe, renamed
from amkd_viz.training.schedule import drops, learning_rate
from amkd_viz.training.seeding import Seeding
from amkd_viz.training.step_size import fixed, is_auto, settled
from amkd_viz.training.teacher_cache import Largest, Views
from amkd_viz.training.teachers import fingerprint
from amkd_viz.training.update import UPDATES, SplitSGD

__all__ = ["LIVE", "Training", "changed"]

LEFT_OUT = 0.1  # of the training samples
IMBALANCE = 5  # times as many samples in one class as in another
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
        ranks: train together; each has its own rows of every batch.

    Attributes:
        recipe: with the step size that was measured where ``asked`` says "auto".
        nets: "student", the peers and teachers, and those of ``selves`` that a term reads. learning: the nets among
            them that learn. selves: by name, what follows the student. notes: what a person should know before reading
            the numbers; a step may add some.
    """

    def __init__(
        self,
        recipe: Recipe,
        full: Dataset,
        teachers: Mapping[str, Classifier],
        teacher_weights: str = "",
        teacher_logits: dict[str, Tensor] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.asked, self.full, self.ranks = recipe, full, ranks
        self.recipe = recipe = settled(recipe, teachers.get("teacher"), full)
        # who shares a step: all ranks, or each has a step of its own and only gradients meet
        self.sharing = ranks if recipe.batch_relations == "global" else ALONE
        self.device = pick_device(recipe.device)
        self.dataset = recipe.subset(full).to(self.device)
        self.layout = layout_of(full)
        self.learning = {"student": self._built(recipe.student, "student")}
        self.learning |= {net: self._built(name, net) for net, name in numbered("peer", recipe.peers).items()}
        self.nets: dict[str, Classifier] = {**self.learning, **teachers}
        self.objective, self.boundary = recipe.objective, self._boundary_of(recipe)
        read = {net for net, _, _ in self.objective.reads()}
        self.selves: dict[str, Self] = {name: kind(self.student) for name, kind in selves.items() if name in read}
        self.nets |= {name: own.net for name, own in self.selves.items()}
        self.teacher_weights = teacher_weights  # ten hex digits each
        self.teacher_logits = {} if teacher_logits is None else teacher_logits
        self._given = dict(teachers)
        self._known: dict[str, Outputs] = {}
        self._largest: Largest | None = None  # of the teacher's logits on images that are not augmented
        with defaults_seeded(mix(recipe.seed, "modules")):
            sizes = min(recipe.batch_size, len(self.dataset.train)), len(self.dataset.train)
            self.modules = self.objective.modules(self.nets, sizes).to(self.device)
        self.parameters = [*(p for net in self.learning.values() for p in net.parameters()), *self.modules.parameters()]
        self.optimiser: torch.optim.Optimizer = torch.optim.SGD(
            self.parameters,
            recipe.learning_rate,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True if self.device.type == "cuda" else None,
        )
        if shifts := UPDATES[recipe.update]:
            about = recipe.learning_rate, recipe.momentum, recipe.weight_decay
            self.optimiser = SplitSGD(self.parameters, shifts, *about)
        self.loader = Loader(
            self.dataset.train,
            recipe.batch_size,
            seed=recipe.seed,
            augment=augment_for(self.dataset, recipe.augment),
            device=self.device,
            ranks=ranks,
        )
        about_order = self.dataset.num_classes, self.loader.batch_size, recipe.epochs, recipe.seed
        self.order = order_for(recipe.order)(self.dataset.train, self.known, *about_order)
        # logits that are not of every epoch alike
        self._views = self._views_of(recipe) if self._changing and recipe.cache_teacher else None
        self._check_ranks()
        for on in self.objective.batches() - {"clean", *self.sources}:
            raise unknown("batch", on, ["clean", *self.sources])
        precision, about_precision = pick_precision(recipe.precision, str(self.device))
        self.autocast = torch.bfloat16 if precision == "bf16" else None
        few = self.dataset.train.floats(slice(0, 2)).contiguous(memory_format=self.layout)
        self.seeding = Seeding(recipe.seed, self.learning.values(), few, ranks, apart=self.sharing is not ranks)
        self.notes = [*notes_on(self.asked, self.dataset), *resized(self.nets, self.dataset)]
        self.notes += [about_precision] if about_precision else []
        self.notes += [*self._notes_on_cache()]
        self.about_teachers: list[str] = []  # notes on teachers from files, lent with them
        # a graph has one backward pass, and cannot record what ranks exchange
        on_gpu = self.device.type == "cuda" and not shifts and ranks.count == 1
        self.graph = StepGraph(CudaRecorder(self.device, self.seeding.generator), self.work) if on_gpu else None
        self.epoch, self.batch = 0, 0  # the next batch to train on
        self.clock = Clock(self.device)  # of the steps, over all sessions
        self.log = Log()  # of the current epoch
        self.overrides: dict[str, Any] = {}  # made while training
        self._lock = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque()
        self._ahead = recipe  # with all overrides that wait

    def _built(self, name: str, net: str) -> Classifier:
        shortcut = self.recipe.shortcut_of(name)
        made = build(name, self.dataset, seed=mix(self.recipe.seed, net), shortcut=shortcut)
        return made.to(self.device).to(memory_format=self.layout)

    def _check_ranks(self) -> None:
        count, recipe = self.ranks.count, self.recipe
        if self.loader.batch_size < 2 * count:
            raise InputError(
                f"Each of {count} ranks needs 2 samples of a batch, but a batch has {self.loader.batch_size}; "
                "take a larger batch_size, or fewer ranks."
            )
        alone = [f"the view {on!r}" for on in sorted(self.objective.batches() & {*views} - {"view2"})]
        alone += [f"order={recipe.order!r}"] if recipe.order != "shuffle" else []
        alone += [f"update={recipe.update!r}"] if recipe.update != "sum" else []
        alone += ["cache_teacher with augmentation"] if self._views else []
        if count > 1 and alone:
            raise InputError(f"{count} ranks cannot share {', '.join(alone)}; train this recipe in one process.")

    def _boundary_of(self, recipe: Recipe) -> Boundary:
        """Return what makes boundary samples: of ranks with steps of their own, each takes its share of them."""
        shares = self.ranks.count if self.sharing is not self.ranks else 1
        return replace(recipe.boundary, limit=-(-recipe.boundary.limit // shares))

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
            "inside": Inside(),
            "student_boundary": replace(self.boundary, of="student"),
            "validation": Validation(self.dataset.val),
            **{name: kind(self.loader) for name, kind in views.items()},
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

    def settle(self, size: float) -> None:
        """Attack with a step size that was measured before, where the recipe says "auto"."""
        if is_auto(self.asked):
            self.recipe = fixed(self.asked, size)
            self.boundary = self._boundary_of(self.recipe)

    def change(self, overrides: dict[str, Any]) -> None:
        """Continue with other settings."""
        self.asked = changed(self.asked, overrides)
        self.recipe = settled(changed(self.recipe, overrides), self.teacher, self.full)
        with self._lock:
            if not self._waiting:
                self._ahead = self.recipe
        self.objective, self.boundary = self.recipe.objective, self._boundary_of(self.recipe)
        self.overrides |= overrides

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the batches of the current epoch from the current one on: x, y, positions in the training split."""
        if self._views is not None:
            with self.clock.step():
                self._views.turn(self.epoch, self._passes)
        return self.loader.epoch(self.epoch, self.batch, self.order.of_epoch(self.epoch))

    @property
    def progress(self) -> float:
        """e / E of the objective's schedules, in (0, 1]."""
        return (self.epoch + 1) / self.recipe.epochs

    def step(self, x: Tensor, y: Tensor, index: Tensor) -> Step:
        """Compute forward, backward and update on the next batch; return the step with what it has computed.

        If a pause point inside ends it, nothing has happened: batch statistics are put back.

        Args:
            x: the rows of this rank. y, index: (N,) of the global batch; ``index`` is the row of the training split.
        """
        if self.sharing is not self.ranks:
            rows = self.ranks.own(len(index))
            y, index = y[rows], index[rows]
        recipe, batches = self.recipe, len(self.loader)
        done, of = self.epoch * batches + self.batch, (recipe.epochs * batches, recipe.epochs)
        rate = learning_rate(recipe.schedule, recipe.learning_rate, done, *of, recipe.warm_up)
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
            for own in self.selves.values():
                own.after_step(self.student, done)
            for part in self.modules.values():
                if isinstance(part, Follows):
                    part.after_step(self.nets)
            self.order.after_step(step)
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
        step = Step(
            nets=self.nets,
            clean=Batch(x, y, index),
            progress=self.progress,
            generator=self.seeding.generator,
            sources=self.sources,
            boundary_bn=self.recipe.boundary_bn,
            ranks=self.sharing,
            norms=self._norms,
            cached=self._cached() if self.recipe.cache_teacher else {},
            seeding=self.seeding.cell if self.seeding.draws and self.graph is None else None,
            modules=self.modules,
            known=self.known,
            losses={} if isinstance(self.optimiser, SplitSGD) else None,
            earlier=self.order.earlier,
        )
        if self.sharing is not self.ranks:  # each exchanges the same number of times, whatever its samples are
            step.static = True
        return step

    def known(self, net: str) -> tuple[Outputs, Tensor]:
        """Return logits and features of a frozen net on the whole training split, and the labels; computed once."""
        part = self.dataset.train
        if net not in self._known:
            self._known[net] = outputs_on(self.nets[net], part, self.autocast)
        return self._known[net], part.y

    @property
    def _changing(self) -> bool:
        """Whether training images differ from epoch to epoch."""
        return self.loader.augment != augment_for(self.dataset, "none")

    def _views_of(self, recipe: Recipe) -> Views | None:
        """Return what keeps the teacher's logits on augmented images."""
        if self.teacher is None:
            return None
        if recipe.order != "shuffle":
            raise InputError(
                f"cache_teacher needs order='shuffle' where images are augmented, got {recipe.order!r}: set "
                "augment='none', or leave it out."
            )
        part = self.dataset.train
        about = {
            "teacher": fingerprint(self.teacher),
            "data": self.dataset.fingerprint,
            "rows": hashlib.sha256(part.index.cpu().numpy().tobytes()).hexdigest(),
            "seed": recipe.seed,
            "batch_size": self.loader.batch_size,
            "augment": repr(self.loader.augment),
            "arithmetic": [self.device.type, recipe.precision, recipe.tf32, torch.__version__],
        }
        return Views(about, len(part), self.dataset.num_classes, self._most, self.device)

    @property
    def _most(self) -> int:
        """How many of the teacher's logits are kept."""
        asked = self.recipe.cache_teacher
        return min(asked, self.dataset.num_classes) if isinstance(asked, int) else self.dataset.num_classes

    def _passes(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield positions and the teacher's logits of each batch of the epoch."""
        assert self.teacher is not None
        with torch.no_grad(), torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            for x, _, index in self.loader.epoch(self.epoch):
                yield index, self.teacher.outputs(x.contiguous(memory_format=self.layout)).logits.float()

    def _notes_on_cache(self) -> Iterator[str]:
        if not self.recipe.cache_teacher or self.teacher is None:
            return
        if self._most < self.dataset.num_classes - 1:
            yield (
                f"Of the teacher's {self.dataset.num_classes} logits the {self._most} largest count; the others share "
                "the probability that is left."
            )
        if self._views is not None:
            size = self._views.bytes * self.recipe.epochs
            yield (
                f"The teacher's logits on augmented images take up to {size / 1e6:,.1f} MB in {self._views.folder}, "
                "which may be deleted."
            )

    def _cached(self) -> Mapping[str, Any]:
        """Return the teacher's logits on the training split; trainings that share a teacher share them."""
        if self.teacher is None:
            return {}
        if self._changing:
            return {"teacher": self._views} if self._views is not None and self._views.epoch == self.epoch else {}
        recipe = self.recipe
        subset = (recipe.num_train, recipe.seed if recipe.fresh_subset else recipe.data_seed)
        key = "train" if recipe.num_train is None else f"train {subset}"
        if key not in self.teacher_logits:
            part = self.dataset.train
            self.teacher_logits[key] = logits_on(self.teacher, part, autocast=self.autocast, ranks=self.ranks)
        if self._most == self.dataset.num_classes:
            return {"teacher": self.teacher_logits[key]}
        if self._largest is None:
            whole = self.teacher_logits[key]
            self._largest = Largest(len(whole), whole.shape[1], self._most, self.device)
            self._largest.fill(torch.arange(len(whole), device=self.device), whole)
        return {"teacher": self._largest}

    def compute(self, step: Step) -> Step:
        """Compute loss and gradients, or nothing where a pause point ends the step."""
        put_back = self._keep()
        try:
            loss = self.loss(step)
            if isinstance(self.optimiser, SplitSGD):
                assert step.losses is not None
                self.optimiser.backward(step.losses)
            else:
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()
            self._reduce()
        except BaseException:
            put_back()
            raise
        return step

    @property
    def _norms(self) -> Callable[[], AbstractContextManager[Any]]:
        """What the passes of learning nets run in."""
        shared = self.ranks.count > 1 and self.recipe.batch_statistics == "global"
        return partial(GlobalStatistics, self.ranks) if shared else nullcontext

    def _reduce(self) -> None:
        """Give each rank the gradients of all: the one sync point of a step beside those of its cells.

        A rank that shares the step has the gradient of the whole loss, by way of its own rows: for nets the sum over
        ranks is the whole. Modules of terms see all rows on each rank, and batch statistics are those of each rank.
        """
        if self.ranks.count == 1:
            return
        gradients = [p.grad for net in self.learning.values() for p in net.parameters() if p.grad is not None]
        alike = [p.grad for p in self.modules.parameters() if p.grad is not None]
        if self.recipe.batch_statistics != "global" or self.sharing is not self.ranks:
            alike += [
                b for net in (*self.learning.values(), self.modules) for b in net.buffers() if b.is_floating_point()
            ]
        if self.sharing is not self.ranks:
            alike, gradients = [*gradients, *alike], []
        if alike:
            torch._foreach_mul_(alike, 1 / self.ranks.count)
        self.ranks.add_up([*gradients, *alike])

    def averages(self) -> dict[str, Any]:
        """Return the means of terms and metrics so far in this epoch, over all ranks. Waits for the device."""
        found: dict[str, Any] = mean_of(self.ranks.each(self.log.read()))
        return found

    def _keep(self) -> Callable[[], None]:
        """Keep the batch statistics of all that learns; what is returned puts them back."""
        kept = [buffers_kept(net) for net in (*self.learning.values(), self.modules)]

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
        recipe, terms = self.recipe, self.averages()["terms"]
        if not all(map(math.isfinite, terms.values())):
            raise self._diverged(f"The loss is not finite in epoch {self.epoch + 1} ({terms})")
        self._check_finite()
        done = self.epoch + 1
        metrics: dict[str, Any] = {}
        if done % recipe.evaluate_every == 0 or done == recipe.epochs:
            metrics |= self.evaluate("val")
        metrics["learning_rate"] = self.optimiser.param_groups[0]["lr"]
        metrics["weights"] = self.objective.weights(done / recipe.epochs)
        for own in self.selves.values():
            own.after_epoch(self.student, self.order.ends_task(self.epoch))
        self.epoch, self.batch, self.log = done, 0, Log()
        return metrics

    def evaluate(self, split: str) -> dict[str, Any]:
        """Return accuracy, agreement with the teacher and KL on "val" or "test"; a peer's names begin with ``peer.``

        On "test" also the accuracy of each class, and their mean, the balanced accuracy.
        """
        part = getattr(self.dataset, split)
        if self.teacher is not None and split not in self.teacher_logits:
            self.teacher_logits[split] = logits_on(self.teacher, part, autocast=self.autocast, ranks=self.ranks)
        metrics: dict[str, Any] = {}
        for name, net in self.learning.items():
            own = logits_on(net, part, autocast=self.autocast, ranks=self.ranks)
            found = scores(own, self.teacher_logits.get(split, own), part.y)
            shown = found if self.teacher is not None else {"accuracy": found["accuracy"]}
            start = "" if name == "student" else f"{name}."
            metrics |= {f"{start}{split}_{key}": value for key, value in shown.items()}
            if split == "test":
                each = class_accuracies(own, part.y)
                present = [share for share in each if share == share]
                metrics[f"{start}test_balanced_accuracy"] = sum(present) / len(present)
                metrics[f"{start}test_class_accuracies"] = each
        return metrics

    def state(self) -> dict[str, Any]:
        """Return everything that changes while training, between any two batches; tensors, texts and numbers only.

        Raises:
            InputError: a weight, a batch statistic or a momentum is not finite.
        """
        self._check_finite()
        others = {name: net for name, net in self.nets.items() if name in self.learning or name in self.selves}
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
            "order": self.order.state(),
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
        for name, kind in {name: type(own) for name, own in self.selves.items()}.items():
            self.selves[name] = kind(self.student)  # of a fork, which has none yet
            self.nets[name] = self.selves[name].net
        for name, weights in state.get("nets", {}).items():
            if name in self.nets:
                self.nets[name].load_state_dict(weights)
        if "optimiser" in state:
            self.modules.load_state_dict(state["modules"])
            self.optimiser.load_state_dict(state["optimiser"])
        self.order.restore(state.get("order", {}))
        self.log = Log(state.get("log"), self.device)
        if state.get("changes"):
            self.change(renamed(state["changes"]))


def finite(state: Any) -> bool:
    """Return whether every tensor in nested dictionaries and lists is finite."""
    tensors = [t for t in _tensors(state) if t.is_floating_point()]
    return math.isfinite(get_total_norm(tensors, math.inf))  # the largest magnitude, in one operation a tensor


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


def resized(nets: Mapping[str, Classifier], dataset: Dataset) -> Iterator[str]:
    """Yield which nets resize the images of a data set."""
    for name, net in nets.items():
        if dataset.kind == "images" and net.shape[1:] != dataset.shape[1:]:
            own, theirs = (" x ".join(map(str, shape[1:])) for shape in (net.shape, dataset.shape))
            yield f"The {name} takes images of {own} pixels and resizes those of the data, which have {theirs}."


def notes_on(recipe: Recipe, dataset: Dataset) -> Iterator[str]:
    """Yield what a person should know before reading the numbers."""
    yield from dataset.notes
    counts = dataset.train.y.bincount(minlength=dataset.num_classes)
    if counts.max() >= IMBALANCE * counts.min().clamp_min(1):
        few, many = dataset.classes[int(counts.argmin())], dataset.classes[int(counts.argmax())]
        yield (
            f"The classes have {int(counts.min())} ({few}) to {int(counts.max())} ({many}) training samples: a high "
            "accuracy may hide a class that is never predicted, so read the balanced accuracy beside it."
        )
    if recipe.source != recipe.dataset:
        side, kind = dataset.shape[-1], path_kind(recipe.dataset)
        yield f"Images are read at {side} x {side} pixels; {kind}PATH,size=N reads them at another size."
    last = len(dataset.train) % recipe.batch_size if len(dataset.train) > recipe.batch_size else 0
    if last > LEFT_OUT * len(dataset.train):
        yield (
            f"Each epoch leaves out {last} of {len(dataset.train)} training samples, others in each: the last batch of "
            f"{recipe.batch_size} is not full; a smaller batch_size leaves out fewer."
        )
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
        elif (
            recipe.sampler == "bss"
            and recipe.step_rule == "newton"
            and not isinstance(recipe.step_size, str)
            and recipe.step_size < 1
        ):
            left = (1 - recipe.step_size) ** recipe.attack_steps
            yield (
                f"With step_rule=newton each step goes {recipe.step_size:g} of the way to the boundary, so that about "
                f"{100 * left:.1f} % of it is left after {recipe.attack_steps} and few samples cross: take a step_size "
                "just above 1, such as 1.05."
            )
    for net in numbered("teacher", recipe.teachers):
        if net != "teacher" and not any(read[0] == net for read in objective.reads()):
            yield f"No term of {recipe.method} reads the net {net!r}: it is loaded and has no effect."
