"""The start of a run before it begins: data, teacher, and the student with its first weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from amkd_viz.core.pauses import pausable
from amkd_viz.data import parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.panels.live import Abandoned
from amkd_viz.runs import prepare
from amkd_viz.training import EpochEnded, Event, Recipe, Started, Training, Waiting
from amkd_viz.training.teachers import cached_teacher, teacher_recipe

__all__ = ["OF_START", "first_training", "is_quick"]

# Fields of Recipe that the start of a run depends on; a method may read what the nets do not have.
OF_START = ("dataset", "teacher", "student", "method", "num_train", "seed", "step_size", "attack_steps", "step_rule")
SMALL = (*PROBLEMS, "digits")  # a teacher of them is trained in seconds
Tell = Callable[[str, float], None]


def is_quick(recipe: Recipe) -> bool:
    """Return whether the start can be shown within seconds: the data are small, or every teacher is trained."""
    names = recipe.teachers
    if not names or parse_name(recipe.dataset)[0] in SMALL:
        return bool(names)
    own = {n: teacher_recipe(recipe, n) for n, name in enumerate(names) if not name.endswith(".safetensors")}
    return all((cached_teacher(each) / "summary.json").exists() for each in own.values())


def first_training(recipe: Recipe, like: Training | None, unwanted: Callable[[], bool], tell: Tell) -> Training | None:
    """Load the data, and load or train the teacher.

    Args:
        like: an earlier one, which lends what the recipes share.
        unwanted: whether to give up, asked between two batches; then None is returned.
        tell: called with a sentence on the progress, and the share that is done (-1: unknown).
    """

    def gate() -> None:
        if unwanted():
            raise Abandoned

    def hear(event: Event) -> None:
        if isinstance(event, Waiting):
            tell(event.text, -1.0)
        elif isinstance(event, Started | EpochEnded):
            done = event.epoch if isinstance(event, EpochEnded) else event.training.epoch
            words = f"Training the teacher once: epoch {done} of {recipe.teacher_epochs}; it is kept for later."
            tell(words, done / recipe.teacher_epochs)

    with suppress(Abandoned), pausable(gate):
        gate()
        return prepare(recipe, like, hear)
    return None
