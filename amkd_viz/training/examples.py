"""Recipes small enough for two cores and a lecture, and published ones by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amkd_viz.core.errors import unknown
from amkd_viz.core.files import readable
from amkd_viz.data import parse_name
from amkd_viz.data.catalogue import path_kind
from amkd_viz.data.folder import SUFFIXES
from amkd_viz.data.points import PROBLEMS
from amkd_viz.training.recipe import Recipe

__all__ = ["CIFAR", "DIGITS", "PRESETS", "SPIRALS", "Preset", "fitted", "preset", "suggested", "weights_in"]

FEW, STEPS = 3000, 300  # images of a folder for which a small net is enough, and training steps of it

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
    step_size="auto",  # with the published 0.3 most digits end far inside another class
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


@dataclass(frozen=True)
class Preset:
    """A published recipe.

    Attributes:
        recipe: its settings. source: where they are from.
        weights: TERM.FIELD -> value and where it is from, for terms whose published numbers differ from our defaults.
    """

    recipe: Recipe
    source: str
    weights: Mapping[str, tuple[Any, str]] = field(default_factory=dict)


CRD = Recipe(
    dataset="cifar100",
    teacher="resnet32x4",
    student="resnet8x4",
    shortcut="conv",
    method="hinton",
    epochs=240,
    batch_size=64,
    learning_rate=0.05,
    schedule="milestones:150,180,210",
    weight_decay=5e-4,
    teacher_epochs=240,
    teacher_batch_size=64,
    teacher_learning_rate=0.05,
    evaluate_every=5,
)
CRD_SOURCE = "RepDistiller b84f547 and mdistiller a08d46f; teachers are trained with our own schedule"
STAGES = {f"{term}.stages": (3, "RepDistiller b84f547") for term in ("at", "nst", "fsp", "vid", "hcl")}


def _beta(value: float) -> dict[str, tuple[Any, str]]:
    return STAGES | {"dkd.beta": (value, "mdistiller a08d46f, for this pair")}


PRESETS = {
    "heo-cifar10": Preset(CIFAR, "arXiv 1805.05532, sections 4.1 and 4.2"),
    "takd": Preset(
        CIFAR.replace(teacher="resnet26", student="resnet8", method="hinton"),
        "nets of arXiv 1902.03393, to be joined by experiments.assistants(recipe, ['resnet14']); temperature and "
        "weight are tuned there, ours are those of hinton, the schedule is that of heo-cifar10",
    ),
    "crd-cifar100": Preset(CRD, CRD_SOURCE, _beta(8.0) | {"hcl.scale": (5.0, "mdistiller a08d46f, for this pair")}),
    "crd-cifar100-resnet20": Preset(CRD.replace(teacher="resnet56", student="resnet20"), CRD_SOURCE, _beta(2.0)),
    "crd-cifar100-wrn": Preset(CRD.replace(teacher="wrn40-2", student="wrn16-2"), CRD_SOURCE, _beta(6.0)),
}


def weights_in(name: str, terms: Iterable[str]) -> dict[str, Any]:
    """Return the published weights of a preset that belong to ``terms``, as overrides.

    Raises:
        InputError: an unknown preset.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    own = set(terms)
    return {key: value for key, (value, _) in PRESETS[name].weights.items() if key.partition(".")[0] in own}


def preset(name: str, method: str | None = None) -> Recipe:
    """Return a published recipe, with the weights that are published for the terms of ``method``.

    Raises:
        InputError: an unknown preset or method.

    >>> preset("crd-cifar100", "dkd").overrides, preset("crd-cifar100-wrn").student
    ({'dkd.beta': 8.0}, 'wrn16-2')
    """
    weights_in(name, ())  # refuses unknown names
    recipe = PRESETS[name].recipe
    recipe = recipe if method is None else recipe.replace(method=method)
    return recipe.replace(overrides=weights_in(name, recipe.objective.names))


def suggested(dataset: str) -> Recipe:
    """Return a recipe to start from with a data set: its nets take the inputs, and its sizes make students differ.

    Raises:
        InputError: an unknown data set.
    """
    name, _ = parse_name(dataset)
    if name in PROBLEMS:
        return SPIRALS.replace(dataset=dataset)
    if name == "digits":
        return DIGITS
    return CIFAR.replace(dataset=dataset, step_size=CIFAR.step_size if name.startswith("cifar") else "auto")


def fitted(dataset: str) -> Recipe:
    """Return :func:`suggested`; of a folder with fewer than 3,000 images, small nets, and batches and epochs that give
    them about 300 steps.

    Raises:
        InputError: an unknown data set, or the folder cannot be read.
    """
    recipe = suggested(dataset)
    if path_kind(dataset) != "folder:":
        return recipe
    root = Path(parse_name(dataset)[0].removeprefix("folder:"))
    with readable(root):
        images = sum(path.suffix.lower() in SUFFIXES for path in root.rglob("*"))
    if not 0 < images < FEW:
        return recipe
    batch = min(max(images // 8, 8), 50)
    epochs = min(max(STEPS * batch // images, 20), 200)
    sizes: dict[str, Any] = {"batch_size": batch, "epochs": epochs, "max_boundary_samples": min(batch, 16)}
    taught = {"teacher_batch_size": batch, "teacher_epochs": epochs}
    return DIGITS.replace(dataset=dataset, num_train=None, fresh_subset=False, **sizes, **taught)
