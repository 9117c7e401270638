"""What EmbeddingLab shows: samples of a run, the places that both nets give them, and words about both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amkd_viz.boundary import BoundarySamples, bss, sample_targets, select_bases
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.runs import Run
from amkd_viz.training import Recipe
from amkd_viz.views import View, embedding
from amkd_viz.views.anchors import Anchored
from amkd_viz.views.chosen import Chosen, choose, class_triplets
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.fidelity import Aligned
from amkd_viz.views.joint import Fidelity, Outputs, facts, fidelity, outputs, triplets_of
from amkd_viz.views.labels import number, percent
from amkd_viz.views.projection import joint_layout

__all__ = ["PARTS", "Ground", "Picture", "code_for", "fidelity_table", "gather", "lay_out"]

PARTS = {"test": "test", "validation": "val", "training": "train"}


@dataclasses.dataclass(frozen=True, eq=False)
class Ground:
    """The samples that are looked at, and what does not change with the epoch.

    Attributes:
        part: a key of ``PARTS``. bases: (M,) published index of the base of each boundary sample.
        triplets: (T, 3), those whose order is checked.
        first: embedding kind -> the teacher's UMAP (N, 2), once it is there.
    """

    chosen: Chosen
    part: str
    samples: BoundarySamples
    bases: Tensor
    teacher: Outputs
    triplets: NDArray[np.int64]
    first: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)


def gather(run: Run, data: Dataset, nets: Mapping[str, Classifier], part: str, most: int, rings: int) -> Ground:
    """Choose samples, attack those bases on which teacher and last student differ most, ask the teacher about all.

    Raises:
        InputError: this part of the data is empty.
    """
    split, recipe, teacher = getattr(data, PARTS[part]), run.recipe, nets["teacher"]
    if not len(split):
        raise InputError(f"{data.name} has no {part} sample; choose another set.")
    clean = choose(split, most=most)
    before = logits_at(teacher, clean.x)
    bases = select_bases(before, logits_at(nets["student"], clean.x), torch.from_numpy(clean.label), rings)
    targets = sample_targets(before[bases], generator("cpu", "embedding lab"))
    about: dict[str, Any] = {"step_rule": recipe.step_rule, "step_size": recipe.step_size, "steps": recipe.attack_steps}
    samples = bss(teacher, clean.x[bases], targets, **about)
    published = torch.from_numpy(clean.index)[bases]
    chosen = choose(split, samples, published, most=most)
    return Ground(chosen, part, samples, published, outputs(teacher, chosen.x, "teacher"), class_triplets(chosen.label))


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """One state of the map: both nets' spaces, places and facts; the teacher first."""

    ground: Ground
    kind: str
    epoch: int
    how: str
    spaces: tuple[NDArray[Any], NDArray[Any]]
    laid: tuple[Aligned, Aligned]
    facts: NDArray[Any]

    def fidelity(self) -> tuple[Fidelity, Fidelity]:
        teacher, student = (
            fidelity(high, laid, self.ground.triplets) for high, laid in zip(self.spaces, self.laid, strict=True)
        )
        return teacher, student

    def triplets(self, which: int, margin: float) -> Anchored:
        """Of the sample at position ``which``; raises InputError where there are none."""
        teacher, student = (laid.points for laid in self.laid)
        return triplets_of(*self.spaces, teacher, student, self.ground.chosen, which, margin)

    def view(self, nets: Mapping[str, Classifier], data: Dataset, most: int) -> View:
        """The same as a figure."""
        data = dataclasses.replace(data, test=getattr(data, PARTS[self.ground.part]))
        return embedding(nets, data, samples=self.ground.samples, most=most, kind=self.kind, how=self.how)

    def words(self) -> str:
        how, rings = {"umap": "UMAP", "pca": "PCA"}[self.how], int(self.ground.chosen.boundary.sum())
        return (
            f"{how} of the {self.kind} embeddings of {len(self.ground.chosen) - rings:,} {self.ground.part} samples "
            f"and {rings} boundary samples, student after epoch {self.epoch}"
        )


def lay_out(ground: Ground, student: Outputs, kind: str, epoch: int, how: str) -> Picture:
    """Both nets in one layout; the teacher's UMAP is fitted once."""
    spaces = ground.teacher.space(kind), student.space(kind)
    laid = joint_layout(spaces, how, first=ground.first.get(kind) if how == "umap" else None)
    if how == "umap":
        ground.first[kind] = laid[0].points
    told = facts(ground.teacher, student, ground.chosen, kind)
    return Picture(ground, kind, epoch, how, spaces, (laid[0], laid[1]), told)


def fidelity_table(teacher: Fidelity, student: Fidelity) -> str:
    """How far the map may be trusted, as HTML."""
    rows = "".join(
        f"<tr><td>{name}</td><td>{number(own.trustworthiness)}</td><td>{residual}</td>"
        f"<td>{percent(own.kept, 0)}</td></tr>"
        for name, own, residual in (
            ("teacher", teacher, "fitted on it"),
            ("student", student, number(student.residual)),
        )
    )
    return (
        '<table class="amkd-table"><tr><th>how far to trust this map</th>'
        '<th title="are the 15 nearest in the map near in truth? 1 is best">trustworthiness, k = 15</th>'
        '<th title="how much of the student’s shape does not fit the teacher’s; 0 is the same shape">'
        "Procrustes residual</th>"
        '<th title="triplets whose order of distances is the same here as in truth">triplets kept</th></tr>'
        f"{rows}</table>"
    )


def code_for(opened: str, recipe: Recipe, v: Mapping[str, Any]) -> str:
    """Python that draws what the controls ``v`` say, of the run that the expression ``opened`` gives."""
    other = "" if v["part"] == "test" else f"data = dataclasses.replace(data, test=data.{PARTS[v['part']]})\n"
    return (
        ("import dataclasses\n\n" if other else "") + "from amkd_viz import Run, example\n"
        "from amkd_viz.boundary import bss, sample_targets, select_bases\n"
        "from amkd_viz.views import embedding, triplets\n\n"
        f"run = {opened}\n"
        f"data, teacher, student = run.dataset(), run.teacher(), run.student({v['epoch']})\n{other}"
        "x, y = data.test.floats(), data.test.y\n"
        f"bases = select_bases(teacher(x), student(x), y, {v['rings']})\n"
        f"samples = bss(teacher, x[bases], sample_targets(teacher(x[bases])), step_rule={recipe.step_rule!r}, "
        f"step_size={recipe.step_size}, steps={recipe.attack_steps})\n"
        'nets = {"teacher": teacher, "student": student}\n'
        f"embedding(nets, data, samples=samples, most={v['most']}, kind={v['kind']!r}, how={v['how']!r})\n"
        f"triplets(teacher, student, data, samples, 0, margin={v['margin']:g})"
    )
