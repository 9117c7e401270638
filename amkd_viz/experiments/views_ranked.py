"""Which view: augmentations ranked by the teacher alone and by students, and a student that sees less."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import unknown
from amkd_viz.experiments.result import Experiment, accuracy_of, kendall, lines
from amkd_viz.models import build, nets, register
from amkd_viz.objectives import Objective, ce, kd, methods
from amkd_viz.objectives.sources import views
from amkd_viz.objectives.zoo.poorer import poorer
from amkd_viz.runs import Run, prepare, train_cells
from amkd_viz.training import Recipe
from amkd_viz.training.training import Training
from amkd_viz.views.view import View

__all__ = ["augmentations", "privileged_view", "sharpness", "t_deviation"]

ARMS = ("view2", "jda", "mixup", "cutmix", "paste")
GROUPS, HALVES = 10, 10  # groups, and half-batches of each: five of clean samples, five of the view
DEVIATION = "deviation of the teacher"
LARGEST = 512  # training samples on which sharpness is measured


def _on(view: str) -> Objective:
    return ce() + kd(temperature=4, t2=True) + kd(temperature=4, t2=True, on=view)


def augmentations(
    recipe: Recipe, out: str | Path, *, arms: Sequence[str] = ARMS, seeds: int = 1, **how: Any
) -> Experiment:
    """Rank views of samples by students trained on them, and by the T-deviation, which needs no student.

    Each student has labels of clean samples, and KD on clean samples and on the view (t 4).

    Args:
        arms: views, see ``objectives.sources.views``.

    Returns:
        runs ``VIEW-seedK``; arrays ``deviation``, ``accuracy`` and ``sharpness`` (arms,), the last of the trained
        students; notes ``tau`` and ``tau.sharpness``, Kendall's tau between a *small* one and a high accuracy.

    Raises:
        InputError: an unknown view, or see ``train_cells``.
    """
    for arm in arms:
        if arm not in views:
            raise unknown("view", arm, views)
        methods.register(f"kd-on-{arm}", lambda arm=arm: _on(arm))
    made = {
        f"{arm}-seed{seed}": recipe.replace(method=f"kd-on-{arm}", seed=seed) for arm in arms for seed in range(seeds)
    }
    runs = dict(zip(made, train_cells(made, out, **how), strict=True))
    like = prepare(next(iter(made.values())))
    deviation = np.array([t_deviation(prepare(made[f"{arm}-seed0"], like), arm) for arm in arms])
    shares = np.array([np.mean([accuracy_of(runs[f"{arm}-seed{seed}"]) for seed in range(seeds)]) for arm in arms])
    sharp = np.array([np.mean([sharpness(runs[f"{arm}-seed{seed}"]) for seed in range(seeds)]) for arm in arms])
    tau, tau_sharp = kendall(-deviation, shares), kendall(-sharp, shares)
    series = {"views": (deviation, 100 * shares)}
    words = {"views": list(arms)}
    figure = lines(
        series, f"{DEVIATION} (lower: better by arXiv 2012.02909)", "test accuracy, %", text=words, joined=False
    )
    caption = (
        f"Kendall's tau between a small deviation and a high accuracy is {tau:.2f}, between flat minima and a high "
        f"accuracy {tau_sharp:.2f}, over {len(arms)} views"
        f"{'; one seed each, so a difference may be chance' if seeds < 2 else ''}. "
        "The deviation is that of arXiv 2012.02909: how much the teacher's mean prediction changes between groups of "
        "half-batches."
    )
    arrays, notes = {"deviation": deviation, "accuracy": shares, "sharpness": sharp}, {"tau": tau}
    return Experiment(View(figure, arrays, notes | {"tau.sharpness": tau_sharp}, caption, "Views, ranked"), runs)


def sharpness(run: Run, radius: float = 0.05) -> float:
    """Return by how much a student's loss on its training samples rises after a step of length ``radius`` up its
    gradient (SAM, arXiv 2010.01412), in nats: low where the minimum is flat."""
    net, split = run.student().eval().requires_grad_(True), run.dataset().train
    x, y, parameters = split.floats(slice(0, LARGEST)), split.y[:LARGEST], list(net.parameters())
    before = F.cross_entropy(net(x), y)
    gradient = torch.autograd.grad(before, parameters)
    length = torch.stack([g.square().sum() for g in gradient]).sum().sqrt().clamp_min(1e-12)
    with torch.no_grad():
        for p, g in zip(parameters, gradient, strict=True):
            p.add_(g, alpha=float(radius / length))
        return float(F.cross_entropy(net(x), y) - before)


@torch.no_grad()
def t_deviation(training: Training, view: str) -> float:
    """Return the deviation of the teacher's mean prediction over groups of half-batches, clean ones and of a view.

    The standard deviation (unbiased) of each class's mean probability over ten groups, averaged over the classes.
    """
    means: list[Tensor] = []
    group: list[Tensor] = []
    epoch = 0
    while len(means) < GROUPS:
        training.epoch = epoch
        for x, y, index in training.loader.epoch(epoch):
            with training.seeding.at(epoch, len(group)):
                step = training.new_step(x, y, index)
                for on in ("clean", view):
                    half = step.batch(on).x[: max(1, len(x) // 2)]
                    group.append(training.nets["teacher"](half).float().softmax(1))
            if len(group) >= HALVES:
                means.append(torch.cat(group).mean(0))
                group = []
        epoch += 1
    training.epoch = 0
    return float(torch.stack(means[:GROUPS]).std(0).mean())


class Middle(nn.Module):
    """The middle of an image, enlarged: what a net behind it sees."""

    def forward(self, x: Tensor) -> Tensor:
        return poorer(x)


def _seeing_less(name: str) -> str:
    """Register an architecture that sees the middle of each image only; return its name."""

    def builder(num_classes: int, shape: tuple[int, ...]) -> nn.Module:
        net = build(name, num_classes=num_classes, shape=shape)
        return nn.Sequential(Middle(), net.body, net.head)

    made = f"middle-of-{name}"
    if made not in nets:
        register(made, builder)
    return made


def privileged_view(recipe: Recipe, out: str | Path, *, seeds: int = 1, **how: Any) -> Experiment:
    """Train students that see the middle of each image: by labels, by a teacher that sees no more, by one that does.

    Args:
        recipe: with architectures of the library; its method is the one by which students learn from a teacher.

    Returns:
        runs ``ROW-seedK`` with the rows labels, same view and privileged; arrays of their test accuracies (seeds,);
        notes ``ROW`` (means) and ``teacher.same``, ``teacher.privileged``.

    Raises:
        InputError: see ``train_cells``.
    """
    student, poor = _seeing_less(recipe.student), _seeing_less(recipe.teacher)
    rows = {
        "labels": recipe.replace(student=student, method="ce", overrides={}),
        "same view": recipe.replace(student=student, teacher=poor),
        "privileged": recipe.replace(student=student),
    }
    made = {f"{row.replace(' ', '-')}-seed{k}": own.replace(seed=k) for row, own in rows.items() for k in range(seeds)}
    runs = dict(zip(made, train_cells(made, out, **how), strict=True))
    arrays = {
        row: np.array([accuracy_of(runs[f"{row.replace(' ', '-')}-seed{k}"]) for k in range(seeds)]) for row in rows
    }
    notes: dict[str, Any] = {row: float(own.mean()) for row, own in arrays.items()}
    for row, name in (("same view", "teacher.same"), ("privileged", "teacher.privileged")):
        notes[name] = runs[f"{row.replace(' ', '-')}-seed0"].summary["teacher_test_accuracy"]
    series = {row: (np.full(seeds, place), 100 * own) for place, (row, own) in enumerate(arrays.items())}
    figure = lines(series, "", "test accuracy, %", joined=False)
    figure.update_xaxes(tickvals=[0, 1, 2], ticktext=list(rows), range=[-0.5, 2.5])
    caption = (
        f"All students see the middle five eighths of each image, in training and in the test. Their teachers: "
        f"{100 * notes['teacher.same']:.1f} % with the same view, {100 * notes['teacher.privileged']:.1f} % with the "
        f"whole image.{' One seed each: a difference may be chance.' if seeds < 2 else ''}"
    )
    return Experiment(View(figure, arrays, notes, caption, "A teacher that sees more"), runs)
