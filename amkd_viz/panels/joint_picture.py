"""What EmbeddingLab shows: samples of a run, their places in the layouts of both nets, and how far to trust them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from amkd_viz.boundary import BoundarySamples, sample_targets, select_bases
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.attack_controls import attack_code, sampler_of
from amkd_viz.runs import Run
from amkd_viz.training import Recipe
from amkd_viz.views import View, embedding
from amkd_viz.views.anchors import Anchored
from amkd_viz.views.chosen import Chosen, choose, class_triplets
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.joint import Outputs, Quality, facts, outputs, projection_quality, triplets_of
from amkd_viz.views.labels import number, percent
from amkd_viz.views.picture import picture
from amkd_viz.views.projection import joint_layout
from amkd_viz.views.quality import Aligned
from amkd_viz.views.scene import Mark, Panel, Scene

__all__ = ["PARTS", "SampleSet", "Picture", "code_for", "quality_table", "gather", "lay_out"]

PARTS = {"test": "test", "validation": "val", "training": "train"}


@dataclasses.dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples of a run, and what does not depend on the student's epoch.

    Attributes:
        part: a key of ``PARTS``. most, rings: how many samples and boundary samples were asked for.
        bases: (M,) published index of the base of each boundary sample.
        triplets: (T, 3), those whose order is checked.
        first: embedding kind -> the teacher's UMAP (N, 2), once it is computed.
    """

    chosen: Chosen
    part: str
    most: int
    rings: int
    samples: BoundarySamples
    bases: Tensor
    teacher: Outputs
    triplets: NDArray[np.int64]
    first: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)


def gather(run: Run, data: Dataset, nets: Mapping[str, Classifier], part: str, most: int, rings: int) -> SampleSet:
    """Choose samples, attack the bases on which teacher and last student differ most, and evaluate the teacher on all.

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
    sampler = sampler_of({**vars(recipe), "sampler": "bss"})
    samples = sampler(teacher, clean.x[bases], targets, generator("cpu", "attack"))
    published = torch.from_numpy(clean.index)[bases]
    chosen = choose(split, samples, published, most=most)
    seen, triplets = outputs(teacher, chosen.x, "teacher"), class_triplets(chosen.label)
    return SampleSet(chosen, part, most, rings, samples, published, seen, triplets)


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """One state of the map: embeddings, places and facts, the teacher's first; ``shown`` are its settings."""

    sample_set: SampleSet
    kind: str
    epoch: int
    how: str
    spaces: tuple[NDArray[Any], NDArray[Any]]
    laid: tuple[Aligned, Aligned]
    facts: NDArray[Any]

    def quality(self) -> tuple[Quality, Quality]:
        """Return the projection quality of both nets' layouts."""
        teacher, student = (
            projection_quality(high, laid, self.sample_set.triplets)
            for high, laid in zip(self.spaces, self.laid, strict=True)
        )
        return teacher, student

    def triplets(self, which: int, margin: float) -> Anchored:
        """Return the triplets of the sample at position ``which``; raise InputError if it has none."""
        teacher, student = (laid.points for laid in self.laid)
        return triplets_of(*self.spaces, teacher, student, self.sample_set.chosen, which, margin)

    def view(self, nets: Mapping[str, Classifier], data: Dataset) -> View:
        """Return the same as a figure."""
        data = dataclasses.replace(data, test=getattr(data, PARTS[self.sample_set.part]))
        return embedding(
            nets, data, samples=self.sample_set.samples, most=self.sample_set.most, kind=self.kind, how=self.how
        )

    def still(self) -> Image.Image:
        """Draw both layouts side by side, boundary samples ringed, for readers without a kernel."""
        chosen, layouts = self.sample_set.chosen, [laid.points for laid in self.laid]
        low, high = np.min([p.min(0) for p in layouts], 0), np.max([p.max(0) for p in layouts], 0)
        half = max(float((high - low).max()), 1e-9) * 0.54
        (x, y) = (low + high) / 2
        marks = [Mark("dots", points, chosen.label, panel=n, size=2.5) for n, points in enumerate(layouts)]
        marks += [Mark("ring", points[chosen.boundary], panel=n) for n, points in enumerate(layouts)]
        return picture(Scene([Panel()] * len(layouts), (x - half, x + half, y - half, y + half), marks))

    @property
    def shown(self) -> dict[str, Any]:
        """Return the values of the controls that this picture was made with."""
        chosen = {name: getattr(self.sample_set, name) for name in ("part", "most", "rings")}
        return chosen | {"kind": self.kind, "epoch": self.epoch, "how": self.how}

    def words(self) -> str:
        """Say what the map shows."""
        chosen, rings = self.sample_set.chosen, int(self.sample_set.chosen.boundary.sum())
        return (
            f"{self.how.upper()} of the {self.kind} embeddings of {len(chosen) - rings:,} {self.sample_set.part} "
            f"samples and {rings} boundary samples, student after epoch {self.epoch}"
        )


def lay_out(sample_set: SampleSet, student: Outputs, kind: str, epoch: int, how: str) -> Picture:
    """Lay out both nets' embeddings together; the teacher's UMAP is fitted once."""
    spaces = sample_set.teacher.space(kind), student.space(kind)
    laid = joint_layout(spaces, how, first=sample_set.first.get(kind) if how == "umap" else None)
    if how == "umap":
        sample_set.first[kind] = laid[0].points
    table = facts(sample_set.teacher, student, sample_set.chosen, kind)
    return Picture(sample_set, kind, epoch, how, spaces, (laid[0], laid[1]), table)


def quality_table(teacher: Quality, student: Quality) -> str:
    """Return the projection quality as an HTML table."""
    rows = "".join(
        f"<tr><td>{name}</td><td>{number(own.trustworthiness)}</td><td>{residual}</td>"
        f"<td>{percent(own.kept, 0)}</td></tr>"
        for name, own, residual in (
            ("teacher", teacher, "reference"),
            ("student", student, number(student.residual)),
        )
    )
    return (
        '<table class="amkd-table"><tr><th>projection quality</th>'
        '<th title="are the 15 nearest neighbours on the map near in truth? 1 is best">trustworthiness, k = 15</th>'
        '<th title="how much the shapes of both layouts differ after alignment; 0: the same shape">'
        "Procrustes disparity</th>"
        '<th title="triplets whose order of distances is the same on the map as in truth">triplets kept</th></tr>'
        f"{rows}</table>"
    )


def code_for(opened: str, recipe: Recipe, v: Mapping[str, Any]) -> str:
    """Return Python that draws the picture with the settings ``v`` of the run that the expression ``opened`` gives."""
    other = "" if v["part"] == "test" else f"data = dataclasses.replace(data, test=data.{PARTS[v['part']]})\n"
    call = attack_code("teacher", "x[bases]", "sample_targets(teacher(x[bases]))", {**vars(recipe), "sampler": "bss"})
    return (
        ("import dataclasses\n\n" if other else "") + "import torch\nfrom amkd_viz import Run, example\n"
        "from amkd_viz.boundary import sample_targets, samplers, select_bases\n"
        "from amkd_viz.views import embedding, triplets\n\n"
        f"run = {opened}\n"
        f"data, teacher, student = run.dataset(), run.teacher(), run.student({v['epoch']})\n{other}"
        "x, y = data.test.floats(), data.test.y\n"
        f"bases = select_bases(teacher(x), student(x), y, {v['rings']})\n"
        f"samples = {call}\n"
        'nets = {"teacher": teacher, "student": student}\n'
        f"embedding(nets, data, samples=samples, most={v['most']}, kind={v['kind']!r}, how={v['how']!r})\n"
        f"triplets(teacher, student, data, samples, 0, margin={v['margin']:g})"
    )
