"""The recipe of a distillation: flags, widgets and the JSON beside a result come from this one dataclass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from amkd_viz.boundary import Sampler, samplers
from amkd_viz.boundary.selection import BASES
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.fields import Fields, option
from amkd_viz.data import Dataset, load, parse_name, path_kind, with_size
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import architectures, is_architecture
from amkd_viz.models.checkpoint import is_checkpoint
from amkd_viz.models.libraries import is_pretrained
from amkd_viz.models.resnet import SHORTCUTS
from amkd_viz.models.weights import size_of
from amkd_viz.models.zoo import in_library
from amkd_viz.objectives import Boundary, Objective, methods
from amkd_viz.training.orders import NAMES, order_for
from amkd_viz.training.schedule import SCHEDULES, check_schedule
from amkd_viz.training.update import UPDATES

__all__ = ["Recipe", "renamed"]

# Fields of Recipe that a sampler takes where it has a field of the name on the right.
SHARED = {"step_size": "step_size", "attack_steps": "steps", "step_rule": "step_rule"}
PRECISIONS = ("fp32", "bf16", "auto")
RULES = ("gap", "newton")
WITHIN = ("global", "rank")
# Names in run folders of earlier versions.
RENAMED = {
    "attacked": "max_boundary_samples",
    "changes": "overrides",
    "limit_train": "num_train",
    "rule": "step_rule",
    "similarity_images": "magsim_samples",
    "student_pass": "boundary_bn",
    "boundary_triplet.reading": "boundary_triplet.variant",
}
RENAMED_VALUES: dict[tuple[str, str], Any] = {
    ("rule", "code"): "gap",
    ("rule", "paper"): "newton",
    ("cache_teacher", "False"): 0,
    ("cache_teacher", "True"): "all",
}
LATER = [
    ("tf32", "default"),
    ("trust_teacher", False),
    ("finetune_epochs", 5),
    ("warm_up", 0),
    ("shortcut", "pad-end"),
    ("order", "shuffle"),
    ("update", "sum"),
    ("batch_statistics", "global"),
    ("batch_relations", "global"),
    ("cache_teacher", 0),
    ("boundary_bases", "difference"),
    ("boundary_refined", 0),
    ("boundary_kept", 1.0),
]  # defaults of newer fields: recipes that have them keep the hash that they had before
AUGMENTS = ("auto", "none", "crop", "crop-flip")


@dataclass(frozen=True, repr=False)
class Recipe(Fields):
    """All settings of a distillation. Bounds and help of each field are in its metadata and are enforced.

    Raises:
        InputError: a value is unknown or out of range; names the field, the value and what is allowed.

    >>> Recipe(dataset="digits", method="amkd", epochs=5).method
    'amkd'
    >>> Recipe(epochs=0)
    Traceback (most recent call last):
    amkd_viz.core.errors.InputError: epochs must be between 1 and 10000, got 0.
    """

    dataset: str = option(
        "digits",
        "data set name, folder:PATH with one folder per class (folder:PATH,size=96: in pixels), or "
        "moons:noise=0.2,classes=3 (2-D problems)",
    )
    root: str | None = option(None, "folder of the downloaded data sets; default: the user's cache")
    teacher: str = option(  # "": none, as a teacher itself is trained
        "cnn",
        "architecture, torchvision:NAME or timm:NAME (trained once, then cached; with ,pretrained only a new last "
        "layer is), or a .safetensors file; join several by +",
    )
    student: str = option("cnn-tiny", "architecture of the student, torchvision:NAME or timm:NAME")
    shortcut: str = option(
        "pad-end",
        "shortcuts of CIFAR ResNets; conv in most papers on CIFAR-100",
        choices=SHORTCUTS,
    )
    peer: str | None = option(None, "architecture of a second net that learns with the student; join several by +")
    method: str = option("amkd", "named objective")
    overrides: Mapping[str, Any] = option(
        {}, "numbers of the terms and the sampler, e.g. boundary_triplet.margin=0.2, kd.scale=2"
    )
    epochs: int = option(30, "passes over the training data", low=1, high=10_000)
    batch_size: int = option(128, "images per step", low=2, high=65_536)
    seed: int = option(0, "seed of the student's weights, the order of the data and every random draw", low=0)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps, xpu")
    precision: str = option("fp32", "arithmetic of the nets", choices=PRECISIONS)
    tf32: str = option(
        "default",
        "TF32 on a GPU: on, off, or default (PyTorch's flags: in convolutions, not in matrix products)",
        choices=("default", "on", "off"),
    )
    num_train: int | None = option(None, "train the student on a class-balanced subset of N samples", low=2)
    fresh_subset: bool = option(False, "draw the num_train samples by seed, anew for each, not by data_seed")
    augment: str = option("auto", "augmentation of the training images", choices=AUGMENTS)
    learning_rate: float = option(0.1, "peak learning rate of SGD", low=1e-6, high=10.0)
    schedule: str = option(
        "onecycle",
        "onecycle: up for 15 %, cosine down; step: x 0.1 from epochs E / 2 and 3 E / 4 on; or milestones:150,180,210: "
        "x 0.1 after these epochs",
        choices=SCHEDULES,
    )
    warm_up: int = option(0, "epochs in which the learning rate rises linearly", low=0, high=1000)
    momentum: float = option(0.9, "SGD momentum", low=0.0, high=0.999)
    weight_decay: float = option(1e-4, "SGD weight decay, on every parameter", low=0.0, high=1.0)
    update: str = option(
        "sum",
        "one momentum for all terms (sum), or one each: dot (labels, teacher), mjkd (labels, features, logits), deepkd",
        choices=UPDATES,
    )
    order: str = option(
        "shuffle",
        "which sample when: shuffle, margins (sure ones first), classes (class after class), hard (a pool of hard "
        "ones), part:0,1,2 (some classes only), tasks:5 (classes in tasks), replay:5 (tasks with a buffer)",
        choices=NAMES,
    )
    sampler: str = option("bss", "how boundary samples are made", choices=samplers)
    step_size: float | str = option(
        0.3,
        "step size of the BSS attack, in the normalised space; auto: the largest that leaves samples near the boundary "
        "of the teacher, measured once on training images",
        low=1e-3,
        high=10.0,
        words=("auto",),
    )
    step_rule: str = option(
        "gap",
        "step of the BSS attack: gap (published code), proportional to the logit gap, or newton (the paper's formula)",
        choices=RULES,
    )
    attack_steps: int = option(10, "maximum number of attack steps", low=1, high=100)
    max_boundary_samples: int = option(64, "maximum number of boundary samples per batch", low=1)
    boundary_bases: str = option(
        "difference",
        "which images are attacked first: those on which the nets differ most, or those of the least margin",
        choices=BASES,
    )
    boundary_refined: int = option(0, "bisections of each boundary sample, towards the boundary", low=0, high=20)
    boundary_kept: float = option(
        1.0, "share of the boundary samples that is kept, the nearest to the boundary", low=0.05, high=1.0
    )
    boundary_bn: str = option(
        "separate", "how batch norms of the student treat boundary samples", choices=("separate", "joint", "frozen")
    )
    batch_statistics: str = option(
        "global", "batch norms of several ranks see the global batch, or that of each rank", choices=WITHIN
    )
    batch_relations: str = option(
        "global",
        "terms, boundary samples and negatives of several ranks come from the global batch, or from that of each rank",
        choices=WITHIN,
    )
    teacher_epochs: int = option(40, "epochs of a teacher that is trained here", low=1, high=10_000)
    teacher_batch_size: int = option(128, "batch size of a teacher that is trained here", low=2, high=65_536)
    teacher_learning_rate: float = option(0.1, "learning rate of a teacher that is trained here", low=1e-6, high=10.0)
    finetune_epochs: int = option(5, "epochs of the last layer of a pretrained teacher", low=1, high=10_000)
    trust_teacher: bool = option(False, "go on with a teacher from a file whose accuracy is near chance")
    data_seed: int = option(0, "seed of the validation split, the subset and generated problems", low=0)
    cache_teacher: int | str = option(
        0,
        "compute the teacher's logits once and keep the K largest, or all, of each image; with augmentation of each "
        "image and epoch, in the cache folder, for later runs with the same seed",
        low=0,
        words=("all",),
        alone="all",
    )
    evaluate_every: int = option(1, "epochs between validations; the last epoch is always validated", low=1)
    magsim_samples: int = option(100, "test images for MagSim and AngSim; 0 to skip", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.overrides, Mapping) or not all(isinstance(key, str) for key in self.overrides):
            raise InputError(
                f"overrides must map TERM.FIELD to numbers, e.g. {{'kd.scale': 2}}, not {self.overrides!r}."
            )
        parse_name(self.dataset)  # refuses unknown names and options
        check_schedule(self.schedule)
        order_for(self.order)
        if self.order in ("margins", "classes", "hard") and not self.teacher:
            raise InputError(f"order must not be {self.order} without a teacher, whose outputs it reads.")
        for role, names in (("student", (self.student,)), ("teacher", self.teachers), ("peer", self.peers)):
            for name in names:
                if not (is_architecture(name) or (role == "teacher" and name.endswith(".safetensors"))):
                    if is_checkpoint(name):
                        raise InputError(
                            f"{role} must be an architecture or a .safetensors file, got {name!r}; import the "
                            f"checkpoint first: amkd-viz import {name} --mean ... --std ..."
                        )
                    more = ["torchvision:NAME", "timm:NAME", *(["FILE.safetensors"] if role == "teacher" else [])]
                    error = unknown(role, name, [*architectures(), *more])
                    raise InputError(f"{error} Add your own by models.register({name!r}, builder).")
                if is_pretrained(name) and role != "teacher" and self.teachers:  # a teacher itself has none
                    raise InputError(f"{role} must be a net that learns as a whole, got {name!r}; make it the teacher.")
        self._check_terms()
        sampler, numbers = self._split(self.overrides)
        plain = methods[self.method]().plain(numbers)  # refuses unknown ones
        made = self._sampler(sampler)
        plain |= {key: getattr(made, key.partition(".")[2]) for key in sampler}
        object.__setattr__(self, "overrides", {key: plain[key] for key in self.overrides})
        objective = self.objective
        if not all(any(objective.weights(progress).values()) for progress in (1 / self.epochs, 1.0)):
            raise InputError(f"overrides must leave a term with a weight in every epoch, got {self.overrides!r}.")

    def _split(self, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Overrides of the sampler's fields (``bss.step_size``) and those of the terms."""
        own = f"{self.sampler}."
        return {k: v for k, v in overrides.items() if k.startswith(own)}, {
            k: v for k, v in overrides.items() if not k.startswith(own)
        }

    def _sampler(self, overrides: Mapping[str, Any]) -> Sampler:
        kind = samplers[self.sampler]
        names = [f.name for f in fields(kind)]
        shared = {n: getattr(self, own) for own, n in SHARED.items() if getattr(self, own) != getattr(Recipe, own)}
        given = {key.partition(".")[2]: value for key, value in overrides.items()}
        for name in given:
            if name not in names:
                raise unknown(f"field of {self.sampler}", name, names)
        return kind(**{n: v for n, v in shared.items() if n in names} | given)

    def _check_terms(self) -> None:
        """Name the methods that have a term where this method does not."""
        own = methods[self.method]().names
        for name in self.overrides:
            term = name.partition(".")[0]
            if term in own or term == self.sampler:
                continue
            if others := [method for method in methods if term in methods[method]().names]:
                raise InputError(
                    f"Method {self.method} has no term {term!r}, so {name} has no effect; choose a method that has it: "
                    f"{', '.join(others)}."
                )

    def check_nets(self) -> None:
        """Check, before data are loaded and a teacher is trained, that the nets take points if the data are points.

        Raises:
            InputError: a net takes images only; names the nets that fit.
        """
        own, fitting = parse_name(self.dataset)[0], architectures((2,))
        nets = [("teacher", name) for name in self.teachers if not name.endswith(".safetensors")]  # a file says itself
        nets += [("student", self.student), *(("peer", name) for name in self.peers)]
        wrong = [f"{role} {name!r}" for role, name in nets if name not in fitting]
        if own in PROBLEMS and wrong:
            verb = "take" if len(wrong) > 1 else "takes"
            raise InputError(
                f"{own} has points, but {' and '.join(wrong)} {verb} images, not points; choose among "
                f"{', '.join(fitting)}, such as teacher='mlp' and student='mlp-small'."
            )

    @property
    def source(self) -> str:
        """The name of the data set with the size at which image files are read: that of ``dataset``, else that
        of a teacher from a file, else see ``list_folder``.

        Raises:
            InputError: the folder or the teacher's file cannot be read.
        """
        if path_kind(self.dataset) in ("", "npz:", "pack:") or "size" in parse_name(self.dataset)[1]:
            return self.dataset
        file = next((name for name in self.teachers if name.endswith(".safetensors")), None)
        return with_size(self.dataset, size_of(file) if file else None)

    def load(self) -> Dataset:
        """Load the data set, without ``num_train``; raises as ``data.load``."""
        return load(self.source, root=self.root, seed=self.data_seed)

    def subset(self, full: Dataset) -> Dataset:
        """Return the data set with the training samples that the student sees: ``num_train`` of them, or all.

        Raises:
            InputError: see ``Dataset.limit``.
        """
        if self.num_train is None:
            return full
        return full.limit(self.num_train, self.seed if self.fresh_subset else self.data_seed)

    @property
    def objective(self) -> Objective:
        """The method's sum with ``overrides`` applied."""
        return methods[self.method]().changed(**self._split(self.overrides)[1])

    @property
    def boundary(self) -> Boundary:
        """What makes the boundary samples of a batch."""
        return Boundary(
            self._sampler(self._split(self.overrides)[0]),
            self.max_boundary_samples,
            bases=self.boundary_bases,
            refined=self.boundary_refined,
            kept=self.boundary_kept,
        )

    @property
    def teachers(self) -> tuple[str, ...]:
        """The architectures or files of ``teacher``, one for each net "teacher", "teacher2", ..."""
        return tuple(_parts(self.teacher)) if self.teacher else ()

    @property
    def peers(self) -> tuple[str, ...]:
        """The architectures of ``peer``, one for each net "peer", "peer2", ..."""
        return tuple(_parts(self.peer)) if self.peer else ()

    def shortcut_of(self, name: str) -> str | None:
        """Return the shortcut of an architecture, None where it has no choice of it."""
        return self.shortcut if in_library(name) and name.startswith("resnet") else None

    def replace(self, **changes: Any) -> Recipe:
        """Return the same recipe with other values, checked again."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        values = renamed(values)
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
        plain = {name: value for name, value in self.to_json().items() if (name, value) not in LATER}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:10]


def _parts(names: str) -> Iterator[str]:
    """The nets that ``+`` joins; a ``+`` within the path of a file stays."""
    name = None
    for part in names.split("+"):
        name = part if name is None else f"{name}+{part}"
        if name.endswith(".safetensors") or is_architecture(name):
            yield name
            name = None
    if name is not None:
        yield name


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that an earlier version may have written under the names of this one."""
    found = {RENAMED.get(name, name): RENAMED_VALUES.get((name, str(v)), v) for name, v in dict(values).items()}
    if isinstance(found.get("overrides"), Mapping):
        found["overrides"] = renamed(found["overrides"])
    return found
