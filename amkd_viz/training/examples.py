"""Recipes small enough for two cores and a lecture, and the published one for CIFAR-10."""

from __future__ import annotations

from amkd_viz.data import parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.training.recipe import Recipe

__all__ = ["CIFAR", "DIGITS", "SPIRALS", "suggested"]

# Few labelled images and many epochs: where there is plenty of data, students hardly need a teacher.
DIGITS = Recipe(
    dataset="digits",
    teacher="cnn",
    student="cnn-small",
    epochs=200,
    num_train=50,
    fresh_subset=True,
    batch_size=50,
    max_boundary_samples=16,
    teacher_epochs=15,
    teacher_batch_size=50,
    evaluate_every=5,
)
SPIRALS = Recipe(
    dataset="spirals",
    teacher="mlp",
    student="mlp-small",
    epochs=60,
    num_train=100,
    fresh_subset=True,
    batch_size=50,
    max_boundary_samples=16,
    step_rule="newton",  # the published step is as long as the logit gap: out of a 2-D picture at once
    step_size=1.05,
    attack_steps=20,
    teacher_epochs=60,
    teacher_batch_size=50,
    evaluate_every=5,
)
# Heo et al., AAAI 2019: what their two published rows were trained with.
CIFAR = Recipe(
    dataset="cifar10",
    teacher="resnet26",
    student="resnet8",
    epochs=80,
    batch_size=256,
    schedule="step",
    teacher_epochs=80,
    teacher_batch_size=256,
    evaluate_every=5,
)


def suggested(dataset: str) -> Recipe:
    """Return a recipe to start from with a data set: its nets take the inputs, and its sizes make students differ.

    Raises:
        InputError: an unknown data set.
    """
    name, _ = parse_name(dataset)
    if name in PROBLEMS:
        return SPIRALS.replace(dataset=dataset)
    return DIGITS if name == "digits" else CIFAR.replace(dataset=dataset)
