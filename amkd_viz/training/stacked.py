"""Many small students in one batch of nets: the Python of a step is paid once for all of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from amkd_viz.boundary import BSS, BoundarySamples
from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier, Outputs
from amkd_viz.objectives import Batch, Step
from amkd_viz.training.schedule import learning_rate
from amkd_viz.training.training import Training

__all__ = ["check_stacked", "train_stacked"]

T = TypeVar("T")
ALIKE = ("student", "epochs", "batch_size", "learning_rate", "schedule", "warm_up", "momentum", "weight_decay")
BATCHES = {"clean", "boundary", "inside"}


class _Both(nn.Module):
    """Logits and features of a net, as one function of its weights."""

    def __init__(self, net: Classifier) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        made = self.net.outputs(x)
        return made.logits, made.features


def train_stacked(trainings: Sequence[Training]) -> None:
    """Train the students of fresh trainings together, from the first epoch to the last.

    Weights, batches and draws are those of ``events`` of each, so the students are the same to within rounding. Each
    may have its own seed, data, teacher and method; nothing is validated on the way.

    Raises:
        InputError: as ``check_stacked``.
    """
    check_stacked(trainings)
    recipe = trainings[0].recipe
    nets = [_Both(training.student.train()) for training in trainings]
    weights, buffers = stack_module_state(nets)
    one = nets[0]
    together = torch.vmap(lambda w, b, x: functional_call(one, (w, b), (x,)))
    optimiser = torch.optim.SGD(
        weights.values(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    of = recipe.epochs * len(trainings[0].loader), recipe.epochs
    done = 0
    for epoch in range(recipe.epochs):
        for batch, rows in enumerate(zip(*(training.loader.epoch(epoch) for training in trainings), strict=True)):
            steps = [_begun(*pair, epoch, batch) for pair in zip(trainings, rows, strict=True)]
            _pass(steps, "clean", together(weights, buffers, torch.stack([step.clean.x for step in steps])))
            _teach(steps)
            attacked = [(t, s) for t, s in zip(trainings, steps, strict=True) if ("student", "boundary") in _cells(s)]
            _attack(attacked)
            for on in ("boundary", "inside"):
                if any(("student", on) in _cells(step) for step in steps):
                    x = [step.batch(on).x if ("student", on) in _cells(step) else step.clean.x[:0] for step in steps]
                    _pass(steps, on, together(weights, buffers, nn.utils.rnn.pad_sequence(x, batch_first=True)), x)
            loss = torch.stack([t.loss(step) for t, step in zip(trainings, steps, strict=True)]).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            rate = learning_rate(recipe.schedule, recipe.learning_rate, done, *of, recipe.warm_up)
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
            done += 1
    for place, training in enumerate(trainings):
        state = {name.removeprefix("net."): value[place].detach() for name, value in (weights | buffers).items()}
        training.student.load_state_dict(state)
        training.epoch, training.batch = recipe.epochs, 0


def check_stacked(trainings: Sequence[Training]) -> None:
    """Check that students can be trained together.

    Raises:
        InputError: they are of images or of several kinds, or a method needs more than logits and features of student
            and teacher on clean and boundary samples.
    """
    for training in trainings:
        cells = {(net, on) for net, on, _ in training.objective.reads()}
        layers = [layer for _, _, layer in training.objective.reads() if layer is not None]
        if training.recipe.cache_teacher not in (0, "all"):
            raise InputError(f"Stacked students read all logits, but cache_teacher is {training.recipe.cache_teacher}.")
        if training.dataset.kind != "points" or training.device.type != "cpu" or training.recipe.schedule == "step":
            raise InputError("Stacked students are trained on points, on a CPU, without the schedule 'step'.")
        if not isinstance(training.boundary.sampler, BSS):
            raise InputError(f"Stacked students need the sampler bss, got {training.recipe.sampler}.")
        if not cells <= {(net, on) for net in ("student", "teacher") for on in BATCHES} or layers or training.modules:
            raise InputError(f"{training.recipe.method} needs more than a stacked step has; train it by itself.")
    if len({tuple(getattr(training.recipe, name) for name in ALIKE) for training in trainings}) > 1:
        raise InputError(f"Stacked students must have the same {', '.join(ALIKE)}.")


def _begun(training: Training, rows: tuple[Tensor, Tensor, Tensor], epoch: int, batch: int) -> Step:
    """Return the step of a batch, its RNG seeded as by ``Training.step``."""
    training.epoch, training.batch = epoch, batch
    with training.seeding.at(epoch, batch):
        step = training.new_step(*rows)
    step.reads = training.objective.reads(training.progress)
    return step


def _cells(step: Step) -> set[tuple[str, str]]:
    return {(net, on) for net, on, _ in step.reads}


def _pass(steps: Sequence[Step], on: str, made: tuple[Tensor, Tensor], x: Sequence[Tensor] | None = None) -> None:
    """Give each step its student's outputs (S, N, ...), the padding of shorter batches ``x`` left out."""
    for place, step in enumerate(steps):
        count = len(step.clean.x) if x is None else len(x[place])
        step.keep("student", on, Outputs(made[0][place, :count], made[1][place, :count], {}))


def _teach(steps: Sequence[Step]) -> None:
    """Let each teacher look at the clean batches of all its students at once."""
    for own in _groups(
        steps, [id(step.nets.get("teacher")) if ("teacher", "clean") in _cells(step) else None for step in steps]
    ):
        with torch.no_grad():
            made = own[0].nets["teacher"].outputs(torch.cat([step.clean.x for step in own]))
        for step, logits, features in zip(
            own, *(part.split([len(s.clean.x) for s in own]) for part in made[:2]), strict=True
        ):
            step.keep("teacher", "clean", Outputs(logits, features, {}))


def _attack(attacked: Sequence[tuple[Training, Step]]) -> None:
    """Attack each teacher once, with the base samples of all its students."""
    kinds: list[Hashable] = [(id(t.teacher), repr(t.boundary)) for t, _ in attacked]
    for own in _groups(list(attacked), kinds):
        boundary, net = own[0][0].boundary, own[0][1].nets["teacher"]
        chosen = [boundary.choose(step) for _, step in own]
        x = torch.cat([step.clean.x[rows] for (_, step), (rows, _, _) in zip(own, chosen, strict=True)])
        samples = boundary.attack(net, x, torch.cat([target for _, target, _ in chosen]), own[0][1].generator)
        start = 0
        for (_, step), (rows, _, first) in zip(own, chosen, strict=True):
            part: BoundarySamples = samples[start : start + len(rows)]
            batch: Batch = boundary.batch(step, rows, part, first)
            step.give("boundary", batch)
            start += len(rows)


def _groups(things: Sequence[T], keys: Sequence[Hashable]) -> list[list[T]]:
    """Return lists of the things that have equal keys, without those whose key is None."""
    found: dict[Hashable, list[T]] = {}
    for thing, key in zip(things, keys, strict=True):
        if key is not None:
            found.setdefault(key, []).append(thing)
    return list(found.values())
