"""Everything that defines a distillation: flags, widgets and the JSON beside a result come from one dataclass."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.data import parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import architectures, is_architecture
from amkd_viz.objectives import Attack, Objective, methods

__all__ = ["Recipe"]

PRECISIONS = ("fp32", "bf16", "auto")
SCHEDULES = ("onecycle", "step", "constant")
RULES = ("gap", "newton")
# Names in run folders of earlier versions.
RENAMED = {
    "attacked": "max_boundary_samples",
    "changes": "overrides",
    "limit_train": "num_train",
    "rule": "step_rule",
    "similarity_images": "magsim_samples",
    "student_pass": "boundary_bn",
}
RENAMED_VALUES = {("rule", "code"): "gap", ("rule", "paper"): "newton"}
AUGMENTS = ("auto", "none", "crop", "crop-flip")


def _field(default: Any, help: str, **about: Any) -> Any:
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"help": help, **about})
    return field(default=default, metadata={"help": help, **about})


@dataclass(frozen=True)
class Recipe:
    """A distillation. Each field's bounds and help stand in its metadata and are enforced.

    Raises:
        InputError: a value is unknown or out of range: the field, the value and what is allowed.

    >>> Recipe(dataset="digits", method="amkd", epochs=5).method
    'amkd'
    >>> Recipe(epochs=0)
    Traceback (most recent call last):
    amkd_viz.core.errors.InputError: epochs must be at least 1, not 0.
    """

    dataset: str = _field(
        "digits", "data set name, folder:PATH with one folder per class, or moons:noise=0.2,classes=3 (2-D problems)"
    )
    root: str | None = _field(None, "folder of the downloaded data sets; default: the user's cache")
    teacher: str = _field("cnn", "architecture or torchvision:NAME (trained once, then cached), or a .safetensors file")
    student: str = _field("cnn-tiny", "architecture of the student, or torchvision:NAME")
    method: str = _field("amkd", "named objective")
    overrides: Mapping[str, Any] = _field({}, "numbers of the objective, e.g. boundary_triplet.margin=0.2, kd.scale=2")
    epochs: int = _field(30, "passes over the training data", low=1, high=10_000)
    batch_size: int = _field(128, "images per step", low=2, high=65_536)
    seed: int = _field(0, "of the student's weights, the order and every draw", low=0)
    device: str = _field("auto", "auto, cpu, cuda, cuda:1, mps, xpu")
    precision: str = _field("fp32", "arithmetic of both nets", choices=PRECISIONS)
    num_train: int | None = _field(None, "so many training samples for the student, classes balanced", low=2)
    augment: str = _field("auto", "augmentation of the training images", choices=AUGMENTS)
    learning_rate: float = _field(0.1, "peak learning rate of SGD", low=1e-6, high=10.0)
    schedule: str = _field(
        "onecycle", "onecycle: up for 15 %, cosine down; step: x 0.1 at 50 % and 75 %", choices=SCHEDULES
    )
    momentum: float = _field(0.9, "of SGD", low=0.0, high=0.999)
    weight_decay: float = _field(1e-4, "of SGD, on every parameter", low=0.0, high=1.0)
    sampler: str = _field("bss", "how boundary samples are made", choices=("bss", "fgsm", "noise", "deepfool"))
    step_size: float = _field(0.3, "of the BSS attack, in the normalised space", low=1e-3, high=10.0)
    step_rule: str = _field(
        "gap",
        "step of the BSS attack: gap (published code), proportional to the logit gap, or newton (the paper's formula)",
        choices=RULES,
    )
    attack_steps: int = _field(10, "at most so many attack steps", low=1, high=100)
    max_boundary_samples: int = _field(64, "at most so many boundary samples per batch", low=1)
    boundary_bn: str = _field(
        "separate", "how the student's batch norms see boundary samples", choices=("separate", "joint", "frozen")
    )
    teacher_epochs: int = _field(40, "of a teacher that is trained here", low=1, high=10_000)
    teacher_batch_size: int = _field(128, "of a teacher that is trained here", low=2, high=65_536)
    teacher_learning_rate: float = _field(0.1, "of a teacher that is trained here", low=1e-6, high=10.0)
    data_seed: int = _field(0, "of the validation split, the limit and generated problems", low=0)
    evaluate_every: int = _field(1, "epochs between validations; the last one always", low=1)
    magsim_samples: int = _field(100, "test images for MagSim and AngSim; 0 to skip", low=0)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            if value is None and type(None) in get_args(hints[f.name]):
                continue
            kind = next((t for t in (int, float, str) if hints[f.name] in (t, t | None)), None)
            if kind is not None:
                object.__setattr__(self, f.name, _typed(f.name, value, kind))
            value, about = getattr(self, f.name), f.metadata
            if "choices" in about and value not in about["choices"]:
                raise unknown(f.name, value, about["choices"])
            if "low" in about and not value >= about["low"]:
                raise InputError(f"{f.name} must be at least {about['low']}, not {value}.")
            if "high" in about and not value <= about["high"]:
                raise InputError(f"{f.name} must be at most {about['high']}, not {value}.")
        if not isinstance(self.overrides, Mapping) or not all(isinstance(key, str) for key in self.overrides):
            raise InputError(
                f"overrides must map TERM.FIELD to numbers, e.g. {{'kd.scale': 2}}, not {self.overrides!r}."
            )
        parse_name(self.dataset)  # refuses unknown names and options
        if not is_architecture(self.student):
            told = unknown("student", self.student, [*architectures(), "torchvision:NAME"])
            raise InputError(f"{told} A net of your own: models.register({self.student!r}, builder).")
        if not self.teacher.endswith(".safetensors") and not is_architecture(self.teacher):
            told = unknown("teacher", self.teacher, [*architectures(), "torchvision:NAME", "FILE.safetensors"])
            raise InputError(f"{told} A net of your own: models.register({self.teacher!r}, builder).")
        self._check_terms()
        object.__setattr__(self, "overrides", methods[self.method]().plain(self.overrides))  # refuses unknown ones
        objective = self.objective
        if not all(any(objective.weights(progress).values()) for progress in (1 / self.epochs, 1.0)):
            raise InputError(f"overrides must leave a term with a weight in every epoch, not {self.overrides!r}.")

    def _check_terms(self) -> None:
        """A term that other methods have is not unknown."""
        own = methods[self.method]().names
        for name in self.overrides:
            term = name.partition(".")[0]
            others = [method for method in methods if term in methods[method]().names]
            if term not in own and others:
                raise InputError(
                    f"Method {self.method} has no term {term!r}, so {name} means nothing; choose a method that has it: "
                    f"{', '.join(others)}."
                )

    def check_nets(self) -> None:
        """Before data are loaded and a teacher is trained: both nets take points where the data are points.

        Raises:
            InputError: one of them takes images only; those that fit are named.
        """
        own, fitting = parse_name(self.dataset)[0], architectures((2,))
        nets = {"teacher": self.teacher, "student": self.student}
        if self.teacher.endswith(".safetensors"):
            del nets["teacher"]  # the file says itself what it takes
        wrong = [f"{role} {name!r}" for role, name in nets.items() if name not in fitting]
        if own in PROBLEMS and wrong:
            verb = "take" if len(wrong) > 1 else "takes"
            raise InputError(
                f"{own} has points, but {' and '.join(wrong)} {verb} images, not points; choose among "
                f"{', '.join(fitting)}, such as teacher='mlp' and student='mlp-small'."
            )

    @property
    def objective(self) -> Objective:
        """The method's sum with ``overrides`` applied."""
        return methods[self.method]().changed(**self.overrides)

    @property
    def attack(self) -> Attack:
        return Attack(
            sampler=self.sampler,
            step_size=self.step_size,
            steps=self.attack_steps,
            step_rule=self.step_rule,
            limit=self.max_boundary_samples,
            boundary_bn=self.boundary_bn,
        )

    def replace(self, **changes: Any) -> Recipe:
        """The same recipe with other values, checked again."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        values = {RENAMED.get(n, n): RENAMED_VALUES.get((n, str(v)), v) for n, v in dict(values).items()}
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise unknown("recipe field", name, sorted(known))
        # what was written before teachers had settings of their own: theirs were the student's
        shared = {f"teacher_{name}": values[name] for name in ("batch_size", "learning_rate") if name in values}
        return cls(**(shared | values))

    def __hash__(self) -> int:
        return hash(self.hash)

    @property
    def hash(self) -> str:
        """Ten hex digits that name this recipe."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:10]


def _typed(name: str, value: Any, kind: type) -> Any:
    if kind is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if kind in (int, float) and not isinstance(value, bool | str):
        try:
            if kind(value) == value:
                return kind(value)
        except (TypeError, ValueError, OverflowError):
            pass
    words = {int: "a whole number", float: "a number", str: "a text"}
    raise InputError(f"{name} must be {words[kind]}, not {value!r}.")
