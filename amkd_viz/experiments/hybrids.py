"""Hybrids: a teacher with one stage of the student in its place (m2mKD, arXiv 2402.16918)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.data import Loader
from amkd_viz.experiments.result import Experiment, lines
from amkd_viz.models import Classifier, freeze
from amkd_viz.objectives.zoo.pair import kl
from amkd_viz.runs import Run
from amkd_viz.training import accuracy, logits_on
from amkd_viz.views.view import View

__all__ = ["hybrids", "module_loss", "swapped_stage"]

SAMPLES = 512  # of the training split, by which stages of other widths are joined


def module_loss(s: Tensor, t: Tensor, y: Tensor, temperature: float = 1.0, alpha: float = 0.5) -> Tensor:
    """Return m2mKD's loss: alpha CE + (1 - alpha) t^2 KL / K, a scalar: K times weaker than usual KD, as published."""
    soft = temperature**2 * kl(s, t, temperature).mean() / s.shape[1]
    return alpha * F.cross_entropy(s, y) + (1 - alpha) * soft


class Joined(nn.Module):
    """A stage between two 1x1 convolutions, each where the numbers of channels differ.

    Both are learned with the stage, from where least squares puts them: ``enter`` gives the stage what it knows from
    the student, ``leave`` the teacher what it knows from its own stage.

    Args:
        theirs, ours: maps before and after the stage in teacher and student, of the same samples.
    """

    def __init__(self, stage: nn.Module, theirs: Sequence[Tensor], ours: Sequence[Tensor]) -> None:
        super().__init__()
        self.stage = stage
        self.enter = fitted(theirs[0], ours[0])
        with torch.no_grad():
            self.leave = fitted(stage(self.enter(theirs[0])), theirs[1])

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.leave(self.stage(self.enter(x)))
        return made


@torch.no_grad()
def fitted(a: Tensor, b: Tensor) -> nn.Module:
    """Return the 1x1 convolution that brings maps (N, C, H, W) nearest to others (N, D, H, W); identity for C = D."""
    if a.shape == b.shape:
        return nn.Identity()
    made = nn.Conv2d(a.shape[1], b.shape[1], 1)
    x, y = (m.movedim(1, 3).flatten(0, 2).double() for m in (a, b))
    # a little of the identity: a channel that never answers has no slope
    x, shift = x - x.mean(0), (x.mean(0), y.mean(0))
    gram = x.T @ x + 1e-6 * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    slope = torch.linalg.solve(gram, x.T @ (y - shift[1])).T
    made.weight.copy_(slope[:, :, None, None])
    made.bias.copy_(shift[1] - slope @ shift[0])  # type: ignore[union-attr]
    return made


def swapped_stage(teacher: Classifier, student: Classifier, stage: str, x: Tensor | None = None) -> Classifier:
    """Return a copy of the teacher whose stage is a copy of the student's, see ``Joined`` where widths differ.

    Args:
        x: (N, ...) samples by which widths are joined.

    Raises:
        InputError: the nets do not have the same stages, or a stage's maps have another height or width.
    """
    if teacher.stages != student.stages:
        raise InputError(
            f"hybrids need nets with the same stages, got {', '.join(teacher.stages) or 'none'} and "
            f"{', '.join(student.stages) or 'none'}."
        )
    made, part = copy.deepcopy(teacher), copy.deepcopy(student.body.get_submodule(stage)).eval()
    x = torch.zeros(1, *teacher.shape) if x is None else x
    theirs, ours = (_around(net, stage, x) for net in (teacher, student))
    shapes = [[tuple(m.shape[1:]) for m in maps] for maps in (theirs, ours)]
    if shapes[0] != shapes[1]:
        if [s[1:] for s in shapes[0]] != [s[1:] for s in shapes[1]] or len(shapes[0][0]) != 3:
            raise InputError(
                f"hybrids need maps (C, H, W) of the same height and width, got {shapes[0]} and {shapes[1]} before "
                f"and after {stage}."
            )
        part = Joined(part, theirs, ours)
    parent, _, name = stage.rpartition(".")
    setattr(made.body.get_submodule(parent), name, part)
    return made


def _around(net: Classifier, stage: str, x: Tensor) -> list[Tensor]:
    """Return the maps before and after a stage."""
    found: list[Tensor] = []
    module = net.body.get_submodule(stage)
    hook = module.register_forward_hook(lambda _, given, made: found.extend((given[0], made)))
    with freeze(net), torch.no_grad():
        net(x)
    hook.remove()
    return found


def hybrids(run: Run, epochs: int = 0, learning_rate: float = 0.02) -> Experiment:
    """Put each stage of the student into the teacher, and see what accuracy is left.

    Args:
        epochs: with 1 or more, each stage is trained inside the frozen teacher first, then all are assembled into the
            student, whose stem and head stay. Where widths differ, see ``Joined``, the maps between learn with it,
            and stem and head of the assembled net are the teacher's.

    Returns:
        arrays ``swapped`` (stages,), test accuracies, and with epochs ``trained``; notes ``teacher``, ``student`` and
        with epochs ``assembled``.

    Raises:
        InputError: the nets do not have the same stages, or maps of other heights and widths; the run is not finished.
    """
    data, teacher, student = run.dataset(), run.teacher(), run.student()
    some = data.train.floats(slice(0, SAMPLES))
    made = {stage: swapped_stage(teacher, student, stage, some) for stage in student.stages}
    joined = any(isinstance(module, Joined) for net in made.values() for module in net.modules())

    def score(net: Classifier) -> float:
        return accuracy(logits_on(net, data.test), data.test.y)

    arrays: dict[str, Any] = {"swapped": np.array([score(net) for net in made.values()])}
    notes = {"teacher": score(teacher), "student": score(student)}
    if epochs:
        whole = copy.deepcopy(teacher if joined else student)
        for stage, net in made.items():
            part = net.body.get_submodule(stage)
            loader = Loader(data.train, 64, seed=run.recipe.seed)
            _train_stage(net, teacher, part, loader, epochs, learning_rate)
            parent, _, name = stage.rpartition(".")
            setattr(whole.body.get_submodule(parent), name, part)
        arrays["trained"] = np.array([score(net) for net in made.values()])
        notes["assembled"] = score(whole)
    places = np.arange(len(made))
    series = {f"stage {word}": (places, 100 * shares) for word, shares in arrays.items()}
    figure = lines(series, "stage of the student in the teacher", "test accuracy, %")
    figure.update_xaxes(tickvals=list(places), ticktext=list(made))
    figure.add_hline(100 * notes["teacher"], annotation_text="teacher")
    caption = (
        f"The teacher has {100 * notes['teacher']:.1f} %, the student {100 * notes['student']:.1f} %. Stages of nets "
        "that were trained apart do not fit each other: near chance is the rule."
    )
    if joined:
        caption += " Their widths differ: 1x1 convolutions join them, by least squares."
    if epochs:
        caption += (
            f" Trained inside the teacher for {epochs} epochs and put together: {100 * notes['assembled']:.1f} %."
        )
    return Experiment(View(figure, arrays, notes, caption, "Stage hybrids"), {"run": run})


def _train_stage(
    net: Classifier, teacher: Classifier, part: nn.Module, loader: Loader, epochs: int, rate: float
) -> None:
    """Train one stage; everything else of the net is frozen, in eval mode."""
    net.eval().requires_grad_(False)
    part.train().requires_grad_(True)
    optimiser = torch.optim.SGD(part.parameters(), rate, 0.9)
    for epoch in range(epochs):
        for x, y, _ in loader.epoch(epoch):
            with torch.no_grad():
                t = teacher(x)
            optimiser.zero_grad()
            module_loss(net(x), t, y).backward()
            optimiser.step()
    net.eval()
