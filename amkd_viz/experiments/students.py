"""Which student: scores of untrained nets beside parameters and multiply-adds, judged by Kendall's tau."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.experiments.result import Experiment, accuracy_of, kendall, lines
from amkd_viz.models import Classifier, build, freeze
from amkd_viz.runs import cells, train_cells
from amkd_viz.training import Recipe
from amkd_viz.views.view import View

__all__ = ["multiply_adds", "relation", "semantic", "which_student"]

SCORES = ("relation", "semantic", "parameters", "multiply-adds")


def relation(s: Tensor, t: Tensor) -> Tensor:
    """Return |G_S - G_T|^2 / B^2, G = F F' with rows of norm 1, F (B, ...) flattened: DisWOT's relation."""
    g_s, g_t = (F.normalize(f.flatten(1) @ f.flatten(1).T, dim=1) for f in (s, t))
    return (g_s - g_t).square().mean()


def head_gradient(logits: Tensor, features: Tensor, y: Tensor) -> Tensor:
    """Return the gradient (K, D) of the mean cross-entropy to the weights of a linear head."""
    apart = logits.softmax(1) - F.one_hot(y, logits.shape[1])
    return apart.T @ features / len(y)


def semantic(s: Tensor, t: Tensor) -> Tensor:
    """Return DisWOT's semantic distance of two head gradients (K, D), smaller better.

    Per class the outer product of the gradient with itself, rows normalised; mean over classes and rows of the squared
    distance: 2 - 2 cos(s, t) times the mean agreement of signs.
    """
    signs = (s.sign() * t.sign()).mean(1)
    return (2 - 2 * F.cosine_similarity(s, t, dim=1) * signs).mean()


def multiply_adds(net: Classifier) -> int:
    """Return the multiply-adds of convolutions and linear layers for one input."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        places = output[0, 0].numel() if isinstance(module, nn.Conv2d) else output[0].numel() // output.shape[-1]
        total += weight.numel() * places

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    try:
        with freeze(net), torch.no_grad():
            net(torch.zeros(1, *net.shape))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def which_student(recipe: Recipe, students: Sequence[str], out: str | Path | None = None, **how: Any) -> Experiment:
    """Score students before any is trained, as DisWOT does (CVPR 2023), beside what is free: their sizes.

    Teacher and students start untrained, as published. The relation needs no equal widths; the semantic score does, and
    is NaN elsewhere: the channels of two random nets correspond to nothing, so it compares noise.

    Args:
        students: architectures. out: where given, each is trained there, and Kendall's tau says how each score ranks
            their accuracies.

    Returns:
        runs; arrays of each score (students,), and ``accuracy``; notes ``tau.SCORE``.

    Raises:
        InputError: fewer than two students, or see ``train_cells``.
    """
    if len(students) < 2:
        raise InputError(f"students must name two architectures or more, got {list(students)}.")
    data = recipe.load()
    x, y = data.train.floats(slice(0, 64)), data.train.y[:64]
    nets = {name: build(name, data, seed=recipe.seed + 1) for name in students}
    with torch.no_grad():
        made = {name: net.eval().outputs(x) for name, net in nets.items()}
        of = build(recipe.teacher, data, seed=recipe.seed).eval().outputs(x)
    gradient = head_gradient(of.logits, of.features, y)
    found: dict[str, list[float]] = {score: [] for score in SCORES}
    for name, net in nets.items():
        own = head_gradient(made[name].logits, made[name].features, y)
        found["relation"].append(-float(relation(made[name].features, of.features)))
        found["semantic"].append(-float(semantic(own, gradient)) if own.shape == gradient.shape else float("nan"))
        found["parameters"].append(float(sum(p.numel() for p in net.parameters())))
        found["multiply-adds"].append(float(multiply_adds(net)))
    arrays: dict[str, Any] = {score: np.array(values) for score, values in found.items()}
    runs, notes = {}, {}
    text = "On the 64 students that DisWOT's authors trained, parameters rank better than either of its scores."
    if out is not None:
        grid = cells(recipe, student=list(students))
        runs = dict(zip(students, train_cells(grid, out, **how), strict=True))
        arrays["accuracy"] = np.array([accuracy_of(run) for run in runs.values()])
        notes = {f"tau.{score}": kendall(arrays[score], arrays["accuracy"]) for score in SCORES}
        taus = {score: notes[f"tau.{score}"] for score in SCORES}
        words = ", ".join(f"{score} {'undefined' if math.isnan(tau) else f'{tau:.2f}'}" for score, tau in taus.items())
        text = f"Kendall's tau with the accuracies, over {len(students)} students of one seed: {words}. {text}"
    up = 100 * arrays["accuracy"] if out is not None else arrays["relation"]
    title = "test accuracy, %" if out is not None else "relation (higher: better by DisWOT)"
    figure = lines(
        {"students": (arrays["parameters"], up)},
        "parameters",
        title,
        text={"students": list(students)},
        joined=False,
        log=True,
    )
    return Experiment(View(figure, arrays, notes, text, "Which student?"), runs)
