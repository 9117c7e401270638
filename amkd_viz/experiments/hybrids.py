"""Hybrids: a teacher with one stage of the student in its place (m2mKD, arXiv 2402.16918)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.data import Loader
from amkd_viz.experiments.result import Experiment, lines
from amkd_viz.models import Classifier
from amkd_viz.objectives.zoo.pair import kl
from amkd_viz.runs import Run
from amkd_viz.training import accuracy, logits_on
from amkd_viz.views.view import View

__all__ = ["hybrids", "module_loss", "swapped_stage"]


def module_loss(s: Tensor, t: Tensor, y: Tensor, temperature: float = 1.0, alpha: float = 0.5) -> Tensor:
    """Return m2mKD's loss: alpha CE + (1 - alpha) t^2 KL / K, a scalar: K times weaker than usual KD, as published."""
    soft = temperature**2 * kl(s, t, temperature).mean() / s.shape[1]
    return alpha * F.cross_entropy(s, y) + (1 - alpha) * soft


def swapped_stage(teacher: Classifier, student: Classifier, stage: str) -> Classifier:
    """Return a copy of the teacher whose stage is a copy of the student's.

    Raises:
        InputError: the nets do not have the same stages.
    """
    if teacher.stages != student.stages:
        raise InputError(
            f"hybrids need nets with the same stages, got {', '.join(teacher.stages) or 'none'} and "
            f"{', '.join(student.stages) or 'none'}."
        )
    made = copy.deepcopy(teacher)
    parent, _, name = stage.rpartition(".")
    setattr(made.body.get_submodule(parent), name, copy.deepcopy(student.body.get_submodule(stage)))
    return made


def hybrids(run: Run, epochs: int = 0, learning_rate: float = 0.02) -> Experiment:
    """Put each stage of the student into the teacher, and see what accuracy is left.

    Args:
        epochs: with 1 or more, each stage is trained inside the frozen teacher first, then all are assembled into the
            student, whose stem and head stay.

    Returns:
        arrays ``swapped`` (stages,), test accuracies, and with epochs ``trained``; notes ``teacher``, ``student`` and
        with epochs ``assembled``.

    Raises:
        InputError: the nets do not have the same stages or widths, or the run is not finished.
    """
    data, teacher, student = run.dataset(), run.teacher(), run.student()
    made = {stage: swapped_stage(teacher, student, stage) for stage in student.stages}

    def score(net: Classifier) -> float:
        try:
            return accuracy(logits_on(net, data.test), data.test.y)
        except RuntimeError as error:
            raise InputError(
                f"hybrids need stages of the same widths, but one of {run.recipe.student} does not fit into "
                f"{run.recipe.teacher}."
            ) from error

    arrays: dict[str, Any] = {"swapped": np.array([score(net) for net in made.values()])}
    notes = {"teacher": score(teacher), "student": score(student)}
    if epochs:
        whole = copy.deepcopy(student)
        for stage, net in made.items():
            _train_stage(
                net,
                teacher,
                net.body.get_submodule(stage),
                Loader(data.train, 64, seed=run.recipe.seed),
                epochs,
                learning_rate,
            )
            whole = swapped_stage(whole, net, stage)
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
