"""Two distillations small enough for two cores and a lecture, trained once and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amkd_viz.data import parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.errors import unknown
from amkd_viz.training.attach import locked
from amkd_viz.training.events import Event
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.recording import distill, resume
from amkd_viz.training.run import Run
from amkd_viz.training.teachers import cache_folder

__all__ = ["CIFAR", "DIGITS", "SPIRALS", "example", "suggested"]

# Few labelled images and many epochs: where there is plenty of data, students hardly need a teacher.
DIGITS = Recipe(
    dataset="digits",
    teacher="cnn",
    student="cnn-small",
    epochs=200,
    limit_train=100,
    batch_size=50,
    attacked=16,
    teacher_epochs=15,
    teacher_batch_size=50,
    evaluate_every=5,
)
SPIRALS = Recipe(
    dataset="spirals",
    teacher="mlp",
    student="mlp-small",
    epochs=60,
    limit_train=100,
    batch_size=50,
    attacked=16,
    rule="paper",  # the published step is as long as the logit gap: out of a 2-D picture at once
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
EXAMPLES = {"digits": DIGITS, "spirals": SPIRALS}


def suggested(dataset: str) -> Recipe:
    """A recipe to start from with a data set: nets that take its inputs, and sizes in which students differ.

    Raises:
        InputError: an unknown data set.
    """
    name, _ = parse_name(dataset)
    if name in PROBLEMS:
        return SPIRALS.replace(dataset=dataset)
    return DIGITS if name == "digits" else CIFAR.replace(dataset=dataset)


def example(name: str = "digits", method: str = "amkd", listen: Callable[[Event], None] | None = None) -> Run:
    """A finished run to look at: the demo's recipe, seed 0, trained when first asked for (about ten seconds) and then
    kept in the user's cache.

    Args:
        name: "digits" or "spirals".
        method: one of ``amkd_viz.methods``.
        listen: called with each event, if it has to be trained.

    Raises:
        InputError: an unknown name or method; or another process is training it this moment.
    """
    if name not in EXAMPLES:
        raise unknown("example", name, EXAMPLES)
    recipe = EXAMPLES[name].replace(method=method)
    folder: Path = cache_folder() / "examples"
    path = folder / f"{name}-{method}-{recipe.hash}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{path.name}.lock", f"The example {name} {method}"):
        if not (path / "config.json").exists():
            return distill(recipe, path, listen=listen)
        return resume(Run.open(path), listen=listen)  # as it is, if it is finished
